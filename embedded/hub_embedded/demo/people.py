"""Invented households: who lives there, where, what is known of each; the same whenever they come back."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal

from hub_embedded.demo.dice import Dice
from hub_embedded.demo.identifiers import mobile_number, nhs_number, postcode, unique_pupil_number
from hub_embedded.demo.invented import (
    FEMALE_NAMES,
    LANGUAGES,
    MALE_NAMES,
    PLACES,
    PRACTICES,
    SCHOOLS,
    STREETS,
    SURNAMES,
)
from hub_schemas.codes import Authority
from hub_schemas.referral_codes import ETHNICITY_CROSSWALK, DfeEthnicity, Sex

PEOPLE_BY_AUTHORITY: Final[dict[Authority, float]] = {"885": 604, "893": 327, "894": 188, "884": 188}
"""Residents in thousands: how the county split of reports is weighted."""
NO_NHS_NUMBER_SHARE: Final = 0.25
UNRESOLVED_SCHOOL_SHARE: Final = 0.15
WITHHELD_ADDRESS_SHARE: Final = 0.06
UNBORN_SHARE: Final = 0.04
CHILDREN: Final = {1: 44, 2: 30, 3: 16, 4: 7, 5: 3}
_ETHNICITIES: Final[dict[DfeEthnicity, float]] = {
    "WBRI": 84, "WOTH": 5, "WROM": 1, "MWBC": 2, "AIND": 2, "APKN": 2, "BAFR": 1, "OOTH": 1, "NOBT": 2,
}  # fmt: skip
_DAYS_A_YEAR: Final = 365.25
_SCHOOL_YEARS: Final = (4, 17)
_PEOPLE_PER_HOUSEHOLD: Final = 10

Kind = Literal["family", "couple", "single"]


@dataclass(frozen=True, slots=True)
class Individual:
    """One invented person. ``school`` is a reference number (``None``: unresolved) and a name."""

    given: str
    family: str
    born: date
    sex: Sex
    ethnicity: DfeEthnicity
    language: str
    practice: str
    nhs_number: str | None
    phone: str | None
    upn: str | None
    school: tuple[str | None, str] | None
    supported: bool

    @property
    def name(self) -> str:
        """Given and family name."""
        return f"{self.given} {self.family}"


@dataclass(frozen=True, slots=True)
class Household:
    """People under one roof. ``first`` is who calls for help, ``second`` the other adult, if there is one."""

    authority: Authority
    lines: tuple[str, ...]
    postcode: str
    uprn: str
    is_withheld: bool
    first: Individual
    second: Individual | None
    children: tuple[Individual, ...]
    child_expected: date | None
    is_on_plan: bool
    is_looked_after: bool
    earlier_reports: int


def household(kind: Kind, number: int, today: date, dice: Dice) -> Household:
    """The household of this number (from 0, all different), as old as it is ``today``."""
    authority = dice.weighted(PEOPLE_BY_AUTHORITY)
    place, outward = dice.pick(PLACES[authority])
    family = dice.pick(SURNAMES)
    people = _People(authority, number * _PEOPLE_PER_HOUSEHOLD, today, dice)
    first_sex: Sex = "F" if dice.happens(0.75) else "M"
    oldest = 92 if kind == "single" else 49
    first = people.adult(family, first_sex, 18, oldest)
    second_family = family if dice.happens(0.5) else dice.pick(SURNAMES)
    second = None
    if kind != "single":
        second = people.adult(second_family, "M" if first_sex == "F" else "F", 19, 52)
    count = dice.weighted(CHILDREN) if kind == "family" else 0
    expecting = kind != "single" and dice.happens(UNBORN_SHARE)
    return Household(
        authority=authority,
        lines=(f"{dice.whole(1, 180)} {dice.pick(STREETS)}", place),
        postcode=postcode(outward, dice),
        uprn=f"9990{number:08d}",
        is_withheld=dice.happens(WITHHELD_ADDRESS_SHARE),
        first=first,
        second=second,
        children=tuple(people.child(dice.pick((family, second_family))) for _ in range(count)),
        child_expected=today + timedelta(days=dice.whole(20, 230)) if expecting else None,
        is_on_plan=count > 0 and dice.happens(0.025),
        is_looked_after=count == 1 and dice.happens(0.04),
        earlier_reports=0 if dice.happens(0.75) else dice.whole(1, 4),
    )


class _People:
    """Makes the members of one household, each with serial numbers of their own."""

    def __init__(self, authority: Authority, first_serial: int, today: date, dice: Dice) -> None:
        self._authority, self._serial, self._today, self._dice = authority, first_serial, today, dice

    def adult(self, family: str, sex: Sex, youngest: int, oldest: int) -> Individual:
        age_days = int(self._dice.whole(youngest * 1000, oldest * 1000) / 1000 * _DAYS_A_YEAR)
        phone = mobile_number(self._dice) if self._dice.happens(0.85) else None
        return self._individual(family, sex, age_days + 1, phone=phone)

    def child(self, family: str) -> Individual:
        age_days = self._dice.whole(20, int(17.9 * _DAYS_A_YEAR))
        sex: Sex = "F" if self._dice.happens(0.5) else "M"
        first_year, last_year = _SCHOOL_YEARS
        if not first_year < age_days / _DAYS_A_YEAR <= last_year:
            return self._individual(family, sex, age_days)
        number, name = self._dice.pick(SCHOOLS[self._authority])
        is_resolved = not self._dice.happens(UNRESOLVED_SCHOOL_SHARE)
        upn = unique_pupil_number(self._authority, 990_000_000 + self._serial)
        return self._individual(
            family, sex, age_days, school=(number if is_resolved else None, name), upn=upn
        )

    def _individual(
        self,
        family: str,
        sex: Sex,
        age_days: int,
        *,
        phone: str | None = None,
        school: tuple[str | None, str] | None = None,
        upn: str | None = None,
    ) -> Individual:
        dice = self._dice
        self._serial += 1
        return Individual(
            given=dice.pick(FEMALE_NAMES if sex == "F" else MALE_NAMES),
            family=family,
            born=self._today - timedelta(days=age_days),
            sex=sex,
            ethnicity=dice.weighted(_ETHNICITIES),
            language=dice.weighted(LANGUAGES),
            practice=dice.pick(PRACTICES),
            nhs_number=None if dice.happens(NO_NHS_NUMBER_SHARE) else nhs_number(self._serial),
            phone=phone,
            upn=upn if upn and dice.happens(0.6) else None,
            school=school,
            supported=dice.happens(0.3),
        )


def police_ethnicity(code: DfeEthnicity) -> str:
    """The police code nearest to a DfE one."""
    return ETHNICITY_CROSSWALK[code].police
