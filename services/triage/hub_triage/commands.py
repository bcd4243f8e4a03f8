"""What triage can be asked to do; every instant and every word arrives inside the command."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from hub_schemas.codes import ClockName, LevelOfNeed, RiskGrade
from hub_schemas.intake import ReferralSummary
from hub_schemas.triage import Recipient

Trigger = Literal["received", "amended", "information"]
NotSharedReason = Literal["below_threshold", "already_known", "no_consent", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeReferral:
    """Grade what intake now knows. ``referral_version`` is the stream version of intake's fact.

    ``received_at`` starts the clocks of a first grading; later gradings count from the one already kept.
    """

    referral_id: UUID
    referral_version: int
    trigger: Trigger
    at: datetime
    received_at: datetime
    summary: ReferralSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class Regrade:
    """A person sets the grade on both axes, and says why."""

    referral_id: UUID
    at: datetime
    risk_grade: RiskGrade
    level_of_need: LevelOfNeed
    rationale: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecideShare:
    """A person shares the referral. ``recipients`` of ``None`` means the service for each subject's kind."""

    referral_id: UUID
    at: datetime
    rationale: str
    recipients: tuple[Recipient, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecideNotShare:
    """A person decides to keep the referral with the police, and says why."""

    referral_id: UUID
    at: datetime
    reason_code: NotSharedReason
    rationale: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FireClock:
    """The timer looked at one epoch of one clock at this instant."""

    referral_id: UUID
    clock: ClockName
    epoch: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdraw:
    """The records system took the referral back."""

    referral_id: UUID
    at: datetime


TriageCommand = GradeReferral | Regrade | DecideShare | DecideNotShare | FireClock | Withdraw
