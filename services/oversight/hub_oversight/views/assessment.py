"""Triage's part of a referral's view: the grade, the decision, the clocks and what ran late."""

from datetime import datetime
from typing import Literal, assert_never

import msgspec

from hub_schemas.codes import Authority, ClockName, LevelOfNeed, RiskGrade
from hub_schemas.triage import (
    AssessmentClosed,
    ClockBreached,
    ClockCancelled,
    ClockMet,
    ClockStarted,
    ClockWarned,
    NotShared,
    Recipient,
    Regraded,
    RiskGraded,
    ShareDecided,
    TriageFact,
)

Decision = Literal["shared", "not_shared", "closed"]
_change = msgspec.structs.replace


class ClockView(msgspec.Struct, frozen=True, kw_only=True):
    """One deadline in its latest epoch. It runs until it is met or cancelled."""

    epoch: int
    started_at: datetime
    due_at: datetime
    warned_at: datetime | None = None
    breached_at: datetime | None = None
    met_at: datetime | None = None
    in_time: bool | None = None
    cancelled_at: datetime | None = None

    @property
    def running(self) -> bool:
        """Whether what it waits for is still to come."""
        return self.met_at is None and self.cancelled_at is None


class Breach(msgspec.Struct, frozen=True, kw_only=True):
    """A deadline that passed, as it stood when it did. ``late_start``: past its goal when it started."""

    clock: ClockName
    epoch: int
    due_at: datetime
    breached_at: datetime
    risk_grade: RiskGrade
    level_of_need: LevelOfNeed
    late_start: bool


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """What triage made of the referral.

    ``graded_at`` and ``shared_at`` are the first times; ``decided_at`` is of the decision that stands, and
    None again when new facts reopened the referral. ``recipients`` are all who were to be told so far.
    """

    authority: Authority
    risk_grade: RiskGrade
    level_of_need: LevelOfNeed
    needs_person: bool
    graded_at: datetime
    decision: Decision | None = None
    decided_at: datetime | None = None
    shared_at: datetime | None = None
    recipients: tuple[Recipient, ...] = ()
    clocks: dict[ClockName, ClockView] = {}
    breaches: tuple[Breach, ...] = ()

    @property
    def due_at(self) -> datetime | None:
        """When the first of the clocks that still run is due."""
        return min((clock.due_at for clock in self.clocks.values() if clock.running), default=None)

    @property
    def open_breaches(self) -> tuple[Breach, ...]:
        """Breaches whose clock still runs: somebody is still waiting."""
        return tuple(breach for breach in self.breaches if self._is_open(breach))

    def _is_open(self, breach: Breach) -> bool:
        clock = self.clocks[breach.clock]
        return clock.running and clock.epoch == breach.epoch


def assess(part: Assessment | None, fact: TriageFact) -> Assessment:
    """Fold one fact of triage. The first of a stream is ``RiskGraded``."""
    if isinstance(fact, RiskGraded):
        return _graded(part, fact)
    if part is None:
        raise ValueError(f"an assessment cannot begin with {type(fact).__name__}")
    match fact:
        case Regraded():
            return _change(
                part, risk_grade=fact.risk_grade, level_of_need=fact.level_of_need, needs_person=False
            )
        case ClockStarted():
            # Triage starts clocks only for a referral that awaits a decision, the first or another.
            started = ClockView(epoch=fact.epoch, started_at=fact.started_at, due_at=fact.due_at)
            clocks = {**part.clocks, fact.clock: started}
            return _change(part, decision=None, decided_at=None, clocks=clocks)
        case ClockWarned() | ClockBreached() | ClockMet() | ClockCancelled():
            return _clocked(part, fact)
        case ShareDecided() | NotShared() | AssessmentClosed():
            return _decided(part, fact)
        case _:
            assert_never(fact)


def _graded(part: Assessment | None, fact: RiskGraded) -> Assessment:
    if part is None:
        return Assessment(
            authority=fact.authority,
            risk_grade=fact.risk_grade,
            level_of_need=fact.level_of_need,
            needs_person=fact.needs_person,
            graded_at=fact.graded_at,
        )
    return _change(
        part,
        authority=fact.authority,
        risk_grade=fact.risk_grade,
        level_of_need=fact.level_of_need,
        needs_person=fact.needs_person,
    )


def _clocked(part: Assessment, fact: ClockWarned | ClockBreached | ClockMet | ClockCancelled) -> Assessment:
    clock, breaches = part.clocks[fact.clock], part.breaches
    match fact:
        case ClockWarned():
            clock = _change(clock, warned_at=fact.warned_at)
        case ClockBreached():
            clock = _change(clock, breached_at=fact.breached_at)
            breaches = (*breaches, _breach(fact))
        case ClockMet():
            clock = _change(clock, met_at=fact.met_at, in_time=fact.in_time)
        case ClockCancelled():
            clock = _change(clock, cancelled_at=fact.cancelled_at)
    return _change(part, clocks={**part.clocks, fact.clock: clock}, breaches=breaches)


def _breach(fact: ClockBreached) -> Breach:
    return Breach(
        clock=fact.clock,
        epoch=fact.epoch,
        due_at=fact.due_at,
        breached_at=fact.breached_at,
        risk_grade=fact.risk_grade,
        level_of_need=fact.level_of_need,
        late_start=fact.late_start,
    )


def _decided(part: Assessment, fact: ShareDecided | NotShared | AssessmentClosed) -> Assessment:
    match fact:
        case ShareDecided():
            return _change(
                part,
                decision="shared",
                decided_at=fact.decided_at,
                shared_at=part.shared_at or fact.decided_at,
                needs_person=False,
                recipients=part.recipients + fact.recipients,
            )
        case NotShared():
            return _change(part, decision="not_shared", decided_at=fact.decided_at, needs_person=False)
        case AssessmentClosed():
            return _change(part, decision="closed", decided_at=fact.closed_at, needs_person=False)
