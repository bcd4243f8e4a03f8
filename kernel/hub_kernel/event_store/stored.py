"""A log as its tables hold it, for the audit: rows, the head row, breaks in streams; nothing is believed."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, Final, NamedTuple

from hub_kernel.database import Connection

PAGE_ROWS: Final = 200
"""Rows read at once: few enough to stay in the processor's cache between reading and hashing."""
_STREAMS_SECONDS: Final = 3_600.0

StoredRow = Sequence[Any]
"""Position, version, recorded instant, leaf hash, stream id, then the fields of ``NewEvent`` in their order.

Ids are text, as the content hash takes them.
"""


class StoredHead(NamedTuple):
    """The head row of a log as it stands."""

    position: int
    recorded_at: Any
    peaks: Sequence[bytes]


class Place(NamedTuple):
    """What the log itself added to an event: where it stands, and the hash that was made of all of it."""

    position: int
    version: int
    recorded_at: Any
    leaf_hash: bytes


class StoredLog:
    """The tables of one log, read in a transaction of the caller's."""

    def __init__(self, schema: str) -> None:
        self.schema = schema
        places = "position, version, recorded_at, leaf_hash"
        self._rows = f"""
            SELECT {places}, stream_id, event_id::text, type, schema_version, occurred_at,
                   correlation_id::text, causation_id::text, actor, traceparent, open, key_id::text, sealed
              FROM {schema}.events"""  # noqa: S608  the schema is ours
        self._places = f"SELECT {places} FROM {schema}.events ORDER BY position"  # noqa: S608
        self._head = f"SELECT position, recorded_at, peaks FROM {schema}.log_head"  # noqa: S608
        self._broken = f"""
            SELECT min(position) FROM (
                SELECT position, version, stream_id, category,
                       row_number() OVER (PARTITION BY stream_id ORDER BY position) AS expected
                  FROM {schema}.events WHERE position <= $1) AS numbered
             WHERE version <> expected OR category <> split_part(stream_id, '-', 1)"""  # noqa: S608

    async def head(self, connection: Connection) -> StoredHead | None:
        """The head row; ``None`` unless there is exactly one."""
        rows = await connection.fetch(self._head)
        return StoredHead(*rows[0]) if len(rows) == 1 else None

    async def pages(self, connection: Connection) -> AsyncGenerator[Sequence[StoredRow], None]:
        """All rows by position, a page at a time; the next is under way while the caller has this one.

        A row with a value no event can have (an instant before year 1) comes as its position alone, and
        last.
        """
        cursor = await connection.cursor(f"{self._rows} ORDER BY position")
        coming = asyncio.ensure_future(cursor.fetch(PAGE_ROWS))
        after = 0
        try:
            while page := await coming:
                coming = asyncio.ensure_future(cursor.fetch(PAGE_ROWS))
                await asyncio.sleep(0)  # lets the request out before the caller keeps the loop busy
                yield page
                after = page[-1][0]
        except OverflowError:
            async for row in self._singly(connection, after):
                yield [row]
        finally:
            await asyncio.gather(coming, return_exceptions=True)

    async def _singly(self, connection: Connection, after: int) -> AsyncIterator[StoredRow]:
        following = "WHERE position > $1 ORDER BY position LIMIT 1"
        while True:
            try:
                row = await connection.fetchrow(f"{self._rows} {following}", after)
            except OverflowError:
                yield await connection.fetchrow(
                    f"SELECT position FROM {self.schema}.events {following}",  # noqa: S608
                    after,
                )
                return
            if row is None:
                return
            yield row
            after = row[0]

    async def places(self, connection: Connection) -> AsyncGenerator[Sequence[Place], None]:
        """Where every row stands, by position, a page at a time."""
        cursor = await connection.cursor(self._places)
        while page := await cursor.fetch(PAGE_ROWS):
            yield [Place(*row) for row in page]

    async def first_broken_stream(self, connection: Connection, through: int) -> int | None:
        """The first position that is not the next version of its stream, or not filed under its category."""
        position: int | None = await connection.fetchval(self._broken, through, timeout=_STREAMS_SECONDS)
        return position
