"""What a partner's answer means: its own shape, read through the package's mapping, in the hub's words."""

import hmac
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from hub_kernel.errors import Malformed
from hub_partner_gateway.commands import Acknowledge, RecordRejection, RecordTransportAccepted
from hub_partner_gateway.policies.code_lists import CodeUnmapped
from hub_partner_gateway.policies.mapping_language import MappingFailed
from hub_partner_gateway.policies.packages import PartnerPackage

_Word = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]{1,60}$")]


class AnswerUnreadable(Malformed):
    """This answer is not in the form agreed for this partner. See its package's acknowledgement mapping."""

    slug: ClassVar[str] = "answer-unreadable"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A partner's answer. ``pending``: the contact is known there and nobody has decided yet."""

    decision: Literal["accepted", "rejected", "pending"]
    contact_id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._/-]{1,100}$")] | None = None
    outcome: _Word | None = None
    reason_code: _Word | None = None


def read_answer(package: PartnerPackage, body: Any) -> Answer:
    """Map a partner's answer (decoded JSON). Raises ``AnswerUnreadable``, which echoes none of it."""

    def code(name: str, value: str | None, path: str) -> str | None:
        return None if value is None else package.codes[name].look_up(value, path).value

    try:
        mapped = package.answers.evaluate(body, code, {})
        answer = msgspec.convert(mapped, Answer)
    except (MappingFailed, CodeUnmapped, msgspec.ValidationError, TypeError, AttributeError) as error:
        raise AnswerUnreadable from error
    if answer.decision == "accepted" and not answer.contact_id:
        raise AnswerUnreadable(fields={"contact_id": "missing"})
    return answer


def command_for(
    answer: Answer, at: datetime, contact_key: bytes
) -> RecordTransportAccepted | Acknowledge | RecordRejection:
    """What to record for an answer; ``contact_key`` is the secret that contact ids are hashed with."""
    match answer.decision:
        case "pending":
            return RecordTransportAccepted(at=at, reconciled=True)
        case "rejected":
            return RecordRejection(at=at, reason_code=answer.reason_code or "other")
        case "accepted":
            contact_id = answer.contact_id or ""
            return Acknowledge(
                at=at,
                contact_id=contact_id,
                contact_hash=hmac.digest(contact_key, contact_id.encode(), "sha256").hex(),
                outcome=answer.outcome,
            )
