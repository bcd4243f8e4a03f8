"""What assessors look at: the worklist row of one assessment, and when its clocks next need the timer."""

from datetime import datetime
from typing import Final, Literal, assert_never
from uuid import UUID

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

State = Literal["open", "shared", "not_shared", "closed"]
BANDS: Final[tuple[LevelOfNeed, ...]] = ("red", "amber", "green", "blue")


class ClockRow(msgspec.Struct, frozen=True, kw_only=True):
    """One clock. ``next_fire_at`` is when the timer must look next; None when it has nothing more to say."""

    epoch: int
    due_at: datetime
    next_fire_at: datetime | None
    warned: bool = False
    breached: bool = False
    running: bool = True
    in_time: bool | None = None


class WorklistRow(msgspec.Struct, frozen=True, kw_only=True):
    """One assessment as an assessor sees it; nothing in it names a person.

    ``received_at`` is when the clocks began to count, ``due_at`` when the assessment is due.
    """

    referral_id: UUID
    authority: Authority
    risk_grade: RiskGrade
    level_of_need: LevelOfNeed
    needs_person: bool
    state: State
    graded_at: datetime
    received_at: datetime | None = None
    due_at: datetime | None = None
    matched_rules: tuple[str, ...] = ()
    rule_set: str = ""
    disagrees_with_officer: bool = False
    held_by_person: bool = False
    encompass_due: bool = False
    candidates: tuple[Recipient, ...] = ()
    recipients: tuple[Recipient, ...] = ()
    decided_at: datetime | None = None
    decided_by_policy: str | None = None
    not_shared_reason: str | None = None
    clocks: dict[ClockName, ClockRow] = {}

    @property
    def breached(self) -> bool:
        """Whether a clock that still runs is past its due time."""
        return any(clock.breached and clock.running for clock in self.clocks.values())

    @property
    def band(self) -> int:
        """Its place among the levels of need, most urgent first."""
        return BANDS.index(self.level_of_need)


def worklist_order(row: WorklistRow) -> tuple[int, datetime, UUID]:
    """Strict bands, then the earliest due.

    Within a band every allowance is the same, so the earliest due has also used the greatest share of it;
    across bands, sharing time out by due date would let urgent work wait behind old work.
    """
    return row.band, row.due_at or row.graded_at, row.referral_id


def project(row: WorklistRow | None, fact: TriageFact) -> WorklistRow:
    """Fold one fact into the row. The first fact of a stream is ``RiskGraded``."""
    if isinstance(fact, RiskGraded):
        return _graded(row, fact)
    if row is None:
        raise ValueError(f"a worklist row cannot begin with {type(fact).__name__}")
    change = msgspec.structs.replace
    match fact:
        case Regraded():
            return change(
                row, risk_grade=fact.risk_grade, level_of_need=fact.level_of_need, needs_person=False
            )
        case ClockStarted():
            return _started(row, fact)
        case ClockWarned() | ClockBreached() | ClockMet() | ClockCancelled():
            return change(row, clocks={**row.clocks, fact.clock: _clocked(row.clocks[fact.clock], fact)})
        case ShareDecided() | NotShared() | AssessmentClosed():
            return _ended(row, fact)
        case _:
            assert_never(fact)


def _graded(row: WorklistRow | None, fact: RiskGraded) -> WorklistRow:
    fresh = WorklistRow(
        referral_id=fact.referral_id,
        authority=fact.authority,
        risk_grade=fact.risk_grade,
        level_of_need=fact.level_of_need,
        needs_person=fact.needs_person,
        state="open",
        graded_at=fact.graded_at,
        matched_rules=tuple(rule.rule_id for rule in fact.matched_rules),
        rule_set=fact.rule_set,
        disagrees_with_officer=fact.disagrees_with_officer,
        held_by_person=fact.held_by_person,
        encompass_due=fact.encompass_due,
        candidates=fact.candidates,
    )
    if row is None:
        return fresh
    return msgspec.structs.replace(
        fresh,
        state=row.state,
        received_at=row.received_at,
        due_at=row.due_at,
        recipients=row.recipients,
        decided_at=row.decided_at,
        decided_by_policy=row.decided_by_policy,
        not_shared_reason=row.not_shared_reason,
        clocks=row.clocks,
    )


def _started(row: WorklistRow, fact: ClockStarted) -> WorklistRow:
    clock = ClockRow(epoch=fact.epoch, due_at=fact.due_at, next_fire_at=fact.warn_at)
    return msgspec.structs.replace(
        row,
        state="open",
        received_at=fact.started_at,
        due_at=fact.due_at if fact.clock == "assessment" else row.due_at,
        clocks={**row.clocks, fact.clock: clock},
    )


def _ended(row: WorklistRow, fact: ShareDecided | NotShared | AssessmentClosed) -> WorklistRow:
    change = msgspec.structs.replace
    match fact:
        case ShareDecided():
            return change(
                row,
                state="shared",
                needs_person=False,
                recipients=row.recipients + fact.recipients,
                decided_at=fact.decided_at,
                decided_by_policy=fact.by_policy,
                not_shared_reason=None,
            )
        case NotShared():
            return change(
                row,
                state="not_shared",
                needs_person=False,
                decided_at=fact.decided_at,
                decided_by_policy=None,
                not_shared_reason=fact.reason_code,
            )
        case AssessmentClosed():
            return change(row, state="closed")


def _clocked(clock: ClockRow, fact: ClockWarned | ClockBreached | ClockMet | ClockCancelled) -> ClockRow:
    change = msgspec.structs.replace
    match fact:
        case ClockWarned():
            return change(clock, warned=True, next_fire_at=clock.due_at)
        case ClockBreached():
            return change(clock, breached=True, next_fire_at=None)
        case ClockMet():
            return change(clock, running=False, next_fire_at=None, in_time=fact.in_time)
        case ClockCancelled():
            return change(clock, running=False, next_fire_at=None)
