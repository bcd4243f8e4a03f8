"""Working time as arithmetic: opening hours become UTC intervals once, and adding is a look-up after that."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import accumulate
from typing import Final, Literal, Protocol
from zoneinfo import ZoneInfo

import msgspec

from hub_kernel.errors import Malformed, Rejected
from hub_schemas.codes import CalendarName
from hub_triage.policies.stamp import Stamp, stamp_of

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
Status = Literal["statutory", "guidance", "local"]

WEEKDAYS: Final[tuple[Weekday, ...]] = (
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday",
)  # fmt: skip
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class OutsideCalendar(Rejected):
    """The calendar does not reach this instant. Add later days to calendars.json and raise its version."""

    slug = "outside-calendar"


class BrokenCalendars(Malformed):
    """These calendars contradict themselves. Mend the named fields; the last ones stay in use."""

    slug = "broken-calendars"


class Calendar(Protocol):
    """Counts the time that counts. Instants are aware UTC, amounts are exact."""

    def add(self, instant: datetime, worked: timedelta) -> datetime:
        """The first instant by which ``worked`` has passed since ``instant``; always inside the calendar."""
        ...

    def elapsed(self, start: datetime, end: datetime) -> timedelta:
        """How much time counted from ``start`` to ``end``."""
        ...


class RoundTheClock:
    """Every second counts."""

    def add(self, instant: datetime, worked: timedelta) -> datetime:
        """``worked`` later."""
        return instant + worked

    def elapsed(self, start: datetime, end: datetime) -> timedelta:
        """The plain difference."""
        return end - start


class WorkingCalendar:
    """Only the time inside the given intervals counts. They are ordered, apart, and in UTC.

    A closing instant belongs to its interval, so an allowance that is used up at closing time is due then
    and not the next morning. Raises ``OutsideCalendar`` for instants before the first or after the last
    interval, and for sums that end there.
    """

    def __init__(self, intervals: Iterable[tuple[datetime, datetime]]) -> None:
        spans = [(_micros(opens), _micros(closes)) for opens, closes in intervals]
        self._opens = [opens for opens, _ in spans]
        self._closes = [closes for _, closes in spans]
        self._before = list(accumulate((closes - opens for opens, closes in spans), initial=0))

    def add(self, instant: datetime, worked: timedelta) -> datetime:
        """The first instant by which ``worked`` (not negative) has passed; never while closed."""
        start = _micros(instant)
        if worked <= timedelta():
            return _instant(self._next_open(start))
        used = self._used(start) + worked // _MICROSECOND
        # The interval in which the sum is used up: the sums before it are all smaller.
        index = bisect_left(self._before, used) - 1
        if index == len(self._opens):
            raise OutsideCalendar
        return _instant(self._opens[index] + used - self._before[index])

    def elapsed(self, start: datetime, end: datetime) -> timedelta:
        """How much opening time lies between the two."""
        return (self._used(_micros(end)) - self._used(_micros(start))) * _MICROSECOND

    def _used(self, micros: int) -> int:
        """Opening time from the first interval to this instant."""
        if not self._opens[0] <= micros <= self._closes[-1]:
            raise OutsideCalendar
        index = bisect_right(self._opens, micros) - 1
        return self._before[index] + min(micros, self._closes[index]) - self._opens[index]

    def _next_open(self, micros: int) -> int:
        """This instant if open, otherwise the next opening."""
        self._used(micros)  # refuses what lies outside
        index = bisect_right(self._opens, micros) - 1
        return micros if micros <= self._closes[index] else self._opens[index + 1]


def _micros(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND


def _instant(micros: int) -> datetime:
    return _EPOCH + micros * _MICROSECOND


class _HubHours(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    weekdays: tuple[Weekday, ...]
    opens: time
    closes: time
    status: Status
    source: str


class _BankHolidays(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    status: Status
    source: str
    dates: tuple[date, ...]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    version: int
    time_zone: str
    first_day: date
    last_day: date
    hub_hours: _HubHours
    bank_holidays: _BankHolidays


@dataclass(frozen=True, slots=True)
class Calendars:
    """The calendars a clock may run by, from one file. ``last_day`` is the last one they know."""

    stamp: Stamp
    by_name: Mapping[CalendarName, Calendar]
    bank_holidays: frozenset[date]
    first_day: date
    last_day: date


def load_calendars(content: bytes) -> Calendars:
    """Build the calendars of a file. Raises ``BrokenCalendars`` or ``msgspec.ValidationError``."""
    file = msgspec.json.decode(content, type=_File)
    if file.hub_hours.opens >= file.hub_hours.closes or not file.hub_hours.weekdays:
        raise BrokenCalendars(fields={"hub_hours": "must open on some day, and before it closes"})
    if any(not file.first_day <= day <= file.last_day for day in file.bank_holidays.dates):
        raise BrokenCalendars(fields={"bank_holidays": "must lie between first_day and last_day"})
    return Calendars(
        stamp=stamp_of(content),
        by_name={"round_the_clock": RoundTheClock(), "hub_hours": WorkingCalendar(_open_intervals(file))},
        bank_holidays=frozenset(file.bank_holidays.dates),
        first_day=file.first_day,
        last_day=file.last_day,
    )


def _open_intervals(file: _File) -> Iterator[tuple[datetime, datetime]]:
    """Opening hours of every working day: built in local time, kept in UTC."""
    zone = ZoneInfo(file.time_zone)
    closed = frozenset(file.bank_holidays.dates)
    for offset in range((file.last_day - file.first_day).days + 1):
        day = file.first_day + timedelta(days=offset)
        if WEEKDAYS[day.weekday()] in file.hub_hours.weekdays and day not in closed:
            opens = datetime.combine(day, file.hub_hours.opens, zone)
            yield opens.astimezone(UTC), datetime.combine(day, file.hub_hours.closes, zone).astimezone(UTC)
