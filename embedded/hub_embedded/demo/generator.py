"""The demo day as a stream: who reports what and when, and what is sent after it. Pure and seeded."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final, Literal
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec

from hub_embedded.demo import narratives
from hub_embedded.demo.dice import Dice
from hub_embedded.demo.people import Household, Individual, Kind, household
from hub_embedded.demo.referrals import LONDON, Report, document_of, written
from hub_schemas.codes import ReferralType

SEED: Final = 283
"""A day that begins at once: its first five reports come within a quarter of an hour."""
FIRST_INSTANT: Final = datetime(2026, 10, 9, 14, tzinfo=UTC)
"""Three on a Friday afternoon: the week's peak is a few hours away."""
REPORTS_A_DAY: Final = 135
TYPES: Final[dict[ReferralType, float]] = {"domestic_abuse": 54, "missing": 20, "child": 16, "adult": 10}
CHILD_PRESENT_SHARE: Final = 0.5
CHILD_ELSEWHERE_SHARE: Final = 0.3
"""Of domestic abuse reports without a child present: the family has children all the same."""
MISSING_CHILD_SHARE: Final = 0.7
REPEAT_SHARE: Final = 0.35
FOLLOW_UPS: Final[dict["SubmissionKind", tuple[float, float]]] = {
    "repeat": (0.04, 6.0),
    "amendment": (0.03, 120.0),
    "information": (0.03, 180.0),
    "withdrawal": (0.012, 60.0),
}
"""What may follow a report: in which share of cases, and after how many minutes on average."""

_HOUR_WEIGHTS: Final = (
    1.6, 1.2, 0.9, 0.6, 0.5, 0.5, 0.7, 1.1, 1.6, 1.9, 2.0, 2.0,
    2.0, 2.0, 2.1, 2.4, 2.5, 2.5, 2.6, 2.7, 2.8, 2.8, 2.5, 2.0,
)  # fmt: skip
"""Reports in each hour of an ordinary day, relative to each other."""
_NIGHT_FACTORS: Final = {4: 2.6, 5: 2.2, 6: 1.4}
_MONTH_FACTORS: Final = {12: 1.2, 8: 0.85}
_EVENING, _MORNING = 19, 4

SubmissionKind = Literal["referral", "repeat", "amendment", "information", "withdrawal"]
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True, order=True)
class Submission:
    """What the records system sends: about which record, when (aware UTC), and the JSON in UTF-8."""

    at: datetime
    number: int
    kind: SubmissionKind
    record_id: str
    body: bytes


def submissions(
    referrals: int | None = None, *, seed: int = SEED, first: datetime = FIRST_INSTANT
) -> Iterator[Submission]:
    """Everything sent from ``first`` on, in order of time: so many new referrals and what follows them.

    ``None`` means for ever. The same seed and first instant give the same bytes, and a shorter day is the
    start of a longer one up to its last referral.
    """
    waiting: list[Submission] = []
    reports = _Reports(seed, first)
    for number in count(1) if referrals is None else range(1, referrals + 1):
        report = reports.next(number)
        while waiting and waiting[0].at <= report.submitted_at:
            yield heappop(waiting)
        for submission in _submissions_of(report, Dice(f"{seed}:{number}")):
            heappush(waiting, submission)
    while waiting:
        yield heappop(waiting)


def reports_an_hour(at: datetime) -> float:
    """Reports an hour at this instant: the day's curve, the weekend's nights, the month."""
    local = at.astimezone(LONDON)
    factor = _MONTH_FACTORS.get(local.month, 1.0)
    if local.hour >= _EVENING or local.hour < _MORNING:
        evening_before = (local - timedelta(hours=6)).weekday()
        factor *= _NIGHT_FACTORS.get(evening_before, 1.0)
    return _HOUR_WEIGHTS[local.hour] * factor * _REPORTS_A_WEIGHT


def _weights_a_week() -> float:
    """The curve summed over one week of an ordinary month, to scale it by."""
    nights = [1.0] * 4 + [_NIGHT_FACTORS[day] for day in (4, 5, 6)]
    is_night = [hour >= _EVENING or hour < _MORNING for hour in range(24)]
    night = sum(weight for weight, dark in zip(_HOUR_WEIGHTS, is_night, strict=True) if dark)
    return 7 * (sum(_HOUR_WEIGHTS) - night) + night * sum(nights)


