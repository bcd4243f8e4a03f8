"""Reading an event log page by page: by position, by stream, by category, by correlation."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from hub_kernel.database import Connection
from hub_schemas.envelope import RecordedEvent

PAGE_EVENTS: Final = 1_000
_COLUMNS: Final = """position, stream_id, version, event_id, type, schema_version, occurred_at, recorded_at,
    correlation_id, causation_id, actor, traceparent, open, key_id, sealed"""


class Reader:
    """Reads one log. Every query is bounded by ``limit`` and follows an index."""

    def __init__(self, schema: str) -> None:
        self.schema = schema
        select = f"SELECT {_COLUMNS} FROM {schema}.events"  # noqa: S608  the schema is ours
        self._log = f"{select} WHERE position > $1 ORDER BY position LIMIT $2"
        self._behind = f"""SELECT h.position - $1 AS events,
                (SELECT e.recorded_at FROM {schema}.events e
                  WHERE e.position > $1 ORDER BY e.position LIMIT 1) AS oldest
           FROM {schema}.log_head h"""  # noqa: S608
        self._stream = f"{select} WHERE stream_id = $1 AND version > $2 ORDER BY version LIMIT $3"
        self._category = f"{select} WHERE category = $1 AND position > $2 ORDER BY position LIMIT $3"
        self._correlated = f"{select} WHERE correlation_id = $1 AND position > $2 ORDER BY position LIMIT $3"

    async def log(self, connection: Connection, after: int, limit: int = PAGE_EVENTS) -> list[RecordedEvent]:
        """Events with a position greater than ``after``, in log order."""
        return self._events(await connection.fetch(self._log, after, limit))

    async def stream(
        self, connection: Connection, stream_id: str, after: int = 0, limit: int = PAGE_EVENTS
    ) -> list[RecordedEvent]:
        """Events of one stream with a version greater than ``after``, in stream order."""
        return self._events(await connection.fetch(self._stream, stream_id, after, limit))

    async def category(
        self, connection: Connection, category: str, after: int = 0, limit: int = PAGE_EVENTS
    ) -> list[RecordedEvent]:
        """Events of every stream whose id starts with ``category-``, in log order."""
        return self._events(await connection.fetch(self._category, category, after, limit))

    async def correlated(
        self, connection: Connection, correlation_id: UUID, after: int = 0, limit: int = PAGE_EVENTS
    ) -> list[RecordedEvent]:
        """Events of one chain, in log order."""
        return self._events(await connection.fetch(self._correlated, correlation_id, after, limit))

    async def pages(
        self, connection: Connection, after: int = 0, limit: int = PAGE_EVENTS
    ) -> AsyncIterator[list[RecordedEvent]]:
        """The whole log after a position, a page at a time; the next is on its way while one is worked on.

        The connection is this reader's alone until the end.
        """
        page = await self.log(connection, after, limit)
        while page:
            ahead = asyncio.create_task(self.log(connection, page[-1].position, limit))
            try:
                await asyncio.sleep(0)  # lets the query leave before the caller computes on
                yield page
                page = await ahead
            finally:
                ahead.cancel()

    async def behind(self, connection: Connection, after: int) -> tuple[int, datetime | None]:
        """How many events stand after a position, and when the first of them was recorded."""
        row = await connection.fetchrow(self._behind, after)
        return max(0, row["events"]), row["oldest"]

    def _events(self, rows: Sequence[asyncpg.Record]) -> list[RecordedEvent]:
        source = self.schema
        with no_collection():
            # The columns stand in the order of the fields; by position is twice as fast as by name.
            return [RecordedEvent(source, *row) for row in rows]


@contextmanager
def no_collection() -> Iterator[None]:
    """Hold the garbage collector back for one page: its passes over fresh events cost more than decoding."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
