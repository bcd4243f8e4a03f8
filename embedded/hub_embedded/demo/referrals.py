"""One report as a records system exports it: the canonical referral document of an invented incident."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from hub_embedded.demo import narratives
from hub_embedded.demo.dice import Dice
from hub_embedded.demo.identifiers import office_number
from hub_embedded.demo.invented import FEMALE_NAMES, MALE_NAMES, SURNAMES
from hub_embedded.demo.people import Household, Individual, police_ethnicity
from hub_schemas.codes import ReferralType, RiskGrade

SYSTEM: Final = "west-mercia-rms"
FORCE: Final = "west-mercia"
LONDON: Final = ZoneInfo("Europe/London")
DOMESTIC_ABUSE_GRADES: Final[Mapping[RiskGrade, float]] = {"high": 12, "medium": 33, "standard": 55}
OTHER_GRADES: Final[Mapping[RiskGrade, float]] = {"high": 2, "medium": 11, "standard": 87}
UNDER_GRADED_SHARE: Final = 0.1
THIN_SHARE: Final = 0.025
_GRADE_ABOVE: Final[Mapping[RiskGrade, RiskGrade]] = {"standard": "medium", "medium": "high", "high": "high"}
_TEAMS: Final = ("Response A", "Response B", "Response C", "Safer Neighbourhood North", "Roads Policing")

_DANGER_SHARES: Final[Mapping[RiskGrade, Mapping[str, float]]] = {
    "high": {"strangulation": 0.3, "threats_to_kill": 0.45, "sexual_violence": 0.15, "stalking": 0.3,
             "escalation": 0.7, "victim_frightened": 0.85},
    "medium": {"strangulation": 0.01, "threats_to_kill": 0.05, "sexual_violence": 0.02, "stalking": 0.08,
               "escalation": 0.25, "victim_frightened": 0.45},
    "standard": {"strangulation": 0.0, "threats_to_kill": 0.0, "sexual_violence": 0.0, "stalking": 0.01,
                 "escalation": 0.02, "victim_frightened": 0.1},
}  # fmt: skip
"""How often each sign of danger is reported, by how dangerous the incident really is."""
_INJURIES: Final[Mapping[RiskGrade, Mapping[str, float]]] = {
    "high": {"none": 30, "minor": 50, "serious": 20},
    "medium": {"none": 65, "minor": 34, "serious": 1},
    "standard": {"none": 88, "minor": 12},
}
_DASH_YES: Final[Mapping[RiskGrade, tuple[int, int]]] = {
    "high": (12, 22),
    "medium": (6, 13),
    "standard": (0, 6),
}

Json = Any


@dataclass(frozen=True, slots=True)
class Report:
    """One incident in one household. ``about`` are the people the report is about, the first foremost."""

    number: int
    type: ReferralType
    home: Household
    about: tuple[Individual, ...]
    child_present: bool
    previous_reports: int
    submitted_at: datetime

    @property
    def record_id(self) -> str:
        """What the records system calls it: force area, running number, year."""
        return f"22/{480_000 + self.number}/{self.submitted_at:%y}"


def document_of(report: Report, dice: Dice) -> dict[str, Json]:
    """The canonical document, as plain JSON values with what is not stated left out."""
    grade = dice.weighted(DOMESTIC_ABUSE_GRADES if report.type == "domestic_abuse" else OTHER_GRADES)
    danger = _GRADE_ABOVE[grade] if dice.happens(UNDER_GRADED_SHARE) else grade
    occurred_at = report.submitted_at - timedelta(minutes=dice.whole(40, 300))
    document: dict[str, Json] = {
        "document_version": 1,
        "source": {"system": SYSTEM, "record_id": report.record_id, "version": 1},
        "force": FORCE,
        "authority": report.home.authority,
        "referral_type": report.type,
        "times": {
            "submitted_at": written(report.submitted_at),
            "reported_at": written(occurred_at + timedelta(minutes=dice.whole(2, 35))),
            "occurred_at": written(occurred_at),
        },
        "incident": _incident(report, occurred_at, dice),
        "referrer": _referrer(dice),
        "subjects": [_subject(report, person, dice) for person in report.about],
    }
    if dice.happens(THIN_SHARE):
        return _thin(document)
    if report.home.child_expected is not None and report.type in {"domestic_abuse", "child"}:
        document["subjects"].append(_unborn(report.home))
    document |= _people_around(report, dice)
    document["concern"] = _concern(report, danger, dice)
    document["risk"] = _risk(report, grade, danger, dice)
    document["actions"] = _actions(danger, dice)
    document["sharing"] = _sharing(report, danger, dice)
    document |= _voices(report, dice)
    return document


def written(instant: datetime) -> str:
    """An instant as the records system writes it: local time with its offset.

    Arithmetic stays in UTC: on local time it goes wrong in the hour that comes twice in October.
    """
    return instant.astimezone(LONDON).isoformat()


def _incident(report: Report, occurred_at: datetime, dice: Dice) -> dict[str, Json]:
    home = report.home
    incident: dict[str, Json] = {
        "occurrence_number": f"OCC-{730_000 + report.number}",
        "type": report.type.replace("_", " ").capitalize(),
        "location": {"description": home.lines[0], "postcode": home.postcode, "uprn": home.uprn},
        "narrative": narratives.narrative(
            report.type, home, report.about[0], occurred_at.astimezone(LONDON).strftime("%H:%M"), dice
        ),
        "body_worn_video": dice.happens(0.7),
    }
    if report.type == "domestic_abuse":
        incident["children_present"] = report.child_present
        if report.child_present:
            incident["children_where"] = dice.pick(("upstairs in bed", "in the same room", "in the garden"))
    if dice.happens(0.4):
        incident["crime_number"] = f"22-C-{910_000 + report.number}"
    return incident


def _referrer(dice: Dice) -> dict[str, Json]:
    name = f"{dice.pick(FEMALE_NAMES + MALE_NAMES)} {dice.pick(SURNAMES)}"
    return {
        "collar_number": f"WM-{dice.whole(10_000, 99_999)}",
        "name": name,
        "rank": dice.weighted({"PC": 80, "PS": 10, "PCSO": 10}),
        "team": dice.pick(_TEAMS),
        "phone": office_number(dice),
        "email": f"{name.lower().replace(' ', '.')}@westmercia.invalid",
    }


def _subject(report: Report, person: Individual, dice: Dice) -> dict[str, Json]:
    home = report.home
    is_child = person in home.children
    subject = _person(home, person) | {
        "kind": "child" if is_child else "adult",
        "ethnicity": {
            "dfe": person.ethnicity,
            "police": police_ethnicity(person.ethnicity),
            "stated_by": "officer_perceived" if dice.happens(0.4) else "self_defined",
        },
        "first_language": person.language,
        "interpreter_needed": person.language != "English" and dice.happens(0.4),
        "gp": {"name": person.practice},
    }
    if person.nhs_number is not None:
        subject["nhs_number"] = person.nhs_number
    if is_child:
        return subject | _childhood(report, person)
    return subject | {
        "care_and_support_needs": person.supported and report.type in {"adult", "missing"},
        "capacity": "in_doubt" if report.type == "adult" and dice.happens(0.25) else "has_capacity",
        "pregnant": home.child_expected is not None and person.sex == "F",
    }


def _childhood(report: Report, child: Individual) -> dict[str, Json]:
    home = report.home
    known: dict[str, Json] = {
        "child_protection_plan": home.is_on_plan,
        "looked_after": home.is_looked_after,
        "open_to_social_care": home.is_on_plan or home.is_looked_after or report.previous_reports > 1,
    }
    if report.type == "domestic_abuse":
        known["present_at_incident"] = report.child_present
    if child.school is not None:
        number, name = child.school
        known["school"] = {"name": name} if number is None else {"urn": number, "name": name}
        known |= {"upn": child.upn} if child.upn else {"upn_unknown": "UN4"}
    return known


def _person(home: Household, person: Individual) -> dict[str, Json]:
    shared: dict[str, Json] = {
        "ref": _ref(home, person),
        "name": {"given": person.given, "family": person.family},
        "date_of_birth": person.born.isoformat(),
        "sex": person.sex,
        "addresses": [
            {
                "type": "home",
                "withheld": home.is_withheld,
                "lines": list(home.lines),
                "postcode": home.postcode,
                "uprn": home.uprn,
            }
        ],
    }
    if person.phone is not None:
        shared["phones"] = [{"number": person.phone, "safe_to_contact": not home.is_withheld}]
    return shared


def _unborn(home: Household) -> dict[str, Json]:
    expected = home.child_expected
    return {
        "ref": "unborn",
        "kind": "unborn",
        "expected_date_of_birth": expected.isoformat() if expected else None,
        "gp": {"name": home.first.practice},
    }


def _ref(home: Household, person: Individual) -> str:
    if person in home.children:
        return f"child-{home.children.index(person) + 1}"
    return "first" if person == home.first else "second"


def _people_around(report: Report, dice: Dice) -> dict[str, Json]:
    """Those the report is not about, how all are tied together, and who is said to have done it."""
    home = report.home
    adults = [home.first] if home.second is None else [home.first, home.second]
    others = [person for person in (*adults, *home.children) if person not in report.about]
    ties = [
        {
            "person": _ref(home, adult),
            "of": _ref(home, child),
            "kind": "parent" if adult.family == child.family else "step_parent",
            "parental_responsibility": adult.family == child.family,
        }
        for adult in adults
        for child in home.children
    ]
    if home.second is not None:
        ties.append({"person": "second", "of": "first", "kind": dice.pick(("partner", "former_partner"))})
    around: dict[str, Json] = {
        "others": [_person(home, person) for person in others],
        "relationships": ties,
        "household": [_ref(home, person) for person in (*adults, *home.children)],
    }
    if report.type == "domestic_abuse" and home.second is not None:
        around["alleged_perpetrators"] = [
            {"person": "second", "victims": ["first"], "in_custody": dice.happens(0.3)}
        ]
    return around


def _concern(report: Report, danger: RiskGrade, dice: Dice) -> dict[str, Json]:
    concern: dict[str, Json] = {
        "factor_codes": _factors(report, dice),
        "injury": dice.weighted(_INJURIES[danger]),
        "weapon_used_or_threatened": dice.maybe({"high": 0.35, "medium": 0.06, "standard": 0.0}[danger]),
        "exploitation": dice.happens(0.05) if report.type in {"missing", "child"} else False,
        "previous_referrals_12_months": report.previous_reports,
        "referrals_3_months": 1 + report.previous_reports // 4,
        "history": f"{report.previous_reports} earlier reports about {report.home.first.family} are held.",
    }
    if report.type == "child":
        concern["abuse_categories"] = [dice.weighted({"EMO": 70, "NEG": 30})]
        if danger != "standard":
            concern["abuse_categories"] = [dice.weighted({"PHY": 60, "NEG": 20, "EMO": 15, "SAB": 5})]
    if report.type == "adult":
        concern["adult_abuse_types"] = [
            dice.weighted({"financial": 45, "psychological": 35, "self_neglect": 12, "neglect": 8})
        ]
    if report.type == "missing":
        concern["missing"] = {
            "currently_missing": dice.happens(0.12),
            "episodes_90_days": dice.weighted({0: 78, 1: 14, 2: 5, 3: 2, 6: 1}),
        }
    return concern


def _factors(report: Report, dice: Dice) -> Sequence[str]:
    match report.type:
        case "domestic_abuse":
            factors = [
                "3A" if report.child_present else "3B",
                *dice.several(("1B", "2B", "4B"), dice.whole(0, 2)),
            ]
        case "missing":
            factors = ["10A", *dice.several(("14A", "4A"), dice.whole(0, 1))]
        case "child":
            factors = dice.several(("16A", "17A", "14A", "1B", "4A"), dice.whole(1, 2))
        case _:
            factors = dice.several(("1C", "4C", "6C"), dice.whole(1, 2))
    return factors


def _risk(report: Report, grade: RiskGrade, danger: RiskGrade, dice: Dice) -> dict[str, Json]:
    risk: dict[str, Json] = {
        "officer_grade": grade,
        "officer_rationale": narratives.rationale(grade, report.home, dice),
        "self_harm_or_suicide": dice.happens(0.04) if report.type in {"missing", "adult"} else False,
    }
    if report.type == "domestic_abuse":
        fewest, most = _DASH_YES[danger]
        risk["dash"] = {"yes_count": dice.whole(fewest, most)}
        signs = {sign: dice.maybe(share) for sign, share in _DANGER_SHARES[danger].items()}
        risk |= {sign: answer for sign, answer in signs.items() if answer is not None}
    return risk


def _actions(danger: RiskGrade, dice: Dice) -> dict[str, Json]:
    return {
        "arrest_made": dice.happens({"high": 0.6, "medium": 0.25, "standard": 0.05}[danger]),
        "police_protection": danger == "high" and dice.happens(0.03),
        "safeguarding": dice.pick(
            ("Locks changed and patrol asked for.", "Safety advice given to all at home.")
        ),
        "idva_referred": danger == "high",
    }


def _sharing(report: Report, danger: RiskGrade, dice: Dice) -> dict[str, Json]:
    is_informed = dice.happens(0.7)
    sharing: dict[str, Json] = {
        "lawful_basis": "public_task",
        "consent_basis": "given" if danger == "standard" else "not_required_significant_harm",
    }
    if report.home.children:
        sharing["parents_informed"] = is_informed
        if not is_informed:
            sharing["reason_not_informed"] = dice.pick(("increases_risk", "causes_delay", "could_not_reach"))
    return sharing


def _voices(report: Report, dice: Dice) -> dict[str, Json]:
    home = report.home
    heard = [
        {
            "subject": _ref(home, person),
            "seen": True,
            "seen_alone": dice.happens(0.5),
            "words": narratives.child_words(home, dice),
            "demeanour": narratives.demeanour(dice),
        }
        for person in report.about
        if person in home.children and dice.happens(0.7)
    ]
    wishes = [
        {"subject": "first", "desired_outcome": narratives.adult_wish(home.first, dice)}
        for person in report.about
        if person == home.first and report.type == "adult"
    ]
    return {"voice_of_child": heard, "voice_of_adult": wishes}


def _thin(document: dict[str, Json]) -> dict[str, Json]:
    """What a tired officer sends at the end of a shift: who, what, and little else."""
    subjects = [
        {field: subject[field] for field in ("ref", "kind", "name")} for subject in document["subjects"]
    ]
    incident = {"narrative": document["incident"]["narrative"]}
    return document | {"subjects": subjects, "incident": incident}
