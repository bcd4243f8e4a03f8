"""The access log: who read personal data, when, of which record, and why (DPA 2018 section 62).

It is a log of its own, in a schema of its own beside the service's (``<schema>_access``), with the same
gapless positions and the same Merkle tree as the event log. No read of sealed data happens around it. What
operators do with parked events stands there too, though it opens nothing.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, TypeVar, get_args
from uuid import UUID

import msgspec

from hub_kernel import metrics
from hub_kernel.clock import Clock, new_id
from hub_kernel.database import Connection
from hub_kernel.errors import Malformed
from hub_kernel.event_store import ANY_VERSION, EventStore, NewEvent, StreamAppend
from hub_kernel.sealing import KeyErased, Keyring, KeyUnknown
from hub_schemas.envelope import RecordedEvent
from hub_schemas.facts import Fact
from hub_schemas.registry import Registry, encode_open

AccessReason = Literal[
    "assessment", "disclosure", "source_check", "audit", "quality_review", "subject_access"
]
ACCESS_REASONS: Final[tuple[str, ...]] = get_args(AccessReason)


class SealedRead(Fact, frozen=True, kw_only=True):
    """Somebody opened sealed data. ``positions`` are those of the events opened, in the owner's log."""

    record_id: UUID
    reader: str
    role: str
    reason: AccessReason
    positions: tuple[int, ...]
    read_at: datetime


class ParkedEventsViewed(Fact, frozen=True, kw_only=True):
    """Somebody listed parked streams, or looked at one: envelopes and open parts, never the sealed.

    What was asked for is ``None`` where it was not named. ``shown`` counts streams where no ``stream_id`` is
    named, and that stream's events where one is.
    """

    actor: str
    role: str
    source: str | None = None
    stream_id: str | None = None
    reason: str | None = None
    shown: int
    viewed_at: datetime


class ParkedRetryRequested(Fact, frozen=True, kw_only=True):
    """Somebody asked that parked streams be tried again: one by its id, or all that wait for a reason."""

    actor: str
    role: str
    source: str | None = None
    stream_id: str | None = None
    reason: str | None = None
    streams: int
    requested_at: datetime


AccessFact = SealedRead | ParkedEventsViewed | ParkedRetryRequested
REGISTRY = Registry((SealedRead, ParkedEventsViewed, ParkedRetryRequested))
S = TypeVar("S")


class ReasonMissing(Malformed):
    """Reading personal data needs a reason: send the header Access-Reason with one of the listed codes."""

    slug = "access-reason-missing"


class AccessLog:
    """Opens sealed data, and records that it did, in one transaction."""

    def __init__(self, store: EventStore, keyring: Keyring, clock: Clock, service: str) -> None:
        self.store = store
        self._keyring, self._clock, self._service = keyring, clock, service

    async def open_in(
        self,
        connection: Connection,
        events: Sequence[RecordedEvent],
        *,
        reader: str,
        role: str,
        reason: AccessReason,
    ) -> list[bytes | None]:
        """The sealed part of each event in clear (JSON); ``None`` where there is none.

        The reads are recorded in the caller's transaction: what is returned must not be used unless that
        commits. Raises ``KeyErased`` when a key is gone, ``KeyUnknown`` when there never was one here,
        ``SealBroken`` when bytes were changed.
        """
        sealed = [event for event in events if event.sealed is not None and event.key_id is not None]
        keys = await self._keyring.existing(list({event.key_id for event in sealed if event.key_id}))
        opened: dict[UUID, bytes] = {}
        for event in sealed:
            if event.key_id is None or event.key_id not in keys:
                raise KeyUnknown
            key = keys[event.key_id]
            if key is None:
                raise KeyErased
            opened[event.event_id] = key.open(event.event_id, event.type, event.sealed or b"")
        await self._record(connection, sealed, reader, role, reason)
        return [opened.get(event.event_id) for event in events]

    async def _record(
        self,
        connection: Connection,
        events: Sequence[RecordedEvent],
        reader: str,
        role: str,
        reason: AccessReason,
    ) -> None:
        now = self._clock.now()
        records: dict[UUID, list[int]] = {}
        for event in events:
            records.setdefault(event.correlation_id, []).append(event.position)
        appends = [
            access_append(
                SealedRead(
                    record_id=record_id,
                    reader=reader,
                    role=role,
                    reason=reason,
                    positions=tuple(positions),
                    read_at=now,
                ),
                record_id,
                actor=reader,
                at=now,
            )
            for record_id, positions in records.items()
        ]
        if appends:
            await self.store.append_in(connection, appends)
            metrics.SEALED_READS.labels(self._service, reason).inc(len(appends))


def access_append(fact: AccessFact, record_id: UUID | None, *, actor: str, at: datetime) -> StreamAppend:
    """What an access log takes in: in the stream of its record, or in that of what is about no one record."""
    event = NewEvent(
        event_id=new_id(),
        type=type(fact).__name__,
        schema_version=fact.schema_version,
        occurred_at=at,
        correlation_id=record_id or new_id(),
        causation_id=None,
        actor=actor,
        traceparent=None,
        open=encode_open(fact),
    )
    return StreamAppend(f"access-{record_id or 'parked'}", ANY_VERSION, [event])


def reason_from(header: str | None) -> AccessReason:
    """Check a reason code. Raises ``ReasonMissing`` naming the codes."""
    for reason in get_args(AccessReason):
        if reason == header:
            return reason  # type: ignore[no-any-return]
    raise ReasonMissing(fields={"Access-Reason": f"one of {', '.join(ACCESS_REASONS)}"})


def unsealed(sealed: bytes | None, kind: type[S]) -> S:
    """Read opened bytes as the sealed part they are."""
    return msgspec.json.decode(sealed or b"null", type=kind)
