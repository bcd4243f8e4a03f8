"""Posting by bus: the kinds of message on the inbound topic, and the reply each of them gets."""

from typing import Final, Literal
from uuid import UUID

import msgspec

SUBMITTED: Final = "referral-hub.referral.submitted.v1"
"""``ce_type`` of a referral the records system has not posted before; data is the canonical document."""
AMENDED: Final = "referral-hub.referral.amended.v1"
"""``ce_type`` of a later version, whole; ``ce_subject`` is the referral's id."""
INFORMED: Final = "referral-hub.referral.informed.v1"
"""``ce_type`` of extra information; ``ce_subject`` is the referral's id."""
WITHDRAWN: Final = "referral-hub.referral.withdrawn.v1"
"""``ce_type`` of a referral taken back; ``ce_subject`` is the referral's id."""
INBOUND_TYPES: Final = (SUBMITTED, AMENDED, INFORMED, WITHDRAWN)

MESSAGE_ID: Final = r"[A-Za-z0-9._:-]{1,100}"
"""What a message's ``ce_id`` may be: opaque, a UUID at best, never anything of a record or a person.

The reply names the message by it or, where it may not be one, by its place: ``<partition>-<offset>``."""
AUTHORIZATION_HEADER: Final = "authorization"
"""``Bearer`` and the records system's token, valid when the broker took the message in."""

REPLY_TYPE: Final = "referral-hub.referral.replied.v1"


class ReplyProblem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What HTTP would have answered as problem details; ``errors`` maps field paths to what is wrong."""

    type: str
    title: str
    detail: str
    errors: dict[str, str] = {}


class InboundReply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to one inbound message, named by its ``ce_id``. It echoes nothing of the message's data.

    ``recorded``: new and durable. ``repeated``: all of it was held already. ``parked``: refused for now and
    kept for a person; mend what ``problem`` says and post it again under a new id.
    """

    message_id: str
    outcome: Literal["recorded", "repeated", "parked"]
    referral_id: UUID | None = None
    completeness_percent: int | None = None
    gaps: tuple[str, ...] = ()
    problem: ReplyProblem | None = None
