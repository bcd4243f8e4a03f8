import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import holidays
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_triage.policies import Policies
from hub_triage.policies.calendars import (
    BrokenCalendars,
    OutsideCalendar,
    RoundTheClock,
    WorkingCalendar,
    load_calendars,
)

LONDON = ZoneInfo("Europe/London")
DAYS = [date(2025, 1, 1) + timedelta(days=n) for n in range(365 * 4)]
BANK_HOLIDAYS = set(holidays.country_holidays("GB", subdiv="ENG", years=range(2024, 2031)))


def nine_to_five(day: date) -> tuple[datetime, datetime]:
    return (
        datetime(day.year, day.month, day.day, 9, tzinfo=LONDON).astimezone(UTC),
        datetime(day.year, day.month, day.day, 17, tzinfo=LONDON).astimezone(UTC),
    )


CALENDAR = WorkingCalendar(
    nine_to_five(day) for day in DAYS if day.weekday() < 5 and day not in BANK_HOLIDAYS
)
instants = st.datetimes(datetime(2025, 1, 3), datetime(2028, 6, 30), timezones=st.just(UTC))  # noqa: DTZ001  the strategy adds the zone
amounts = st.timedeltas(timedelta(), timedelta(hours=300))


def london(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=LONDON).astimezone(UTC)  # type: ignore[misc,arg-type]


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


def is_open(instant: datetime) -> bool:
    local = instant.astimezone(LONDON)
    return (
        local.weekday() < 5
        and local.date() not in BANK_HOLIDAYS
        and timedelta(hours=9)
        <= timedelta(
            hours=local.hour, minutes=local.minute, seconds=local.second, microseconds=local.microsecond
        )
        <= timedelta(hours=17)
    )


@given(instants, amounts)
def test_adding_and_elapsing_are_each_others_inverse(start: datetime, worked: timedelta) -> None:
    assert CALENDAR.elapsed(start, CALENDAR.add(start, worked)) == worked


@given(instants, instants)
def test_elapsed_time_counts_exactly_the_open_time(one: datetime, other: datetime) -> None:
    start, end = min(one, other), max(one, other)
    overlaps = (
        min(end, closes) - max(start, opens)
        for opens, closes in map(
            nine_to_five, (day for day in DAYS if day.weekday() < 5 and day not in BANK_HOLIDAYS)
        )
        if opens < end and start < closes
    )
    assert CALENDAR.elapsed(start, end) == sum(overlaps, timedelta())


@given(instants, instants, amounts, amounts)
def test_a_later_start_or_a_longer_allowance_is_never_due_earlier(
    one: datetime, other: datetime, less: timedelta, more: timedelta
) -> None:
    early, late = min(one, other), max(one, other)
    assert CALENDAR.add(early, less) <= CALENDAR.add(late, less)
    assert CALENDAR.add(early, min(less, more)) <= CALENDAR.add(early, max(less, more))


@given(instants, amounts)
def test_a_due_instant_is_never_while_the_hub_is_closed(start: datetime, worked: timedelta) -> None:
    assert is_open(CALENDAR.add(start, worked))


@given(instants, amounts, amounts)
def test_adding_in_two_steps_is_adding_once(start: datetime, first: timedelta, second: timedelta) -> None:
    assert CALENDAR.add(CALENDAR.add(start, first), second) == CALENDAR.add(start, first + second)


@pytest.mark.parametrize(
    ("start", "worked", "due"),
    [
        pytest.param(london(2026, 3, 11, 10), hours(2), london(2026, 3, 11, 12), id="inside one day"),
        pytest.param(london(2026, 3, 11, 16), hours(2), london(2026, 3, 12, 10), id="over one night"),
        pytest.param(london(2026, 3, 11, 16), hours(1), london(2026, 3, 11, 17), id="used up at closing"),
        pytest.param(london(2026, 3, 13, 16), hours(2), london(2026, 3, 16, 10), id="over a weekend"),
        pytest.param(london(2026, 3, 12, 0), hours(1), london(2026, 3, 12, 10), id="from midnight"),
        pytest.param(london(2026, 3, 14, 12), hours(0), london(2026, 3, 16, 9), id="nothing, while closed"),
        pytest.param(london(2026, 3, 27, 16), hours(2), london(2026, 3, 30, 10), id="the clocks go forward"),
        pytest.param(london(2026, 10, 23, 16), hours(2), london(2026, 10, 26, 10), id="the clocks go back"),
        pytest.param(london(2026, 4, 2, 16), hours(2), london(2026, 4, 7, 10), id="over Easter"),
        pytest.param(london(2027, 12, 24, 16), hours(2), london(2027, 12, 29, 10), id="over substitute days"),
        pytest.param(
            london(2027, 12, 31, 16), hours(2), london(2028, 1, 4, 10), id="over a substitute New Year"
        ),
    ],
)
def test_working_time_skips_what_does_not_count(start: datetime, worked: timedelta, due: datetime) -> None:
    assert CALENDAR.add(start, worked) == due
    assert due.tzinfo is UTC


def test_round_the_clock_counts_every_second_over_a_clock_change() -> None:
    calendar = RoundTheClock()
    start = london(2026, 10, 24, 12)
    assert calendar.add(start, hours(24)).astimezone(LONDON).hour == 11
    assert calendar.elapsed(start, calendar.add(start, hours(24))) == hours(24)


@pytest.mark.parametrize(
    "start", [datetime(2024, 12, 31, tzinfo=UTC), datetime(2029, 6, 1, tzinfo=UTC)], ids=["before", "after"]
)
def test_an_instant_outside_the_calendar_is_refused(start: datetime) -> None:
    with pytest.raises(OutsideCalendar):
        CALENDAR.add(start, hours(1))
    with pytest.raises(OutsideCalendar):
        CALENDAR.add(start, hours(0))
    with pytest.raises(OutsideCalendar):
        CALENDAR.elapsed(start, start)


def test_an_allowance_that_outlasts_the_calendar_is_refused() -> None:
    with pytest.raises(OutsideCalendar):
        CALENDAR.add(london(2028, 6, 30, 9), hours(2000))


def test_the_calendar_file_holds_the_bank_holidays_of_england(policies: Policies) -> None:
    calendars = policies.clocks.calendars
    assert (calendars.first_day, calendars.last_day) == (date(2024, 1, 1), date(2030, 12, 31))
    assert calendars.bank_holidays == BANK_HOLIDAYS


def test_the_hub_opens_from_eight_to_six_on_working_days(policies: Policies) -> None:
    hub_hours = policies.clocks.calendars.by_name["hub_hours"]
    assert hub_hours.add(london(2026, 4, 2, 17, 30), hours(1)) == london(2026, 4, 7, 8, 30)
    week = hub_hours.elapsed(london(2026, 3, 9), london(2026, 3, 16))
    assert week == hours(50)


@pytest.mark.parametrize(
    ("change", "at_fault"),
    [
        ({"hub_hours": {"opens": "18:00:00", "closes": "08:00:00"}}, "hub_hours"),
        ({"bank_holidays": {"dates": ["2031-01-01"]}}, "bank_holidays"),
    ],
)
def test_calendars_that_contradict_themselves_are_refused(
    policy_files: dict[str, bytes], change: Mapping[str, Mapping[str, object]], at_fault: str
) -> None:
    content = json.loads(policy_files["calendars"])
    for section, values in change.items():
        content[section] |= values
    with pytest.raises(BrokenCalendars) as refused:
        load_calendars(json.dumps(content).encode())
    assert list(refused.value.fields) == [at_fault]
