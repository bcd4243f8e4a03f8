"""The facts the partner gateway records: one delivery per referral, subject and agency.

Stream ``delivery-<delivery_id>``. A transport's success is not the partner's acceptance: they are two facts.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from hub_schemas.codes import Agency, Authority
from hub_schemas.facts import Fact, Sealed
from hub_schemas.registry import Registry

FailureReason = Literal["refused_connection", "timed_out", "throttled", "server_error", "answer_lost"]


class Payload(Sealed, frozen=True, kw_only=True):
    """The bytes to send, exactly (JSON text in UTF-8)."""

    body: str


class PartnerReference(Sealed, frozen=True, kw_only=True):
    """The partner's own case or contact id."""

    contact_id: str


class DeliveryPlanned(Fact, frozen=True, kw_only=True):
    """A share decision asks for one delivery. ``message_id`` stays the same through every retry.

    ``referral_version`` is the stream version of the intake fact whose document is to be sent.
    """

    delivery_id: UUID
    referral_id: UUID
    subject_id: UUID
    authority: Authority
    agency: Agency
    package: str
    package_version: int
    message_id: UUID
    planned_at: datetime
    deadline_at: datetime | None


class Rendered(Fact, frozen=True, kw_only=True):
    """The referral was written in the partner's format. ``body_hash`` is SHA-256 (hex) of the exact bytes.

    ``lost_fields`` are canonical fields present in the referral that this format cannot carry.
    """

    delivery_id: UUID
    referral_id: UUID
    rendered_at: datetime
    package: str
    package_version: int
    mapping_hash: str
    body_hash: str
    content_type: str
    lost_fields: tuple[str, ...] = ()
    sealed: Payload | msgspec.UnsetType = msgspec.UNSET


class Attempted(Fact, frozen=True, kw_only=True):
    """The gateway is about to send; written before the bytes leave, so that a crash is not silence."""

    delivery_id: UUID
    referral_id: UUID
    attempt: int
    attempted_at: datetime


class AttemptFailed(Fact, frozen=True, kw_only=True):
    """The attempt ended without the partner taking the message, as far as the gateway knows."""

    delivery_id: UUID
    referral_id: UUID
    attempt: int
    failed_at: datetime
    reason: FailureReason
    retry_at: datetime


class TransportAccepted(Fact, frozen=True, kw_only=True):
    """The partner's system took the message in; nobody there has accepted the contact yet."""

    delivery_id: UUID
    referral_id: UUID
    attempt: int
    accepted_at: datetime
    reconciled: bool = False


class Acknowledged(Fact, frozen=True, kw_only=True):
    """The partner agency opened a contact. ``outcome`` is the partner's, in canonical words."""

    delivery_id: UUID
    referral_id: UUID
    acknowledged_at: datetime
    authority: Authority
    agency: Agency
    outcome: str | None = None
    sealed: PartnerReference | msgspec.UnsetType = msgspec.UNSET


class Rejected(Fact, frozen=True, kw_only=True):
    """The partner refused the contact; a person must look. ``reason_code`` is in canonical words."""

    delivery_id: UUID
    referral_id: UUID
    rejected_at: datetime
    authority: Authority
    agency: Agency
    reason_code: str


class Expired(Fact, frozen=True, kw_only=True):
    """The deadline passed before the partner took the message."""

    delivery_id: UUID
    referral_id: UUID
    expired_at: datetime
    deadline_at: datetime


class HumanFallbackRaised(Fact, frozen=True, kw_only=True):
    """A person must tell the partner by telephone: the machine's way did not work in time, or was refused."""

    delivery_id: UUID
    referral_id: UUID
    raised_at: datetime
    authority: Authority
    agency: Agency
    reason: Literal["deadline", "rejected", "unroutable", "withdrawn_after_send", "cannot_render"]


class OutcomeRecorded(Fact, frozen=True, kw_only=True):
    """The partner said later what came of it."""

    delivery_id: UUID
    referral_id: UUID
    recorded_at: datetime
    outcome: str


class Cancelled(Fact, frozen=True, kw_only=True):
    """The referral was withdrawn before the partner took the message."""

    delivery_id: UUID
    referral_id: UUID
    cancelled_at: datetime


GatewayFact = (
    DeliveryPlanned | Rendered | Attempted | AttemptFailed | TransportAccepted | Acknowledged | Rejected
    | Expired | HumanFallbackRaised | OutcomeRecorded | Cancelled
)  # fmt: skip
REGISTRY = Registry(
    (
        DeliveryPlanned, Rendered, Attempted, AttemptFailed, TransportAccepted, Acknowledged, Rejected,
        Expired, HumanFallbackRaised, OutcomeRecorded, Cancelled,
    )
)  # fmt: skip
