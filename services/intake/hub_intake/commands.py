"""What intake can be asked to do. Everything that changes from call to call arrives inside the command."""

from datetime import datetime
from uuid import UUID

import msgspec

from hub_schemas.intake import (
    Document,
    Information,
    Reason,
    ReferralSummary,
    RiskIndicators,
    WithdrawalReason,
)


class SubmitReferral(msgspec.Struct, frozen=True, kw_only=True):
    """Take in a referral. ``received_at`` (aware UTC) starts every clock if it is new."""

    referral_id: UUID
    received_at: datetime
    summary: ReferralSummary
    document: Document


class AmendReferral(msgspec.Struct, frozen=True, kw_only=True):
    """Take in a later version of a referral's record, whole."""

    referral_id: UUID
    amended_at: datetime
    summary: ReferralSummary
    document: Document


class AddInformation(msgspec.Struct, frozen=True, kw_only=True):
    """Add what became known later. ``information_id`` is the sender's; ``content_hash`` (hex) is keyed.

    ``source_system`` is who asks: a records system adds to its own referrals only.
    """

    referral_id: UUID
    source_system: str
    information_id: UUID
    added_at: datetime
    content_hash: str
    risk: RiskIndicators
    information: Information


class WithdrawReferral(msgspec.Struct, frozen=True, kw_only=True):
    """Take a referral back. ``source_system`` is who asks: only the system that sent it may."""

    referral_id: UUID
    source_system: str
    withdrawn_at: datetime
    reason_code: WithdrawalReason
    reason: Reason | None


IntakeCommand = SubmitReferral | AmendReferral | AddInformation | WithdrawReferral
