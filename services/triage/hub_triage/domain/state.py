"""What an assessment has come to: the fold of its facts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal, assert_never
from uuid import UUID

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

Status = Literal["open", "shared", "not_shared", "closed"]
CLOCKS: Final[tuple[ClockName, ...]] = ("assessment", "share")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockState:
    """One clock as it stands. Only a running one may warn, breach, be met or be cancelled."""

    epoch: int
    started_at: datetime
    warn_at: datetime
    due_at: datetime
    running: bool = True
    warned: bool = False
    breached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """The state of one assessment.

    ``person_grade`` is what a person set last; ``decided_subjects`` were in the referral when it was last
    decided; ``told`` are the recipients of every share so far.
    """

    referral_id: UUID
    status: Status
    referral_version: int
    inputs_hash: str
    authority: Authority
    risk_grade: RiskGrade
    level_of_need: LevelOfNeed
    needs_person: bool
    candidates: tuple[Recipient, ...]
    person_grade: tuple[RiskGrade, LevelOfNeed] | None = None
    decided_subjects: frozenset[UUID] = frozenset()
    told: tuple[Recipient, ...] = ()
    clocks: Mapping[ClockName, ClockState] = field(default_factory=dict)

    @property
    def subjects(self) -> frozenset[UUID]:
        """The ids of the subjects in the referral now."""
        return frozenset(candidate.subject_id for candidate in self.candidates)

    @property
    def counts_from(self) -> datetime:
        """The instant every clock of this assessment counts from."""
        return self.clocks["assessment"].started_at

    def due_at(self, clock: ClockName) -> datetime | None:
        """When this clock is due; None when it does not run."""
        found = self.clocks.get(clock)
        return found.due_at if found and found.running else None

    def untold(self, recipients: Sequence[Recipient]) -> tuple[Recipient, ...]:
        """Those of these recipients who have not been told, each once, in order."""
        return tuple(recipient for recipient in dict.fromkeys(recipients) if recipient not in self.told)


def evolve(state: Assessment | None, fact: TriageFact) -> Assessment:
    """Fold one fact into the state. The first fact of a stream is ``RiskGraded``."""
    if isinstance(fact, RiskGraded):
        return _graded(state, fact)
    if state is None:
        raise ValueError(f"an assessment cannot begin with {type(fact).__name__}")
    match fact:
        case Regraded():
            return replace(
                state,
                risk_grade=fact.risk_grade,
                level_of_need=fact.level_of_need,
                person_grade=(fact.risk_grade, fact.level_of_need),
                needs_person=False,
            )
        case ClockStarted() | ClockWarned() | ClockBreached() | ClockMet() | ClockCancelled():
            return _clocked(state, fact)
        case ShareDecided():
            return replace(
                state,
                status="shared",
                told=state.told + fact.recipients,
                decided_subjects=state.subjects,
                needs_person=False,
            )
        case NotShared():
            return replace(state, status="not_shared", decided_subjects=state.subjects, needs_person=False)
        case AssessmentClosed():
            return replace(state, status="closed")
        case _:
            assert_never(fact)


def _graded(state: Assessment | None, fact: RiskGraded) -> Assessment:
    if state is None:
        return Assessment(
            referral_id=fact.referral_id,
            status="open",
            referral_version=fact.referral_version,
            inputs_hash=fact.inputs_hash,
            authority=fact.authority,
            risk_grade=fact.risk_grade,
            level_of_need=fact.level_of_need,
            needs_person=fact.needs_person,
            candidates=fact.candidates,
        )
    return replace(
        state,
        referral_version=fact.referral_version,
        inputs_hash=fact.inputs_hash,
        authority=fact.authority,
        risk_grade=fact.risk_grade,
        level_of_need=fact.level_of_need,
        needs_person=fact.needs_person,
        candidates=fact.candidates,
    )


def _clocked(
    state: Assessment, fact: ClockStarted | ClockWarned | ClockBreached | ClockMet | ClockCancelled
) -> Assessment:
    if isinstance(fact, ClockStarted):
        clock = ClockState(
            epoch=fact.epoch, started_at=fact.started_at, warn_at=fact.warn_at, due_at=fact.due_at
        )
        return replace(state, status="open", clocks={**state.clocks, fact.clock: clock})
    clock = state.clocks[fact.clock]
    match fact:
        case ClockWarned():
            clock = replace(clock, warned=True)
        case ClockBreached():
            clock = replace(clock, breached=True)
        case ClockMet() | ClockCancelled():
            clock = replace(clock, running=False)
    return replace(state, clocks={**state.clocks, fact.clock: clock})
