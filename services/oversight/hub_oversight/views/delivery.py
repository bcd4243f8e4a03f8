"""The gateway's part of a referral's view: one delivery, from planned to the partner's answer."""

from datetime import datetime
from typing import Final, Literal, assert_never
from uuid import UUID

import msgspec

from hub_schemas.codes import Agency, Authority
from hub_schemas.partner_gateway import (
    Acknowledged,
    Attempted,
    AttemptFailed,
    Cancelled,
    DeliveryPlanned,
    Expired,
    GatewayFact,
    HumanFallbackRaised,
    OutcomeRecorded,
    Rejected,
    Rendered,
    TransportAccepted,
)
from hub_schemas.triage import Recipient

DeliveryState = Literal[
    "planned", "rendered", "sending", "retrying", "taken",
    "acknowledged", "rejected", "cancelled", "undeliverable",
]  # fmt: skip
ENDED: Final[frozenset[DeliveryState]] = frozenset({"acknowledged", "rejected", "cancelled", "undeliverable"})
Fallback = Literal["deadline", "rejected", "unroutable", "withdrawn_after_send", "cannot_render"]
_NEVER_SENT: Final[frozenset[Fallback]] = frozenset({"unroutable", "cannot_render"})
_change = msgspec.structs.replace


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One subject's contact on its way to one agency.

    ``accepted_at`` is when the partner's system took it in, ``expired_at`` when its deadline passed without
    an acknowledgement (sending goes on), ``ended_at`` when nothing more was to be sent. ``fallback`` says why
    a person must telephone, the latest reason; ``outcome`` is the partner's, in canonical words.
    """

    subject_id: UUID
    authority: Authority
    agency: Agency
    state: DeliveryState
    planned_at: datetime
    deadline_at: datetime | None
    attempts: int = 0
    retry_at: datetime | None = None
    accepted_at: datetime | None = None
    acknowledged_at: datetime | None = None
    expired_at: datetime | None = None
    ended_at: datetime | None = None
    fallback: Fallback | None = None
    outcome: str | None = None

    @property
    def recipient(self) -> Recipient:
        """Who is to be told about whom, in triage's words."""
        return Recipient(subject_id=self.subject_id, authority=self.authority, agency=self.agency)


def deliver(part: Delivery | None, fact: GatewayFact) -> Delivery:
    """Fold one fact of a delivery. The first of a stream is ``DeliveryPlanned``."""
    if isinstance(fact, DeliveryPlanned):
        return Delivery(
            subject_id=fact.subject_id,
            authority=fact.authority,
            agency=fact.agency,
            state="planned",
            planned_at=fact.planned_at,
            deadline_at=fact.deadline_at,
        )
    if part is None:
        raise ValueError(f"a delivery cannot begin with {type(fact).__name__}")
    changed = _changed(part, fact)
    if part.state == "cancelled":
        # What was under way when it was cancelled is still heard of; it stays cancelled all the same.
        return _change(changed, state="cancelled", ended_at=part.ended_at)
    return changed


def _changed(part: Delivery, fact: GatewayFact) -> Delivery:
    match fact:
        case Rendered() | Attempted() | AttemptFailed() | TransportAccepted():
            return _sent(part, fact)
        case Acknowledged() | Rejected() | Cancelled():
            return _ended(part, fact)
        case Expired():
            return _change(part, expired_at=fact.expired_at)
        case HumanFallbackRaised():
            if fact.reason in _NEVER_SENT:
                part = _change(part, state="undeliverable", ended_at=fact.raised_at)
            return _change(part, fallback=fact.reason)
        case OutcomeRecorded():
            return _change(part, outcome=fact.outcome)
        case DeliveryPlanned():
            return part
        case _:
            assert_never(fact)


def _sent(part: Delivery, fact: Rendered | Attempted | AttemptFailed | TransportAccepted) -> Delivery:
    match fact:
        case Rendered():
            return _change(part, state="rendered", ended_at=None)
        case Attempted():
            return _change(part, state="sending", attempts=fact.attempt, retry_at=None)
        case AttemptFailed():
            return _change(part, state="retrying", retry_at=fact.retry_at)
        case TransportAccepted():
            return _change(part, state="taken", accepted_at=fact.accepted_at, retry_at=None)


def _ended(part: Delivery, fact: Acknowledged | Rejected | Cancelled) -> Delivery:
    match fact:
        case Acknowledged():
            at = fact.acknowledged_at
            return _change(
                part,
                state="acknowledged",
                acknowledged_at=at,
                ended_at=at,
                outcome=fact.outcome,
                retry_at=None,
            )
        case Rejected():
            return _change(part, state="rejected", ended_at=fact.rejected_at, retry_at=None)
        case Cancelled():
            return _change(part, state="cancelled", ended_at=fact.cancelled_at, retry_at=None)
