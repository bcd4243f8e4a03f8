"""Answering an inbound message: what became of it, in the words HTTP would have used."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from hub_intake.api.cloudevents import JSON
from hub_intake.api.receiving import Receipt
from hub_kernel.errors import HubError, Unavailable
from hub_kernel.web import problem_body
from hub_schemas.envelope import SPEC_VERSION, Header
from hub_schemas.inbound import REPLY_TYPE, InboundReply, ReplyProblem

_encoder = msgspec.json.Encoder()
_SOURCE: Final = "/intake"


class InternalFault(Unavailable):
    """The hub met a fault of its own. Nothing is half done; the message is kept, and an operator sees it."""

    slug = "internal-fault"


@dataclass(frozen=True, slots=True)
class Reply:
    """One record for the reply topic. Sent again it has the same ``reply_id``, so that a repeat shows."""

    reply_id: UUID
    content: InboundReply

    @property
    def key(self) -> str:
        """The record's key: what the sender calls its message."""
        return self.content.message_id

    def headers(self, at: datetime) -> list[Header]:
        """The reply's attributes, as a CloudEvent in binary mode."""
        attributes = {
            "ce_specversion": SPEC_VERSION,
            "ce_id": str(self.reply_id),
            "ce_source": _SOURCE,
            "ce_type": REPLY_TYPE,
            "ce_subject": self.content.message_id,
            "ce_time": at.isoformat(),
            "content-type": JSON,
        }
        return [(name, text.encode()) for name, text in attributes.items()]

    def value(self) -> bytes:
        """The reply as JSON."""
        return _encoder.encode(self.content)


def accepted(reply_id: UUID, message_id: str, receipt: Receipt) -> Reply:
    """The answer to what is recorded, now or before."""
    return Reply(
        reply_id,
        InboundReply(
            message_id=message_id,
            outcome=receipt.outcome,
            referral_id=receipt.referral_id,
            completeness_percent=receipt.completeness_percent,
            gaps=receipt.gaps,
        ),
    )


def refused(reply_id: UUID, message_id: str, error: Exception) -> Reply:
    """The answer to what is parked, saying why. A fault of our own is called that and no more."""
    body = problem_body(error if isinstance(error, HubError) else InternalFault())
    problem = ReplyProblem(
        type=body["type"], title=body["title"], detail=body["detail"], errors=body.get("errors", {})
    )
    return Reply(reply_id, InboundReply(message_id=message_id, outcome="parked", problem=problem))
