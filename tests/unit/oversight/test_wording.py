from datetime import UTC, datetime
from typing import get_args

import pytest

from hub_oversight.views import wording
from hub_oversight.views.delivery import Fallback
from hub_oversight.views.referral import Stage
from hub_schemas.codes import AgeBand, Agency, CalendarName, ReferralType


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0421, "42 ms"),
        (1, "1.0 s"),
        (59.94, "59.9 s"),
        (60, "1 min"),
        (3_599, "59 min"),
        (3_600, "1 h"),
        (11_520, "3 h 12 min"),
        (86_400, "1 day"),
        (100_800, "1 day 4 h"),
        (187_200, "2 days 4 h"),
    ],
)
def test_a_duration_reads_in_its_two_largest_units(seconds: float, words: str) -> None:
    assert wording.duration(seconds) == words


def test_what_still_lasts_reads_no_finer_than_a_second() -> None:
    assert [wording.elapsed(seconds) for seconds in (0, 5.9, 59.9, 60)] == ["0 s", "5 s", "59 s", "1 min"]


def test_an_instant_reads_in_the_time_people_live_by_on_both_sides_of_a_clock_change() -> None:
    assert wording.moment(datetime(2026, 3, 29, 0, 59, tzinfo=UTC)) == "29 Mar 2026 at 00:59"
    assert wording.moment(datetime(2026, 3, 29, 1, 0, tzinfo=UTC)) == "29 Mar 2026 at 02:00"


def test_people_read_with_the_age_of_the_youngest() -> None:
    assert wording.people(1, "18_64") == "1 person, 18 to 64"
    assert wording.people(3, "unborn") == "3 people, youngest unborn"
    assert wording.people(1, "unknown") == "1 person, age not known"
    assert wording.people(2, "unknown") == "2 people, ages not known"


def test_words_list_as_a_sentence_does() -> None:
    assert [wording.listing(words) for words in (["a"], ["a", "b"], ["a", "b", "c"])] == [
        "a",
        "a and b",
        "a, b and c",
    ]


@pytest.mark.parametrize(
    ("words", "codes"),
    [
        (wording.REFERRAL_TYPES, ReferralType),
        (wording.AGES, AgeBand),
        (wording.AGENCIES, Agency),
        (wording.CALENDARS, CalendarName),
        (wording.STAGES, Stage),
        (wording.FALLBACKS, Fallback),
    ],
)
def test_every_code_has_its_words(words: dict[str, str], codes: object) -> None:
    assert set(words) == set(get_args(codes))
