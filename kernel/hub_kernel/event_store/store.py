"""The event store: one service's log on PostgreSQL, written and read."""

from collections.abc import Sequence
from importlib import resources

import asyncpg

from hub_kernel.clock import Clock
from hub_kernel.database import Connection
from hub_kernel.event_store.appending import Appender, GroupCommit, request_of
from hub_kernel.event_store.events import AppendResult, Head, StreamAppend
from hub_kernel.event_store.merkle import Frontier
from hub_kernel.event_store.reading import Reader


class EventStore:
    """One append-only log in the database schema of its owner.

    Promises, held by ``tests/component/test_event_store.py``: positions are gapless and in commit order, so
    reading ``position > n`` never skips; versions are gapless in a stream; an append is all or none, on
    condition of each stream's version; a repeated event id with the same content is answered, not written
    again; the Merkle frontier is part of the same transaction. Several processes may share one log.
    """

    def __init__(self, pool: asyncpg.Pool, schema: str, clock: Clock) -> None:
        self.pool = pool
        self.schema = schema
        self.read = Reader(schema)
        self._appender = Appender(schema, clock)
        self._group = GroupCommit(pool, self._appender)

    async def append(self, appends: Sequence[StreamAppend]) -> AppendResult:
        """Append all or none, durably, together with whatever else this process is appending.

        Raises ``WrongExpectedVersion`` or ``EventIdReused``. Safe to repeat with the same event ids.
        """
        return await self._group.append(appends)

    async def append_in(self, connection: Connection, appends: Sequence[StreamAppend]) -> AppendResult:
        """Append inside the caller's transaction; the log's lock is held until that ends, so append last.

        Raises as ``append``; the transaction is still usable after a refusal.
        """
        [answer] = await self._appender.write(connection, [request_of(appends)])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def head(self, connection: Connection) -> Head:
        """Where the log ends now."""
        row = await connection.fetchrow(f"SELECT position, recorded_at, peaks FROM {self.schema}.log_head")  # noqa: S608
        recorded_at = row["recorded_at"] if row["position"] else None
        return Head(row["position"], recorded_at, Frontier(row["position"], row["peaks"]).root())


def log_ddl(schema: str) -> list[str]:
    """The statements that create one log in an existing schema; used by the owner's first migration."""
    sql = resources.files("hub_kernel.event_store.sql")
    return [(sql / name).read_text().format(schema=schema) for name in ("tables.sql", "append_events.sql")]
