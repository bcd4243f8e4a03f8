"""The facts the partner gateway records: one delivery per referral, subject and agency.

Stream ``delivery-<delivery_id>``. A transport's success is not the partner's acceptance: they are two facts.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from hub_schemas.codes import Agency, Authority, LevelOfNeed, RiskGrade
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

    ``package`` is the partner package it goes by; ``None`` when no package reaches this agency. The grades
    and the basis are those of the share decision: the partner is told them.
    """

    delivery_id: UUID
    referral_id: UUID
    subject_id: UUID
    authority: Authority
    agency: Agency
    package: str | None
    package_version: int | None
    message_id: UUID
    planned_at: datetime
    deadline_at: datetime | None
    risk_grade: RiskGrade | None = None
    level_of_need: LevelOfNeed | None = None
    lawful_basis: str | None = None


class Rendered(Fact, frozen=True, kw_only=True):
    """The referral was written in the partner's format. ``body_hash`` is SHA-256 (hex) of the exact bytes.

    ``lost_fields`` are canonical fields present in the referral that this format cannot carry, or not
    exactly; ``withheld_fields`` are those the partner may not have. ``referral_version`` is the stream
    version of the intake fact whose document this is. ``mapping_hash`` is SHA-256 (hex) of the package.
    """

    delivery_id: UUID
    referral_id: UUID
    rendered_at: datetime
    package: str
    package_version: int
    mapping_hash: str
    body_hash: str
    content_type: str
    referral_version: int = 0
    lost_fields: tuple[str, ...] = ()
    withheld_fields: tuple[str, ...] = ()
    sealed: Payload | msgspec.UnsetType = msgspec.UNSET


class Attempted(Fact, frozen=True, kw_only=True):
    """The gateway is about to send; written before the bytes leave, so that a crash is not silence."""

    delivery_id: UUID
    referral_id: UUID
    attempt: int
    attempted_at: datetime


class AttemptFailed(Fact, frozen=True, kw_only=True):
    """The attempt ended without the partner taking the message, as far as the gateway knows.

    ``retry_at`` is ``None`` when the delivery was cancelled meanwhile and nothing will be sent again.
    """

    delivery_id: UUID
    referral_id: UUID
    attempt: int
    failed_at: datetime
    reason: FailureReason
    retry_at: datetime | None


class TransportAccepted(Fact, frozen=True, kw_only=True):
    """The partner's system took the message in; nobody there has accepted the contact yet."""

    delivery_id: UUID
    referral_id: UUID
    attempt: int
    accepted_at: datetime
    reconciled: bool = False


class Acknowledged(Fact, frozen=True, kw_only=True):
    """The partner agency opened a contact. ``outcome`` is the partner's, in canonical words, once it has one.

    ``contact_hash`` is a keyed hash (hex) of the contact's id, so that a contradiction shows.
    """

    delivery_id: UUID
    referral_id: UUID
    acknowledged_at: datetime
    authority: Authority
    agency: Agency
    contact_hash: str = ""
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
    """The deadline passed and the partner has not acknowledged. The gateway keeps trying."""

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
    """The partner said later what came of it, in canonical words."""

    delivery_id: UUID
    referral_id: UUID
    recorded_at: datetime
    outcome: str


class Cancelled(Fact, frozen=True, kw_only=True):
    """The referral was withdrawn before the partner took the message, as far as the gateway knows."""

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
