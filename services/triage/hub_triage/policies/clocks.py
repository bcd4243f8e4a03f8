"""How long each clock allows for each level of need, and by which calendar."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Self, get_args

import msgspec

from hub_kernel.errors import Malformed
from hub_schemas.codes import CalendarName, ClockName, LevelOfNeed
from hub_triage.policies.calendars import Calendars, Status
from hub_triage.policies.stamp import Stamp, stamp_of


class BrokenClockPolicy(Malformed):
    """This clock policy contradicts itself. Mend the named goals; the last one stays in use."""

    slug = "broken-clock-policy"


class Goal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An allowance: ``goal_seconds`` of time in ``calendar``, and where the figure comes from."""

    goal_seconds: Annotated[int, msgspec.Meta(gt=0)]
    calendar: CalendarName
    status: Status
    source: str


class _Clock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    meaning: str
    goals: dict[LevelOfNeed, Goal | None]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    version: int
    warn_at_percent: Annotated[int, msgspec.Meta(ge=1, le=99)]
    clocks: dict[ClockName, _Clock]


@dataclass(frozen=True, slots=True)
class Timing:
    """When an allowance that counts from some instant warns and is due."""

    goal: Goal
    warn_at: datetime
    due_at: datetime


@dataclass(frozen=True, slots=True)
class ClockPolicy:
    """The allowances of every clock, over the calendars they run by."""

    stamp: Stamp
    calendars: Calendars
    warn_at_percent: int
    goals: Mapping[ClockName, Mapping[LevelOfNeed, Goal | None]]

    @classmethod
    def load(cls, content: bytes, calendars: Calendars) -> Self:
        """Read a clock policy file. Raises ``BrokenClockPolicy`` or ``msgspec.ValidationError``."""
        file = msgspec.json.decode(content, type=_File)
        goals = {name: clock.goals for name, clock in file.clocks.items()}
        faults = _faults(goals)
        if faults:
            raise BrokenClockPolicy(fields=faults)
        return cls(stamp_of(content), calendars, file.warn_at_percent, goals)

    def timing(self, clock: ClockName, level_of_need: LevelOfNeed, start: datetime) -> Timing | None:
        """When this clock warns and is due if it counts from ``start``; None if it has no goal here.

        Raises ``OutsideCalendar`` when the calendar does not reach that far.
        """
        goal = self.goals[clock][level_of_need]
        if goal is None:
            return None
        calendar = self.calendars.by_name[goal.calendar]
        allowance = timedelta(seconds=goal.goal_seconds)
        return Timing(
            goal,
            warn_at=calendar.add(start, allowance * self.warn_at_percent // 100),
            due_at=calendar.add(start, allowance),
        )


def _faults(goals: Mapping[ClockName, Mapping[LevelOfNeed, Goal | None]]) -> dict[str, str]:
    missing = [
        clock for clock in get_args(ClockName) if set(goals.get(clock, ())) != set(get_args(LevelOfNeed))
    ]
    if missing:
        return dict.fromkeys(missing, "must name every level of need")
    faults = {}
    for level in get_args(LevelOfNeed):
        assessment, share = goals["assessment"][level], goals["share"][level]
        if assessment is None:
            faults[f"assessment.{level}"] = "every referral waits for a decision, so this needs a goal"
        elif share and (assessment.calendar, True) != (
            share.calendar,
            assessment.goal_seconds < share.goal_seconds,
        ):
            faults[f"assessment.{level}"] = "must run by the share clock's calendar and allow less"
    return faults