_REPORTS_A_WEIGHT: Final = 7 * REPORTS_A_DAY / _weights_a_week()
_MOST_AN_HOUR: Final = (
    max(_HOUR_WEIGHTS) * max(_NIGHT_FACTORS.values()) * max(_MONTH_FACTORS.values()) * _REPORTS_A_WEIGHT
)


class _Reports:
    """Draws one report after another; remembers households, because the same people come back."""

    def __init__(self, seed: int, first: datetime) -> None:
        self._dice = Dice(f"{seed}")
        self._at, self._today = first, first.date()
        self._homes = 0
        self._reported: dict[Kind, list[Household]] = {"family": [], "couple": [], "single": []}
        self._reports_of: dict[str, int] = {}

    def next(self, number: int) -> Report:
        self._at = self._next_instant()
        kind, home_kind, child_present = self._occasion()
        home = self._home(home_kind)
        previous = self._reports_of.get(home.uprn, home.earlier_reports)
        self._reports_of[home.uprn] = previous + 1
        return Report(
            number=number,
            type=kind,
            home=home,
            about=self._about(kind, home),
            child_present=child_present,
            previous_reports=previous,
            submitted_at=self._at,
        )

    def _next_instant(self) -> datetime:
        """The next arrival of a Poisson process whose rate follows the clock, by thinning."""
        at = self._at
        while True:
            at += timedelta(seconds=round(self._dice.gap(3600 / _MOST_AN_HOUR), 3))
            if self._dice.happens(reports_an_hour(at) / _MOST_AN_HOUR):
                return at

    def _occasion(self) -> tuple[ReferralType, Kind, bool]:
        kind = self._dice.weighted(TYPES)
        match kind:
            case "domestic_abuse":
                is_present = self._dice.happens(CHILD_PRESENT_SHARE)
                has_children = is_present or self._dice.happens(CHILD_ELSEWHERE_SHARE)
                return kind, "family" if has_children else "couple", is_present
            case "missing":
                is_child = self._dice.happens(MISSING_CHILD_SHARE)
                return kind, "family" if is_child else "single", False
            case "child":
                return kind, "family", True
            case _:
                return kind, "single", False

    def _home(self, kind: Kind) -> Household:
        """A household met before, the likelier the more often it was reported, or a new one."""
        reported = self._reported[kind]
        if reported and self._dice.happens(REPEAT_SHARE):
            home = self._dice.pick(reported)
        else:
            home = household(kind, self._homes, self._today, self._dice)
            self._homes += 1
        reported.append(home)
        return home

    def _about(self, kind: ReferralType, home: Household) -> tuple[Individual, ...]:
        match kind:
            case "domestic_abuse":
                return (home.first, *home.children)
            case "missing":
                return (self._dice.pick(home.children) if home.children else home.first,)
            case "child":
                return home.children
            case _:
                return (home.first,)


def _submissions_of(report: Report, dice: Dice) -> Iterator[Submission]:
    document = document_of(report, dice)
    yield _submission(report, report.submitted_at, "referral", document)
    last = report.submitted_at
    for kind, (share, mean_minutes) in FOLLOW_UPS.items():
        if dice.happens(share):
            last += timedelta(minutes=1 + round(dice.gap(mean_minutes), 3))
            yield _submission(report, last, kind, _follow_up(kind, report, document, last, dice))


def _submission(report: Report, at: datetime, kind: SubmissionKind, body: dict[str, Any]) -> Submission:
    return Submission(at, report.number, kind, report.record_id, _encoder.encode(body))


def _follow_up(
    kind: SubmissionKind, report: Report, document: dict[str, Any], at: datetime, dice: Dice
) -> dict[str, Any]:
    match kind:
        case "amendment":
            return document | {
                "source": document["source"] | {"version": 2},
                "times": document["times"] | {"submitted_at": written(at)},
                "marking": "OFFICIAL-SENSITIVE",
                "actions": document.get("actions", {}) | {"arrest_made": True},
            }
        case "information":
            return {
                "information_id": str(_information_id(report)),
                "text": narratives.later_information(report.home, dice),
                "risk": {"escalation": True} if report.type == "domestic_abuse" else {},
            }
        case "withdrawal":
            return {"reason_code": dice.pick(("duplicate", "recorded_in_error", "wrong_person"))}
        case _:
            return document


def _information_id(report: Report) -> UUID:
    return uuid5(NAMESPACE_URL, f"records-system:information:{report.record_id}")
