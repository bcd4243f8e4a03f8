"""Rebuilding: every fact is folded again beside the live read models, compared, and may replace them.

The live consumers go on all the while. The two sides are compared in one snapshot, in which the rebuilt side
has heard exactly what the live side has: a consumer's effects and its cursor are written in one transaction.
Only to replace are the consumers held back, for as long as it takes to read what they applied since and to
swap names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from hub_kernel.database import Connection
from hub_kernel.ports import Bus, Message, Subscription
from hub_oversight.tables.read_models import REBUILT, TABLES, ReadModels
from hub_oversight.views.timeline import SOURCES
from hub_schemas.envelope import RecordedEvent, from_cloudevent

CONSUMER: Final = "oversight"
_PAGE_MESSAGES: Final = 1_000
_WAIT_SECONDS: Final = 5.0
_STEP_SECONDS: Final = 3_600.0
_REBUILT_TABLES: Final = ", ".join(f"oversight.{REBUILT}{table}" for table in TABLES)
_LOCK: Final = 0x4F5652  # one rebuild at a time

Cursors = Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a rebuild found.

    ``differing_rows`` counts, for each table, rows that only one side has; all zero means equal to the same
    bytes. ``left_out`` counts events that are parked, which the live side has not applied either.
    """

    events: int
    left_out: int
    differing_rows: dict[str, int]
    replaced: bool

    @property
    def equal(self) -> bool:
        """Whether the rebuilt read models equal the live ones."""
        return not any(self.differing_rows.values())


async def rebuild(pool: asyncpg.Pool, bus: Bus, *, partitions: int, replace: bool) -> Rebuilt:
    """Rebuild from the beginning of every log, compare, and with ``replace`` put the rebuilt in its place.

    Safe to stop at any moment: nothing of the live read models changes before the last commit.
    """
    async with pool.acquire() as guard:
        await guard.execute("SELECT pg_advisory_lock($1)", _LOCK, timeout=_STEP_SECONDS)
        try:
            return await _Rebuild(pool, bus, partitions).run(replace=replace)
        finally:
            await guard.execute("SELECT pg_advisory_unlock($1)", _LOCK)


class _Rebuild:
    """One rebuild under way."""

    def __init__(self, pool: asyncpg.Pool, bus: Bus, partitions: int) -> None:
        self._pool, self._bus = pool, bus
        self._rebuilt = ReadModels(lock_stripes=partitions, prefix=REBUILT)
        self._read: dict[str, Cursors] = {source: {} for source in SOURCES}
        self._events = self._left_out = 0

    async def run(self, *, replace: bool) -> Rebuilt:
        """Fold, compare, and replace if asked."""
        async with self._pool.acquire() as connection:
            await connection.execute(f"TRUNCATE {_REBUILT_TABLES}", timeout=_STEP_SECONDS)
            await self._catch_up(connection)
            async with connection.transaction(isolation="repeatable_read"):
                await self._catch_up(connection)
                differing = {table: await _differing_rows(connection, table) for table in TABLES}
            if replace:
                async with connection.transaction():
                    await connection.execute(
                        "LOCK TABLE oversight.consumer_cursors IN EXCLUSIVE MODE", timeout=_STEP_SECONDS
                    )
                    await self._catch_up(connection)
                    await connection.execute("SELECT oversight.swap_rebuilt()")
        return Rebuilt(
            events=self._events, left_out=self._left_out, differing_rows=differing, replaced=replace
        )

    async def _catch_up(self, connection: Connection) -> None:
        """Fold every source from where this rebuild stands to where its live consumer stands now."""
        for source in SOURCES:
            start, end = self._read[source], await _live_cursors(connection, source)
            parked = await _first_parked(connection, source)

            async def where_this_stands(_partitions: Sequence[int], start: Cursors = start) -> Cursors:
                return start

            subscription = await self._bus.subscribe(f"{CONSUMER}-rebuild", source, where_this_stands)
            try:
                await self._fold_until(connection, subscription, start, end, parked)
            finally:
                await subscription.close()
            self._read[source] = end

    async def _fold_until(
        self,
        connection: Connection,
        subscription: Subscription,
        start: Cursors,
        end: Cursors,
        parked: Mapping[str, int],
    ) -> None:
        through = {partition: start.get(partition, 0) for partition in end}
        while any(through[partition] < offset for partition, offset in end.items()):
            page = await subscription.fetch(_PAGE_MESSAGES, _WAIT_SECONDS)
            through |= {p: offset for p, offset in page.through.items() if p in end}
            reached = [m for m in page.messages if m.offset <= end.get(m.partition, -1)]
            applied = [event for event in map(_read, reached) if event and not _is_parked(event, parked)]
            self._left_out += len(reached) - len(applied)
            self._events += len(applied)
            if applied:
                async with connection.transaction():
                    await self._rebuilt.fold(connection, applied)


async def _live_cursors(connection: Connection, source: str) -> dict[int, int]:
    rows = await connection.fetch(
        "SELECT partition, position FROM oversight.consumer_cursors WHERE consumer = $1 AND source = $2",
        CONSUMER,
        source,
    )
    return {row["partition"]: row["position"] for row in rows}


async def _first_parked(connection: Connection, source: str) -> dict[str, int]:
    """The first version of each stream that the live side could not apply."""
    rows = await connection.fetch(
        """SELECT stream_id, min(version) AS version FROM oversight.parked
            WHERE consumer = $1 AND source = $2 GROUP BY stream_id""",
        CONSUMER,
        source,
    )
    return {row["stream_id"]: row["version"] for row in rows}


def _read(message: Message) -> RecordedEvent | None:
    """The event in a message; None when it cannot be read, which the live side has parked."""
    try:
        return from_cloudevent(message.headers, message.value)
    except ValueError:
        return None


def _is_parked(event: RecordedEvent, parked: Mapping[str, int]) -> bool:
    return event.stream_id in parked and event.version >= parked[event.stream_id]


async def _differing_rows(connection: Connection, table: str) -> int:
    live, rebuilt = f"oversight.{table}", f"oversight.{REBUILT}{table}"
    return int(
        await connection.fetchval(
            f"""SELECT count(*) FROM ((TABLE {live} EXCEPT ALL TABLE {rebuilt})
                                      UNION ALL (TABLE {rebuilt} EXCEPT ALL TABLE {live})) AS differing""",  # noqa: S608
            timeout=_STEP_SECONDS,
        )
    )
