"""How old people are, on the day that counts."""

from datetime import date
from typing import Final

from hub_schemas.codes import AgeBand
from hub_schemas.referral import Referral
from hub_schemas.referral_people import Subject

_BANDS: Final[tuple[tuple[int, AgeBand], ...]] = (
    (0, "under_1"), (4, "1_4"), (10, "5_10"), (15, "11_15"), (17, "16_17"), (64, "18_64"),
)  # fmt: skip
_ADULT_AT_YEARS: Final = 18
_STARTS_SCHOOL_AT_YEARS: Final = 4
_SCHOOL_YEAR_ENDS: Final = (8, 31)


def age_day_of(document: Referral) -> date:
    """The day ages are told on: that of the incident, or of submission where it has none."""
    # As the sender wrote it, offset and all: the sender's day is the day of the incident.
    return (document.times.occurred_at or document.times.submitted_at).date()


def age_in_years(born: date, on: date) -> int:
    """Completed years; negative when born after ``on``."""
    return on.year - born.year - ((on.month, on.day) < (born.month, born.day))


def age_band_of(subject: Subject, on: date) -> AgeBand:
    """The subject's age band on a day. A child born between incident and report counts as under one."""
    if subject.kind == "unborn":
        return "unborn"
    if subject.date_of_birth is None:
        return "unknown"
    age = age_in_years(subject.date_of_birth, on)
    return next((band for highest, band in _BANDS if age <= highest), "65_plus")


def is_of_school_age(child: Subject, on: date) -> bool:
    """Whether a child is between reception and 17; without a date of birth, whether a school is stated.

    Reception starts in the September after the fourth birthday.
    """
    if child.date_of_birth is None:
        return child.school is not None
    starts_year = on.year if (on.month, on.day) > _SCHOOL_YEAR_ENDS else on.year - 1
    before_term = date(starts_year, *_SCHOOL_YEAR_ENDS)
    return (
        age_in_years(child.date_of_birth, before_term) >= _STARTS_SCHOOL_AT_YEARS
        and age_in_years(child.date_of_birth, on) < _ADULT_AT_YEARS
    )
