"""Taking in what a records system sends: bytes to a command, a command to facts."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from hub_intake.api.bodies import InformationBody, WithdrawalBody
from hub_intake.api.identity import Identity, canonical_json
from hub_intake.api.parsing import DocumentMalformed, read_body, read_referral
from hub_intake.commands import (
    AddInformation,
    AmendReferral,
    IntakeCommand,
    SubmitReferral,
    WithdrawReferral,
)
from hub_intake.domain import ReferralState, ReferralUnknown
from hub_intake.policies.summary import summarise
from hub_kernel.auth import Principal
from hub_kernel.clock import Clock
from hub_kernel.errors import Forbidden
from hub_kernel.handling import CommandHandler, Context
from hub_schemas.intake import Document, Information, IntakeFact, Reason, ReferralSummary
from hub_schemas.referral import Referral

IntakeHandler = CommandHandler[IntakeCommand, ReferralState, IntakeFact]


class Sender(msgspec.Struct, frozen=True):
    """A records system, and the token's subject that speaks for it."""

    system: str
    subject: str


class Receipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the sender gets back. ``repeated``: all of this was held already and nothing was recorded.

    ``completeness_percent`` and ``gaps`` tell the sender at once what a person will have to ask for.
    """

    referral_id: UUID
    outcome: Literal["recorded", "repeated"]
    completeness_percent: int | None = None
    gaps: tuple[str, ...] = ()


class TokenWithoutSystem(Forbidden):
    """The token names no records system. Ask the issuer for one with the claim "system"."""

    slug = "token-without-system"


class SystemMismatch(Forbidden):
    """source.system is not the records system this token speaks for. Send it with that system's own token."""

    slug = "system-mismatch"


class _Intaken(msgspec.Struct, frozen=True):
    """A document read, named, hashed and summarised."""

    referral_id: UUID
    summary: ReferralSummary
    document: Document


class Receiving:
    """The operations of a records system. Each is one command on one stream, durable when it returns."""

    def __init__(self, handler: IntakeHandler, identity: Identity, clock: Clock) -> None:
        self._handler, self._identity, self._clock = handler, identity, clock

    async def submit(self, raw: bytes, sender: Sender) -> Receipt:
        """Take in a referral (JSON). Safe to repeat.

        Raises ``DocumentMalformed``, ``SystemMismatch``, ``ReferralDiffers``.
        """
        taken = self._take(raw, sender)
        now = self._clock.now()
        command = SubmitReferral(
            referral_id=taken.referral_id, received_at=now, summary=taken.summary, document=taken.document
        )
        is_new = await self._handle(command, sender, now, presume_new=True)
        return _receipt(taken, is_new=is_new)

    async def amend(self, referral_id: UUID, raw: bytes, sender: Sender) -> Receipt:
        """Take in a later version (JSON, whole). Safe to repeat.

        Raises as ``submit``, ``ReferralUnknown``, ``VersionSuperseded``, ``ReferralAlreadyWithdrawn``.
        """
        taken = self._take(raw, sender)
        if taken.referral_id != referral_id:
            await self._require_own(referral_id, sender)
            raise DocumentMalformed(fields={"source.record_id": "is not the record of this referral"})
        now = self._clock.now()
        command = AmendReferral(
            referral_id=referral_id, amended_at=now, summary=taken.summary, document=taken.document
        )
        is_new = await self._handle(command, sender, now)
        return _receipt(taken, is_new=is_new)

    async def inform(self, referral_id: UUID, raw: bytes, sender: Sender) -> Receipt:
        """Add later information (JSON of ``InformationBody``). Safe to repeat under the same information id.

        Raises ``DocumentMalformed``, ``ReferralUnknown``, ``InformationDiffers``,
        ``ReferralAlreadyWithdrawn``.
        """
        body = read_body(InformationBody, raw)
        now = self._clock.now()
        command = AddInformation(
            referral_id=referral_id,
            source_system=sender.system,
            information_id=body.information_id,
            added_at=now,
            content_hash=self._identity.content_hash(canonical_json(body)),
            risk=body.risk.indicators(),
            information=Information(text=body.text, reported_by=body.reported_by),
        )
        return _plain_receipt(referral_id, is_new=await self._handle(command, sender, now))

    async def withdraw(self, referral_id: UUID, raw: bytes, sender: Sender) -> Receipt:
        """Take a referral back (JSON of ``WithdrawalBody``). Safe to repeat for the same reason code.

        Raises ``DocumentMalformed``, ``ReferralUnknown``, ``ReferralAlreadyWithdrawn``.
        """
        body = read_body(WithdrawalBody, raw)
        now = self._clock.now()
        command = WithdrawReferral(
            referral_id=referral_id,
            source_system=sender.system,
            withdrawn_at=now,
            reason_code=body.reason_code,
            reason=None if body.reason is None else Reason(text=body.reason),
        )
        return _plain_receipt(referral_id, is_new=await self._handle(command, sender, now))

    def _take(self, raw: bytes, sender: Sender) -> _Intaken:
        document: Referral = read_referral(raw)
        if document.source.system != sender.system:
            raise SystemMismatch(fields={"source.system": "is not this token's system"})
        referral_id = self._identity.referral_id(document.source)
        canonical = canonical_json(document)
        summary = summarise(
            document, referral_id=referral_id, content_hash=self._identity.content_hash(canonical)
        )
        return _Intaken(referral_id, summary, Document(document=msgspec.Raw(canonical)))

    async def _handle(
        self, command: IntakeCommand, sender: Sender, now: datetime, *, presume_new: bool = False
    ) -> bool:
        """Run a command; whether it recorded anything."""
        context = Context(correlation_id=command.referral_id, actor=sender.subject, occurred_at=now)
        handled = await self._handler.handle(
            stream_of(command.referral_id), command, context, presume_new=presume_new
        )
        return bool(handled.facts)

    async def _require_own(self, referral_id: UUID, sender: Sender) -> None:
        state, _version = await self._handler.load(stream_of(referral_id))
        if state.source_system != sender.system:
            raise ReferralUnknown


def sender_of(principal: Principal) -> Sender:
    """The records system a token speaks for. Raises ``TokenWithoutSystem``."""
    if principal.system is None:
        raise TokenWithoutSystem
    return Sender(principal.system, principal.subject)


def stream_of(referral_id: UUID) -> str:
    """The stream of one referral's facts."""
    return f"referral-{referral_id}"


def _receipt(taken: _Intaken, *, is_new: bool) -> Receipt:
    return Receipt(
        referral_id=taken.referral_id,
        outcome="recorded" if is_new else "repeated",
        completeness_percent=taken.summary.completeness_percent,
        gaps=taken.summary.gaps,
    )


def _plain_receipt(referral_id: UUID, *, is_new: bool) -> Receipt:
    return Receipt(referral_id=referral_id, outcome="recorded" if is_new else "repeated")
