"""Appending: one batch in one call, and the group commit that coalesces a process's callers into batches."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import asyncpg

from hub_kernel.clock import Clock
from hub_kernel.coalescing import Coalescer, Pending
from hub_kernel.database import Connection
from hub_kernel.event_store.events import (
    AlreadyAppended,
    AlreadyAppendedAfterErasure,
    Appended,
    AppendResult,
    EventIdReused,
    NewEvent,
    StreamAppend,
    WrongExpectedVersion,
)
from hub_kernel.event_store.merkle import content_hash
from hub_kernel.failpoints import failpoint
from hub_kernel.sealing import KeyErased
from hub_kernel.telemetry import span

MIN_BATCH_EVENTS: Final = 16
"""Below this a batch costs more in itself than its events do."""
MAX_BATCH_EVENTS: Final = 64
"""Above this callers wait for each other and nothing is gained (measured; ADR 0017)."""
WRITERS: Final = 2
"""Batches of one process under way at once: one commits while the next is encoded."""
_UNWRITABLE: Final = (ValueError, asyncpg.DataError, asyncpg.ProgramLimitExceededError)


@dataclass(frozen=True, slots=True)
class Request:
    """What one caller asked for, with the content hash of each event, made before any lock is held."""

    appends: tuple[StreamAppend, ...]
    hashes: tuple[bytes, ...]
    names: frozenset[str | UUID]

    @property
    def events(self) -> Iterable[NewEvent]:
        """All events in the order given."""
        return (event for append in self.appends for event in append.events)


def request_of(appends: Sequence[StreamAppend]) -> Request:
    """Check what a caller asks and hash its contents.

    Raises ``ValueError`` for an empty append, for a stream or an event id named twice, and for an instant
    without a zone.
    """
    names: list[str | UUID] = []
    hashes = []
    for append in appends:
        names.append(append.stream_id)
        for event in append.events:
            if event.occurred_at.tzinfo is None:
                raise ValueError("occurred_at needs a zone: its hash would not be that of what is read back")
            names.append(event.event_id)
            hashes.append(content_hash(append.stream_id, event))
    distinct = frozenset(names)
    if len(distinct) < len(names) or not appends or not all(append.events for append in appends):
        raise ValueError("an append needs events, and each stream and event id once")
    return Request(tuple(appends), tuple(hashes), distinct)


class Appender:
    """Writes batches of requests to one log."""

    def __init__(self, schema: str, clock: Clock) -> None:
        self._clock = clock
        self._call = f"SELECT * FROM {schema}.append_events({', '.join(f'${n}' for n in range(1, 17))})"  # noqa: S608  the schema is ours
        self._known = f"""
            SELECT event_id, stream_id, type, schema_version, open, key_id, sealed, position, version
              FROM {schema}.events WHERE event_id = ANY ($1)"""  # noqa: S608  the schema is ours

    async def write(
        self, connection: Connection, requests: Sequence[Request]
    ) -> list[AppendResult | Exception]:
        """Write the requests in order, each whole or not at all; one answer each.

        The requests must not share a stream or an event id. Runs in the connection's transaction, or in one
        of its own per call.
        """
        answers = await self._erased(connection, requests)
        while pending := [n for n in range(len(requests)) if n not in answers]:
            chosen = [requests[n] for n in pending]
            row = await connection.fetchrow(self._call, *self._arguments(chosen))
            if row["first_position"] is not None:
                answers |= dict(zip(pending, _appended(chosen, row), strict=True))
            else:
                refused = await self._refusals(connection, chosen, row)
                answers |= {pending[n]: answer for n, answer in refused.items()}
        return [answers[n] for n in range(len(requests))]

    def _arguments(self, requests: Sequence[Request]) -> tuple[object, ...]:
        appends = [append for request in requests for append in request.appends]
        events = [event for append in appends for event in append.events]
        return (
            self._clock.now(),
            [append.stream_id for append in appends],
            [append.expected_version for append in appends],
            [len(append.events) for append in appends],
            [event.event_id for event in events],
            [event.type for event in events],
            [event.schema_version for event in events],
            [event.occurred_at for event in events],
            [event.correlation_id for event in events],
            [event.causation_id for event in events],
            [event.actor for event in events],
            [event.traceparent for event in events],
            [event.open for event in events],
            [event.key_id for event in events],
            [event.sealed for event in events],
            [digest for request in requests for digest in request.hashes],
        )

    async def _erased(
        self, connection: Connection, requests: Sequence[Request]
    ) -> dict[int, AppendResult | Exception]:
        """Answer the requests that may only be repeats, since their data key is gone."""
        erased = [n for n, request in enumerate(requests) if any(a.key_erased for a in request.appends)]
        if not erased:
            return {}
        ids = [event.event_id for n in erased for event in requests[n].events]
        known = {row["event_id"]: row for row in await connection.fetch(self._known, ids)}
        return {
            n: _repeat(requests[n], known)
            if any(event.event_id in known for event in requests[n].events)
            else KeyErased()
            for n in erased
        }

    async def _refusals(
        self, connection: Connection, requests: Sequence[Request], row: asyncpg.Record
    ) -> dict[int, AppendResult | Exception]:
        known = {}
        if row["known_ids"]:
            known = {r["event_id"]: r for r in await connection.fetch(self._known, row["known_ids"])}
        versions = iter(row["versions"])
        refused: dict[int, AppendResult | Exception] = {}
        for n, request in enumerate(requests):
            expected = [(append.expected_version, next(versions)) for append in request.appends]
            if any(event.event_id in known for event in request.events):
                refused[n] = _repeat(request, known)
            elif any(wanted >= 0 and wanted != actual for wanted, actual in expected):
                refused[n] = WrongExpectedVersion()
        return refused


def _appended(requests: Sequence[Request], row: asyncpg.Record) -> Iterable[AppendResult]:
    position, recorded_at = row["first_position"], row["recorded_at"]
    versions = iter(row["versions"])
    for request in requests:
        written: list[int] = []
        for append in request.appends:
            before = next(versions)
            written.extend(range(before + 1, before + 1 + len(append.events)))
        yield Appended(tuple(range(position, position + len(written))), tuple(written), recorded_at)
        position += len(written)


def _repeat(request: Request, known: dict[UUID, asyncpg.Record]) -> AppendResult | Exception:
    rows = []
    erased = False
    for append in request.appends:
        for event in append.events:
            row = known.get(event.event_id)
            same = row is not None and (
                (row["stream_id"], row["type"], row["schema_version"], row["open"], row["key_id"])
                == (append.stream_id, event.type, event.schema_version, event.open, event.key_id)
            )
            if row is None or not same or not (append.key_erased or row["sealed"] == event.sealed):
                return EventIdReused()
            erased = erased or append.key_erased
            rows.append(row)
    answer = AlreadyAppendedAfterErasure if erased else AlreadyAppended
    return answer(tuple(row["position"] for row in rows), tuple(row["version"] for row in rows))


class GroupCommit:
    """Coalesces all appends of a process into batches: the log's lock is held once a batch, not an event."""

    def __init__(self, pool: asyncpg.Pool, appender: Appender) -> None:
        self._pool, self._appender = pool, appender
        self._coalescer: Coalescer[Request, AppendResult] = Coalescer(self._write, _cut, writers=WRITERS)

    async def append(self, appends: Sequence[StreamAppend]) -> AppendResult:
        """Write with the next batch. Raises ``WrongExpectedVersion`` or ``EventIdReused``."""
        return await self._coalescer.submit(request_of(appends))

    async def _write(self, batch: Sequence[Request]) -> Sequence[AppendResult | Exception]:
        with span("append", hub_batch_requests=len(batch)):
            async with self._pool.acquire() as connection:
                failpoint("append.before")
                answers = await self._each_or_all(connection, batch)
                failpoint("append.after")
                return answers

    async def _each_or_all(
        self, connection: Connection, batch: Sequence[Request]
    ) -> list[AppendResult | Exception]:
        """Write a batch; one by one when the database cannot hold something in it, to spare the others."""
        try:
            return await self._appender.write(connection, batch)
        except _UNWRITABLE as error:
            if len(batch) == 1:
                return [error]
            return [(await self._each_or_all(connection, [request]))[0] for request in batch]


def _cut(
    queue: "deque[Pending[Request, AppendResult]]",
) -> "list[Pending[Request, AppendResult]]":
    """Take the next batch: requests that share no stream and no event id with one before them in it."""
    batch: list[Pending[Request, AppendResult]] = []
    later: list[Pending[Request, AppendResult]] = []
    taken: set[str | UUID] = set()
    events = 0
    # A part of the queue, so that the next batch is encoded while this one commits.
    room = max(MIN_BATCH_EVENTS, min(MAX_BATCH_EVENTS, -(-len(queue) // WRITERS)))
    while queue and events < room:
        pending = queue.popleft()
        names = pending.request.names
        (later if taken & names else batch).append(pending)
        taken |= names
        events += len(pending.request.hashes)
    queue.extendleft(reversed(later))
    return batch
