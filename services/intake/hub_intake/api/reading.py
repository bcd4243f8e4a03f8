"""Reading referrals back: the open part for whoever may, the sealed part with a reason and on the record."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Final
from uuid import UUID

import msgspec

from hub_intake.api.receiving import stream_of
from hub_intake.domain import ReferralUnknown
from hub_intake.views import ReferralView, project
from hub_kernel.access_log import AccessReason, reason_from, unsealed
from hub_kernel.auth import Principal
from hub_kernel.database import Connection
from hub_kernel.event_store.reading import PAGE_EVENTS
from hub_kernel.service import ServiceContext
from hub_schemas.envelope import RecordedEvent
from hub_schemas.facts import Sealed
from hub_schemas.intake import (
    REGISTRY,
    Document,
    Information,
    InformationAdded,
    IntakeFact,
    Reason,
    ReferralAmended,
    ReferralReceived,
    ReferralWithdrawn,
)

_SEALED_PARTS: Final[dict[type[IntakeFact], type[Sealed]]] = {
    ReferralReceived: Document,
    ReferralAmended: Document,
    InformationAdded: Information,
    ReferralWithdrawn: Reason,
}
_encoder = msgspec.json.Encoder()


class EventLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event as the stream shows it. ``sealed`` is there only when it was opened for this reader."""

    position: int
    version: int
    type: str
    schema_version: int
    event_id: UUID
    occurred_at: datetime
    recorded_at: datetime
    correlation_id: UUID
    actor: str
    open: msgspec.Raw
    causation_id: UUID | None = None
    sealed: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class Reading:
    """Reads this service's log for one principal at a time."""

    context: ServiceContext

    async def view(self, referral_id: UUID, principal: Principal, access_reason: str | None) -> ReferralView:
        """The referral as it stands.

        An operator sees the open part only. A records system may, an assessor or auditor must give a reason,
        and then sees the sealed part too. Raises ``ReferralUnknown``, ``ReasonMissing``, ``KeyErased``.
        """
        reason = _reason_to_view(principal, access_reason)
        async with self.context.pool.acquire() as connection, connection.transaction():
            events = await self._whole_stream(connection, referral_id)
            facts = [_decode(event) for event in events]
            _require_readable(facts, principal)
            if reason is not None:
                facts = await self._opened(connection, events, facts, principal, reason)
        view = reduce(project, facts, None)
        if view is None:
            raise ReferralUnknown
        return view

    async def events(
        self, referral_id: UUID, principal: Principal, access_reason: str | None
    ) -> AsyncGenerator[bytes, None]:
        """The referral's events in order, as NDJSON, holding one page in memory.

        An auditor who gives a reason gets the sealed parts too. Raises ``ReferralUnknown``,
        ``ReasonMissing``, ``KeyErased`` before the first line.
        """
        reason = None
        if principal.role == "auditor" and access_reason is not None:
            reason = reason_from(access_reason)
        first = await self._page(referral_id, 0, principal, reason)
        if not first:
            raise ReferralUnknown
        return self._lines(referral_id, first, principal, reason)

    async def _lines(
        self,
        referral_id: UUID,
        page: Sequence[EventLine],
        principal: Principal,
        reason: AccessReason | None,
    ) -> AsyncGenerator[bytes, None]:
        while page:
            yield b"".join(_encoder.encode(line) + b"\n" for line in page)
            if len(page) < PAGE_EVENTS:
                break
            page = await self._page(referral_id, page[-1].version, principal, reason)

    async def _page(
        self, referral_id: UUID, after: int, principal: Principal, reason: AccessReason | None
    ) -> Sequence[EventLine]:
        async with self.context.pool.acquire() as connection, connection.transaction():
            page = await self.context.store.read.stream(connection, stream_of(referral_id), after)
            if after == 0 and page:
                _require_readable([_decode(event) for event in page], principal)
            if reason is None:
                return [_line(event) for event in page]
            opened = await self.context.access_log.open_in(
                connection, page, reader=principal.subject, role=principal.role, reason=reason
            )
            return [_line(event, sealed) for event, sealed in zip(page, opened, strict=True)]

    async def _whole_stream(self, connection: Connection, referral_id: UUID) -> list[RecordedEvent]:
        events: list[RecordedEvent] = []
        while page := await self.context.store.read.stream(connection, stream_of(referral_id), len(events)):
            events += page
            if len(page) < PAGE_EVENTS:
                break
        return events

    async def _opened(
        self,
        connection: Connection,
        events: Sequence[RecordedEvent],
        facts: Sequence[IntakeFact],
        principal: Principal,
        reason: AccessReason,
    ) -> list[IntakeFact]:
        """The facts with what the view shows opened: the latest document, never those it replaced."""
        latest = max(
            n for n, fact in enumerate(facts) if isinstance(fact, ReferralReceived | ReferralAmended)
        )
        shown = [
            n
            for n, fact in enumerate(facts)
            if n == latest or isinstance(fact, InformationAdded | ReferralWithdrawn)
        ]
        opened = await self.context.access_log.open_in(
            connection,
            [events[n] for n in shown],
            reader=principal.subject,
            role=principal.role,
            reason=reason,
        )
        parts = dict(zip(shown, opened, strict=True))
        return [
            fact if parts.get(n) is None else _with_sealed(fact, parts[n]) for n, fact in enumerate(facts)
        ]


def _reason_to_view(principal: Principal, access_reason: str | None) -> AccessReason | None:
    if principal.role == "operator" or (principal.role == "records_system" and access_reason is None):
        return None
    return reason_from(access_reason)


def _require_readable(facts: Sequence[IntakeFact], principal: Principal) -> None:
    """A records system reads what it sent, a token bound to an authority what is that authority's now.

    For everything else they get the answer nothing would get.
    """
    first = facts[0] if facts else None
    if not isinstance(first, ReferralReceived):
        raise ReferralUnknown
    if principal.role == "records_system" and first.summary.source_system != principal.system:
        raise ReferralUnknown
    authorities = [f.summary.authority for f in facts if isinstance(f, ReferralReceived | ReferralAmended)]
    if principal.authority not in {None, authorities[-1]}:
        raise ReferralUnknown


def _decode(event: RecordedEvent) -> IntakeFact:
    fact = REGISTRY.decode(event.type, event.schema_version, event.open)
    if not isinstance(fact, IntakeFact):
        raise TypeError(f"{event.type} is not a fact of intake")
    return fact


def _with_sealed(fact: IntakeFact, raw: bytes | None) -> IntakeFact:
    return msgspec.structs.replace(fact, sealed=unsealed(raw, _SEALED_PARTS[type(fact)]))


def _line(event: RecordedEvent, sealed: bytes | None = None) -> EventLine:
    return EventLine(
        position=event.position,
        version=event.version,
        type=event.type,
        schema_version=event.schema_version,
        event_id=event.event_id,
        occurred_at=event.occurred_at,
        recorded_at=event.recorded_at,
        correlation_id=event.correlation_id,
        actor=event.actor,
        open=msgspec.Raw(event.open),
        causation_id=event.causation_id,
        sealed=msgspec.UNSET if sealed is None else msgspec.Raw(sealed),
    )
