"""What a delivery can be asked to do. Instants, ids, hashes and rendered bytes arrive inside the command."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from hub_schemas.codes import Agency, Authority, LevelOfNeed, RiskGrade
from hub_schemas.partner_gateway import FailureReason


class PlanDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """Send one subject of one referral to one agency. ``package`` is ``None`` when no way leads there."""

    delivery_id: UUID
    referral_id: UUID
    subject_id: UUID
    authority: Authority
    agency: Agency
    package: str | None
    package_version: int | None
    message_id: UUID
    at: datetime
    deadline_at: datetime | None
    risk_grade: RiskGrade | None
    level_of_need: LevelOfNeed | None
    lawful_basis: str | None


class Rendering(msgspec.Struct, frozen=True, kw_only=True):
    """The exact bytes to send (UTF-8 JSON, keys sorted) and what they leave out, by canonical path.

    ``lost_fields``: the partner's format cannot carry them, or not exactly. ``withheld_fields``: the
    partner may not have them. ``referral_version`` is the stream version of the intake fact written here.
    """

    package: str
    package_version: int
    mapping_hash: str
    body: str
    body_hash: str
    content_type: str
    referral_version: int
    lost_fields: tuple[str, ...]
    withheld_fields: tuple[str, ...]


class BeginAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """Write down that a sending is about to begin.

    ``rendering`` is what to send, and counts the first time only: retries send the same bytes.
    ``partner_lacks_it``: an attempt before ended without an answer, the partner was asked, and it does not
    know the message.
    """

    at: datetime
    rendering: Rendering | None = None
    partner_lacks_it: bool = False


class RecordFailure(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt came to nothing. ``retry_at`` is when to try again.

    ``partner_may_have_it``: nobody could say, and the partner cannot be asked.
    """

    at: datetime
    attempt: int
    reason: FailureReason
    retry_at: datetime
    partner_may_have_it: bool = False


class RecordTransportAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """The partner's system has the message; ``reconciled``: found out by asking, not by the answer."""

    at: datetime
    reconciled: bool = False


class Acknowledge(msgspec.Struct, frozen=True, kw_only=True):
    """The partner opened a contact, perhaps with an outcome. ``contact_hash`` is keyed (hex)."""

    at: datetime
    contact_id: str
    contact_hash: str
    outcome: str | None = None


class RecordRejection(msgspec.Struct, frozen=True, kw_only=True):
    """The partner refused the contact. ``reason_code`` is in the hub's words."""

    at: datetime
    reason_code: str


class Expire(msgspec.Struct, frozen=True, kw_only=True):
    """Look whether the deadline has passed without an acknowledgement."""

    at: datetime


class RaiseFallback(msgspec.Struct, frozen=True, kw_only=True):
    """A person must tell the partner: the referral cannot be written in the partner's format."""

    at: datetime
    reason: Literal["cannot_render"]


class Cancel(msgspec.Struct, frozen=True, kw_only=True):
    """The referral was withdrawn."""

    at: datetime


DeliveryCommand = (
    PlanDelivery | BeginAttempt | RecordFailure | RecordTransportAccepted | Acknowledge
    | RecordRejection | Expire | RaiseFallback | Cancel
)  # fmt: skip
