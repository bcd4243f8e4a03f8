"""The facts triage records: how dangerous, by when, what was decided, and why.

Stream ``assessment-<referral_id>``. ``risk_grade`` and ``level_of_need`` are two axes and never mixed.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from hub_schemas.codes import (
    Agency,
    Authority,
    CalendarName,
    ClockName,
    LevelOfNeed,
    RiskGrade,
)  # fmt: skip
from hub_schemas.facts import Fact, Sealed
from hub_schemas.registry import Registry


class MatchedRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that spoke: its id, what it asked for, and where it comes from."""

    rule_id: str
    risk_grade: RiskGrade
    level_of_need: LevelOfNeed
    source: str


class Rationale(Sealed, frozen=True, kw_only=True):
    """Why a person decided so, in their words; it may name people."""

    text: str


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    """Who is to be told about which subject."""

    subject_id: UUID
    authority: Authority
    agency: Agency


class RiskGraded(Fact, frozen=True, kw_only=True):
    """The rules graded a referral, provisionally. No rule matching means ``needs_person`` at the top band.

    ``disagrees_with_officer``: the officer gave a grade and it differs. ``inputs_hash`` is the
    SHA-256 (hex) of the rule context, so a replay can prove what the rules saw. ``referral_version`` is the
    stream version of the intake fact that was graded. ``held_by_person``: the rules asked for less than a
    person had set, and the person's grade stands. ``candidates`` are who would be told if it is shared.
    """

    referral_id: UUID
    graded_at: datetime
    risk_grade: RiskGrade
    level_of_need: LevelOfNeed
    needs_person: bool
    matched_rules: tuple[MatchedRule, ...]
    rule_set: str
    rule_set_hash: str
    inputs_hash: str
    disagrees_with_officer: bool
    authority: Authority
    trigger: Literal["received", "amended", "information"]
    referral_version: int = 0
    held_by_person: bool = False
    encompass_due: bool = False
    candidates: tuple[Recipient, ...] = ()


class Regraded(Fact, frozen=True, kw_only=True):
    """A person changed the grade, with a reason."""

    referral_id: UUID
    regraded_at: datetime
    risk_grade: RiskGrade
    level_of_need: LevelOfNeed
    previous_risk_grade: RiskGrade
    previous_level_of_need: LevelOfNeed
    sealed: Rationale | msgspec.UnsetType = msgspec.UNSET


class ClockStarted(Fact, frozen=True, kw_only=True):
    """A deadline runs. ``policy_hash`` and ``calendar`` say why; ``epoch`` counts each new start from 1.

    A later epoch replaces the one before, also when that was met: new facts reopened the referral.

    ``goal_seconds`` is working time in ``calendar``; ``warn_at`` is when three quarters of it are used.
    """

    referral_id: UUID
    clock: ClockName
    epoch: int
    started_at: datetime
    goal_seconds: int
    calendar: CalendarName
    warn_at: datetime
    due_at: datetime
    policy: str
    policy_hash: str
    risk_grade: RiskGrade
    level_of_need: LevelOfNeed
    calendar_hash: str | None = None


class ClockWarned(Fact, frozen=True, kw_only=True):
    """Three quarters of the allowance are used and it is not met."""

    referral_id: UUID
    clock: ClockName
    epoch: int
    warned_at: datetime
    due_at: datetime
    authority: Authority


class ClockBreached(Fact, frozen=True, kw_only=True):
    """The deadline passed and it is not met. ``late_start``: it was past its goal when it started."""

    referral_id: UUID
    clock: ClockName
    epoch: int
    breached_at: datetime
    due_at: datetime
    authority: Authority
    risk_grade: RiskGrade
    level_of_need: LevelOfNeed
    late_start: bool = False


class ClockMet(Fact, frozen=True, kw_only=True):
    """What the clock was waiting for happened. ``in_time`` compares the instant with ``due_at``."""

    referral_id: UUID
    clock: ClockName
    epoch: int
    met_at: datetime
    due_at: datetime
    in_time: bool


class ClockCancelled(Fact, frozen=True, kw_only=True):
    """The clock's reason fell away (withdrawn, not shared, or a level without this goal)."""

    referral_id: UUID
    clock: ClockName
    epoch: int
    cancelled_at: datetime
    reason: Literal["withdrawn", "not_shared", "regraded"]


class ShareDecided(Fact, frozen=True, kw_only=True):
    """The referral goes to these recipients, besides any told before.

    ``by_policy`` names the policy and ``policy_hash`` its content when no person decided.
    """

    referral_id: UUID
    decided_at: datetime
    recipients: tuple[Recipient, ...]
    risk_grade: RiskGrade
    level_of_need: LevelOfNeed
    share_due_at: datetime | None
    by_policy: str | None = None
    policy_hash: str | None = None
    lawful_basis: str = "public_task"
    sealed: Rationale | msgspec.UnsetType = msgspec.UNSET


class NotShared(Fact, frozen=True, kw_only=True):
    """A person decided not to share: a proper ending, with its rationale."""

    referral_id: UUID
    decided_at: datetime
    reason_code: Literal["below_threshold", "already_known", "no_consent", "other"]
    sealed: Rationale | msgspec.UnsetType = msgspec.UNSET


class AssessmentClosed(Fact, frozen=True, kw_only=True):
    """The referral was withdrawn before a decision; nothing is left to assess."""

    referral_id: UUID
    closed_at: datetime


TriageFact = (
    RiskGraded | Regraded | ClockStarted | ClockWarned | ClockBreached | ClockMet | ClockCancelled
    | ShareDecided | NotShared | AssessmentClosed
)  # fmt: skip
REGISTRY = Registry(
    (
        RiskGraded, Regraded, ClockStarted, ClockWarned, ClockBreached, ClockMet, ClockCancelled,
        ShareDecided, NotShared, AssessmentClosed,
    )
)  # fmt: skip
