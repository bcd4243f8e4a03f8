"""Parked events as operators see them: which streams wait and why, one of them, and asking for a retry.

A retry is a request in the database (ADR 0023): it makes the head of a stream's chain due, and whichever
process runs the consumer tries it within moments, or at its next start. Nothing here runs a handler.
"""

from dataclasses import dataclass
from typing import ClassVar, Final
from uuid import UUID

import asyncpg

from hub_kernel.access_log import ParkedEventsViewed, ParkedRetryRequested, access_append
from hub_kernel.clock import Clock
from hub_kernel.database import Connection
from hub_kernel.errors import NotFound
from hub_kernel.event_store import EventStore
from hub_kernel.parked_views import (
    ParkedChain,
    ParkedGroup,
    ParkedStream,
    ParkedStreams,
    Wanted,
    cursor_after,
    link_of,
    read_cursor,
    record_of,
)

PAGE_STREAMS: Final = 100
PAGE_STREAMS_MAX: Final = 500
PAGE_EVENTS: Final = 100


class NotParked(NotFound):
    """No event of this stream is parked here. It may have been applied meanwhile; list what is parked."""

    slug: ClassVar[str] = "not-parked"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who looks or asks: a token's subject, or ``cli:`` and an account of the machine."""

    name: str
    role: str


class ParkedEvents:
    """The parked events of one service. Whatever it shows or does, it records in the access log with it."""

    def __init__(self, schema: str, pool: asyncpg.Pool, access_log: EventStore, clock: Clock) -> None:
        self._schema, self._pool, self._access_log, self._clock = schema, pool, access_log, clock

    async def summary(self) -> list[ParkedGroup]:
        """How many streams wait, by consumer, source and reason, the largest group first. Counts only."""
        rows = await self._pool.fetch(
            f"""SELECT consumer, source, reason, count(*) AS streams, sum(events)::bigint AS events,
                       count(next_try_at) AS retries_itself, min(parked_at) AS oldest_parked_at
                  FROM ({self._heads}) heads GROUP BY consumer, source, reason
                 ORDER BY streams DESC, consumer, source, reason"""  # noqa: S608
        )
        return [ParkedGroup(**row) for row in rows]

    async def streams(
        self, wanted: Wanted, actor: Actor, *, limit: int = PAGE_STREAMS, cursor: str | None = None
    ) -> ParkedStreams:
        """One page of the streams wanted. Raises ``CursorUnusable``."""
        after = read_cursor(cursor) if cursor is not None else None
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(
                f"""SELECT * FROM ({self._heads}) heads
                     WHERE ($1::text IS NULL OR source = $1) AND ($2::text IS NULL OR reason = $2)
                       AND ($3::text IS NULL OR stream_id = $3)
                       AND ($4::timestamptz IS NULL
                            OR (parked_at, consumer, source, stream_id) > ($4, $5::text, $6::text, $7::text))
                     ORDER BY parked_at, consumer, source, stream_id LIMIT $8""",  # noqa: S608
                wanted.source,
                wanted.reason,
                wanted.stream_id,
                *(after or (None, None, None, None)),
                limit + 1,
            )
            found = [ParkedStream(**row) for row in rows[:limit]]
            await self._record_view(connection, wanted, actor, len(found), None)
        more = len(rows) > limit
        return ParkedStreams(found, cursor_after(found[-1]) if more else None)

    async def chain(self, source: str, stream_id: str, actor: Actor, *, after: int = 0) -> ParkedChain:
        """A stream's parked events after a version, one page. Raises ``NotParked``."""
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(
                f"""SELECT * FROM {self._schema}.parked
                     WHERE source = $1 AND stream_id = $2 AND version > $3
                     ORDER BY version, consumer LIMIT $4""",  # noqa: S608
                source,
                stream_id,
                after,
                PAGE_EVENTS + 1,
            )
            if not rows:
                raise NotParked
            links = [link_of(row) for row in rows[:PAGE_EVENTS]]
            wanted = Wanted(source=source, stream_id=stream_id)
            await self._record_view(connection, wanted, actor, len(links), record_of(rows))
        more = len(rows) > PAGE_EVENTS
        return ParkedChain(source, stream_id, links, links[-1].version if more else None)

    async def retry_stream(self, source: str, stream_id: str, actor: Actor) -> int:
        """Ask that one stream's chain be tried again, in order. Safe to repeat. Raises ``NotParked``.

        Returns 1, or how many consumers of this service wait with it.
        """
        return await self._retry(Wanted(source=source, stream_id=stream_id), actor)

    async def retry_all(self, reason: str, actor: Actor, *, source: str | None = None) -> int:
        """Ask the same for every stream held up for this reason. Returns how many there are."""
        try:
            return await self._retry(Wanted(source=source, reason=reason), actor)
        except NotParked:
            return 0

    async def _retry(self, wanted: Wanted, actor: Actor) -> int:
        async with self._pool.acquire() as connection, connection.transaction():
            # Due by any clock: the demo's runs by its own. And an instant of its own each time, so that a try
            # already under way that fails does not take this request for the one it answered.
            rows = await connection.fetch(
                f"""UPDATE {self._schema}.parked p
                       SET next_try_at = least(p.parked_at, p.next_try_at) - interval '1 microsecond'
                      FROM ({self._heads}) h
                     WHERE (p.consumer, p.source, p.stream_id, p.version)
                           = (h.consumer, h.source, h.stream_id, h.version)
                       AND ($1::text IS NULL OR h.source = $1) AND ($2::text IS NULL OR h.reason = $2)
                       AND ($3::text IS NULL OR h.stream_id = $3)
                    RETURNING p.reason, p.header_names, p.header_values, p.value""",  # noqa: S608
                wanted.source,
                wanted.reason,
                wanted.stream_id,
            )
            if not rows:
                raise NotParked
            now = self._clock.now()
            fact = ParkedRetryRequested(
                actor=actor.name,
                role=actor.role,
                source=wanted.source,
                stream_id=wanted.stream_id,
                reason=wanted.reason,
                streams=len(rows),
                requested_at=now,
            )
            record_id = record_of(rows) if wanted.stream_id else None
            append = access_append(fact, record_id, actor=actor.name, at=now)
            await self._access_log.append_in(connection, [append])
        return len(rows)

    async def _record_view(
        self, connection: Connection, wanted: Wanted, actor: Actor, shown: int, record_id: UUID | None
    ) -> None:
        """Record what was shown. What found nothing is not recorded: its words are the caller's own."""
        if not shown:
            return
        now = self._clock.now()
        fact = ParkedEventsViewed(
            actor=actor.name,
            role=actor.role,
            source=wanted.source,
            stream_id=wanted.stream_id,
            reason=wanted.reason,
            shown=shown,
            viewed_at=now,
        )
        append = access_append(fact, record_id, actor=actor.name, at=now)
        await self._access_log.append_in(connection, [append])

    @property
    def _heads(self) -> str:
        """The event at the head of each chain, and how many the chain has."""
        return f"""SELECT DISTINCT ON (consumer, source, stream_id)
                          consumer, source, stream_id, version, reason, attempts, parked_at, next_try_at,
                          count(*) OVER (PARTITION BY consumer, source, stream_id) AS events
                     FROM {self._schema}.parked ORDER BY consumer, source, stream_id, version"""  # noqa: S608
