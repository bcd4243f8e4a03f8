"""The coded words of a referral and what each means.

Codes follow the Department for Education's children in need census and the police self-defined ethnicity
list; the meanings are in our own words. Each ``Literal`` names the codes, each mapping says what they mean,
and a test holds the two together.
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

FactorCode = Literal[
    "1A", "1B", "1C", "2A", "2B", "2C", "3A", "3B", "3C", "4A", "4B", "4C", "5A", "5B", "5C",
    "6A", "6B", "6C", "7A", "8B", "8C", "8D", "8E", "8F", "9A", "10A", "11A", "12A", "13A", "14A",
    "15A", "16A", "17A",
    "18B", "18C", "19B", "19C", "20", "21", "22A", "23A", "24A",
]  # fmt: skip
"""DfE factors identified at assessment. In 1 to 6 the letter says whose: A child, B parent, C other."""

FACTORS: Final[Mapping[FactorCode, str]] = {
    "1A": "Alcohol misuse by the child",
    "1B": "Alcohol misuse by a parent or carer",
    "1C": "Alcohol misuse by another person in the household",
    "2A": "Drug misuse by the child",
    "2B": "Drug misuse by a parent or carer",
    "2C": "Drug misuse by another person in the household",
    "3A": "Domestic abuse of the child",
    "3B": "Domestic abuse of a parent or carer",
    "3C": "Domestic abuse of another person in the household",
    "4A": "Mental health of the child",
    "4B": "Mental health of a parent or carer",
    "4C": "Mental health of another person in the household",
    "5A": "Learning disability of the child",
    "5B": "Learning disability of a parent or carer",
    "5C": "Learning disability of another person in the household",
    "6A": "Physical disability or illness of the child",
    "6B": "Physical disability or illness of a parent or carer",
    "6C": "Physical disability or illness of another person in the household",
    "7A": "The child is a young carer",
    "8B": "Privately fostered: from overseas, means to return",
    "8C": "Privately fostered: from overseas, means to stay",
    "8D": "Privately fostered: from this country, for schooling",
    "8E": "Privately fostered: from this country, by family arrangement",
    "8F": "Privately fostered: other",
    "9A": "Unaccompanied child seeking asylum",
    "10A": "Going missing",
    "11A": "Child sexual exploitation",
    "12A": "Trafficking",
    "13A": "Gangs",
    "14A": "Socially unacceptable behaviour",
    "15A": "Self-harm",
    "16A": "Neglect",
    "17A": "Emotional abuse",
    "18B": "Physical abuse of a child by an adult",
    "18C": "Physical abuse of a child by another child",
    "19B": "Sexual abuse of a child by an adult",
    "19C": "Sexual abuse of a child by another child",
    "20": "Another factor",
    "21": "No factor found",
    "22A": "Female genital mutilation",
    "23A": "Abuse linked to faith or belief",
    "24A": "Child criminal exploitation",
}

DOMESTIC_ABUSE_FACTORS: Final[frozenset[FactorCode]] = frozenset({"3A", "3B", "3C"})
EXPLOITATION_FACTORS: Final[frozenset[FactorCode]] = frozenset({"11A", "12A", "13A", "24A"})

AbuseCategory = Literal["NEG", "PHY", "SAB", "EMO", "MUL"]
ABUSE_CATEGORIES: Final[Mapping[AbuseCategory, str]] = {
    "NEG": "Neglect",
    "PHY": "Physical abuse",
    "SAB": "Sexual abuse",
    "EMO": "Emotional abuse",
    "MUL": "More than one category",
}

AdultAbuseType = Literal[
    "physical", "domestic", "sexual", "psychological", "financial", "modern_slavery",
    "discriminatory", "organisational", "neglect", "self_neglect",
]  # fmt: skip
ADULT_ABUSE_TYPES: Final[Mapping[AdultAbuseType, str]] = {
    "physical": "Physical abuse",
    "domestic": "Domestic abuse",
    "sexual": "Sexual abuse",
    "psychological": "Psychological or emotional abuse",
    "financial": "Financial or material abuse",
    "modern_slavery": "Modern slavery",
    "discriminatory": "Discriminatory abuse",
    "organisational": "Organisational abuse",
    "neglect": "Neglect and acts of omission",
    "self_neglect": "Self-neglect",
}
"""Types of abuse in the statutory guidance to the Care Act 2014."""

PoliceEthnicity = Literal[
    "W1", "W2", "W9", "M1", "M2", "M3", "M9", "A1", "A2", "A3", "A9", "B1", "B2", "B9", "O1", "O9", "NS"
]
POLICE_ETHNICITIES: Final[Mapping[PoliceEthnicity, str]] = {
    "W1": "White: British",
    "W2": "White: Irish",
    "W9": "White: any other background",
    "M1": "Mixed: White and Black Caribbean",
    "M2": "Mixed: White and Black African",
    "M3": "Mixed: White and Asian",
    "M9": "Mixed: any other background",
    "A1": "Asian: Indian",
    "A2": "Asian: Pakistani",
    "A3": "Asian: Bangladeshi",
    "A9": "Asian: any other background",
    "B1": "Black: Caribbean",
    "B2": "Black: African",
    "B9": "Black: any other background",
    "O1": "Chinese",
    "O9": "Any other ethnic group",
    "NS": "Not stated",
}
"""The police 16+1 list."""

DfeEthnicity = Literal[
    "WBRI", "WIRI", "WOTH", "WIRT", "WROM", "MWBC", "MWBA", "MWAS", "MOTH", "AIND", "APKN", "ABAN", "AOTH",
    "CHNE", "BCRB", "BAFR", "BOTH", "OOTH", "REFU", "NOBT",
]  # fmt: skip
DFE_ETHNICITIES: Final[Mapping[DfeEthnicity, str]] = {
    "WBRI": "White British",
    "WIRI": "White Irish",
    "WOTH": "Any other White background",
    "WIRT": "Traveller of Irish heritage",
    "WROM": "Gypsy or Roma",
    "MWBC": "White and Black Caribbean",
    "MWBA": "White and Black African",
    "MWAS": "White and Asian",
    "MOTH": "Any other Mixed background",
    "AIND": "Indian",
    "APKN": "Pakistani",
    "ABAN": "Bangladeshi",
    "AOTH": "Any other Asian background",
    "CHNE": "Chinese",
    "BCRB": "Black Caribbean",
    "BAFR": "Black African",
    "BOTH": "Any other Black background",
    "OOTH": "Any other ethnic group",
    "REFU": "Refused to say",
    "NOBT": "Not yet obtained",
}


class Crossing(NamedTuple):
    """The police code nearest to a DfE one; ``lossy`` when the way back would not find the same code."""

    police: PoliceEthnicity
    lossy: bool


ETHNICITY_CROSSWALK: Final[Mapping[DfeEthnicity, Crossing]] = {
    "WBRI": Crossing("W1", lossy=False),
    "WIRI": Crossing("W2", lossy=False),
    "WOTH": Crossing("W9", lossy=False),
    "WIRT": Crossing("W9", lossy=True),
    "WROM": Crossing("W9", lossy=True),
    "MWBC": Crossing("M1", lossy=False),
    "MWBA": Crossing("M2", lossy=False),
    "MWAS": Crossing("M3", lossy=False),
    "MOTH": Crossing("M9", lossy=False),
    "AIND": Crossing("A1", lossy=False),
    "APKN": Crossing("A2", lossy=False),
    "ABAN": Crossing("A3", lossy=False),
    "AOTH": Crossing("A9", lossy=False),
    "CHNE": Crossing("O1", lossy=False),
    "BCRB": Crossing("B1", lossy=False),
    "BAFR": Crossing("B2", lossy=False),
    "BOTH": Crossing("B9", lossy=False),
    "OOTH": Crossing("O9", lossy=False),
    "REFU": Crossing("NS", lossy=True),
    "NOBT": Crossing("NS", lossy=True),
}
"""DfE to police 16+1. Travellers, Gypsies and Roma have no police code; "not stated" hides the reason."""

DisabilityCode = Literal[
    "AUT", "BEH", "COMM", "CON", "DDA", "HAND", "HEAR", "INC", "LD", "MOB", "NONE", "PC", "VIS"
]
DISABILITIES: Final[Mapping[DisabilityCode, str]] = {
    "AUT": "Autism or Asperger syndrome",
    "BEH": "Behaviour",
    "COMM": "Communication",
    "CON": "Consciousness",
    "DDA": "Another disability under the Equality Act",
    "HAND": "Hand function",
    "HEAR": "Hearing",
    "INC": "Incontinence",
    "LD": "Learning",
    "MOB": "Mobility",
    "NONE": "No disability",
    "PC": "Personal care",
    "VIS": "Vision",
}

Sex = Literal["F", "M", "U"]
SEXES: Final[Mapping[Sex, str]] = {"F": "Female", "M": "Male", "U": "Not known"}

Gender = Literal["00", "01", "02", "09"]
GENDERS: Final[Mapping[Gender, str]] = {"00": "Not recorded", "01": "Male", "02": "Female", "09": "Neither"}

UpnUnknown = Literal["UN1", "UN2", "UN3", "UN4", "UN5"]
UPN_UNKNOWN_REASONS: Final[Mapping[UpnUnknown, str]] = {
    "UN1": "Too young for school and not given a number yet",
    "UN2": "Never at a state school in England",
    "UN3": "Educated outside England",
    "UN4": "Newly known, number not found out yet",
    "UN5": "Sources disagree about name or date of birth, so no safe match",
}

ContactSource = Literal[
    "1A", "1B", "1C", "1D", "2A", "2B", "3A", "3B", "3C", "3D", "3E", "3F", "4", "5A", "5B", "5C", "5D",
    "6", "7", "8", "9", "10",
]  # fmt: skip
CONTACT_SOURCES: Final[Mapping[ContactSource, str]] = {
    "1A": "Family member or carer",
    "1B": "Acquaintance",
    "1C": "The person themselves",
    "1D": "Another individual",
    "2A": "School",
    "2B": "Education service",
    "3A": "General practitioner",
    "3B": "Health visitor",
    "3C": "School nurse",
    "3D": "Other primary health service",
    "3E": "Emergency department",
    "3F": "Other health service",
    "4": "Housing",
    "5A": "Social care of this local authority",
    "5B": "Another service of this local authority",
    "5C": "Social care of another local authority",
    "5D": "Another service of another local authority",
    "6": "Police",
    "7": "Another legal agency",
    "8": "Another organisation",
    "9": "Anonymous",
    "10": "Not known",
}
POLICE_CONTACT_SOURCE: Final[ContactSource] = "6"
