from datetime import date

import pytest

from hub_intake.policies.ages import age_band_of, age_in_years, is_of_school_age
from hub_schemas.codes import AgeBand
from hub_schemas.referral_people import School, Subject

ON = date(2026, 3, 6)


def child(born: date | None, school: School | None = None) -> Subject:
    return Subject(ref="c", kind="child", date_of_birth=born, school=school)


@pytest.mark.parametrize(
    ("born", "band"),
    [
        (date(2026, 3, 7), "under_1"),
        (date(2026, 3, 6), "under_1"),
        (date(2025, 3, 7), "under_1"),
        (date(2025, 3, 6), "1_4"),
        (date(2021, 3, 7), "1_4"),
        (date(2021, 3, 6), "5_10"),
        (date(2015, 3, 7), "5_10"),
        (date(2015, 3, 6), "11_15"),
        (date(2010, 3, 7), "11_15"),
        (date(2010, 3, 6), "16_17"),
        (date(2008, 3, 7), "16_17"),
        (date(2008, 3, 6), "18_64"),
        (date(1961, 3, 7), "18_64"),
        (date(1961, 3, 6), "65_plus"),
        (None, "unknown"),
    ],
)
def test_a_band_turns_on_the_birthday(born: date | None, band: AgeBand) -> None:
    assert age_band_of(child(born), ON) == band


def test_an_unborn_child_has_a_band_of_its_own() -> None:
    unborn = Subject(ref="u", kind="unborn", expected_date_of_birth=date(2026, 8, 1))
    assert age_band_of(unborn, ON) == "unborn"


def test_a_leap_day_child_is_a_year_older_on_the_first_of_march() -> None:
    assert age_in_years(date(2020, 2, 29), date(2026, 2, 28)) == 5
    assert age_in_years(date(2020, 2, 29), date(2026, 3, 1)) == 6


@pytest.mark.parametrize(
    ("born", "on", "expected"),
    [
        (date(2021, 8, 31), date(2025, 9, 1), True),
        (date(2021, 9, 1), date(2025, 9, 1), False),
        (date(2021, 8, 31), date(2025, 8, 31), False),
        (date(2021, 9, 1), date(2026, 3, 6), False),
        (date(2008, 3, 7), date(2026, 3, 6), True),
        (date(2008, 3, 6), date(2026, 3, 6), False),
    ],
)
def test_school_age_runs_from_reception_to_the_eighteenth_birthday(
    born: date, on: date, *, expected: bool
) -> None:
    assert is_of_school_age(child(born), on) is expected


def test_without_a_date_of_birth_a_named_school_tells_school_age() -> None:
    assert is_of_school_age(child(None, School(name="Example Primary")), ON)
    assert not is_of_school_age(child(None), ON)
