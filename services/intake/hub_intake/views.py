"""A referral as it stands now, folded from its facts for whoever reads it back."""

from datetime import datetime
from typing import Literal, assert_never
from uuid import UUID

import msgspec

from hub_schemas.intake import (
    InformationAdded,
    IntakeFact,
    ReferralAmended,
    ReferralReceived,
    ReferralSummary,
    ReferralWithdrawn,
    WithdrawalReason,
)


class InformationView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One piece of later information; its words stand here only for a reader of the sealed part."""

    information_id: UUID
    added_at: datetime
    text: str | None = None
    reported_by: str | None = None


class ReferralView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The latest content of a referral and where it stands.

    ``document`` (the canonical referral as JSON) and the words of informations and withdrawal are absent
    unless the sealed part was opened.
    """

    referral_id: UUID
    status: Literal["open", "withdrawn"]
    received_at: datetime
    changed_at: datetime
    summary: ReferralSummary
    information: tuple[InformationView, ...] = ()
    withdrawal_reason_code: WithdrawalReason | None = None
    withdrawal_reason: str | None = None
    document: msgspec.Raw | None = None


def project(view: ReferralView | None, fact: IntakeFact) -> ReferralView:
    """Fold one fact into the view; the first fact of a stream is always ``ReferralReceived``."""
    if isinstance(fact, ReferralReceived):
        return ReferralView(
            referral_id=fact.referral_id,
            status="open",
            received_at=fact.received_at,
            changed_at=fact.received_at,
            summary=fact.summary,
            document=None if fact.sealed is msgspec.UNSET else fact.sealed.document,
        )
    if view is None:
        raise ValueError("a referral's first fact is ReferralReceived")
    match fact:
        case ReferralAmended():
            return msgspec.structs.replace(
                view,
                changed_at=fact.amended_at,
                summary=fact.summary,
                document=None if fact.sealed is msgspec.UNSET else fact.sealed.document,
            )
        case InformationAdded():
            opened = None if fact.sealed is msgspec.UNSET else fact.sealed
            added = InformationView(
                information_id=fact.information_id,
                added_at=fact.added_at,
                text=None if opened is None else opened.text,
                reported_by=None if opened is None else opened.reported_by,
            )
            return msgspec.structs.replace(
                view, changed_at=fact.added_at, information=(*view.information, added)
            )
        case ReferralWithdrawn():
            return msgspec.structs.replace(
                view,
                status="withdrawn",
                changed_at=fact.withdrawn_at,
                withdrawal_reason_code=fact.reason_code,
                withdrawal_reason=None if fact.sealed is msgspec.UNSET else fact.sealed.text,
            )
        case _:
            assert_never(fact)
