"""A partner's system as the sender meets it, however it is reached: what it is given, what comes of that."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

from hub_partner_gateway.policies.answering import Answer
from hub_partner_gateway.policies.packages import PartnerPackage
from hub_schemas.partner_gateway import FailureReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """One message on its way: the exact bytes, and the opaque ids it travels under.

    ``at`` is the instant of the attempt, as recorded.
    """

    message_id: UUID
    delivery_id: UUID
    referral_id: UUID
    at: datetime
    body: str


@dataclass(frozen=True, slots=True)
class Taken:
    """The partner's system, or its topic, took the message in."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The message was refused for good."""

    reason_code: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The message was certainly not taken this time."""

    reason: FailureReason
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """Nobody can say whether the message was taken."""


Sent = Taken | Refused | Failed | Lost
Asked = Answer | Literal["unknown", "unreachable"]


class Partner(Protocol):
    """One partner.

    ``is_polled``: its answer is asked for soon after sending; others call. ``can_be_asked``: when it says
    that it does not know a message, it certainly does not have it.
    """

    @property
    def package(self) -> PartnerPackage:
        """How it takes contacts."""
        ...

    @property
    def is_polled(self) -> bool:
        """Whether its answer is asked for rather than awaited."""
        ...

    @property
    def can_be_asked(self) -> bool:
        """Whether it can tell what it has."""
        ...

    @property
    def retry_seconds(self) -> Sequence[float]:
        """The waits after sendings that came to nothing."""
        ...

    def answer_seconds(self, *, transport_accepted: bool) -> Sequence[float]:
        """How long to wait for an answer before each looking."""
        ...

    async def send(self, contact: Contact) -> Sent:
        """Send the exact bytes under the message's id; sent again, they bear the same. Never raises."""
        ...

    async def ask(self, message_id: UUID) -> Asked:
        """Ask what became of a message: an answer, or that the partner does not know it. Never raises."""
        ...
