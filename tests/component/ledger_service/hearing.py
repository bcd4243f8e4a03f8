"""Consumers of the ledger in the reader's database, and what became of what they heard."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import asyncpg
import pytest
from tests.component.ledger_service import LEDGER, READER
from tests.component.ledger_service.scripted_bus import ScriptedBus, heard
from tests.component.ledger_service.waiting import until

from hub_kernel import circuit_breaker, consuming
from hub_kernel.clock import FixedClock
from hub_kernel.consuming import Consumer, Handler, one_by_one
from hub_kernel.database import Connection
from hub_kernel.ports import Bus, Message
from hub_schemas.envelope import RecordedEvent

Effect = tuple[str, int]


async def write(connection: Connection, event: RecordedEvent) -> None:
    """The effect of an event: one row, so that a doubled effect is two."""
    await connection.execute("INSERT INTO reader.effects VALUES ($1, $2)", event.stream_id, event.version)


def always(_effect: Effect) -> bool:
    """Fail for every event."""
    return True


def failing(when: Callable[[Effect], bool], error: Exception) -> Handler:
    """A handler that raises after its effect was written, for the events chosen."""

    async def handle(connection: Connection, event: RecordedEvent) -> None:
        await write(connection, event)
        if when((event.stream_id, event.version)):
            raise error

    return handle


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer that tries again, and looks after what is parked, without making a test wait."""
    monkeypatch.setattr(consuming, "INLINE_RETRY_SECONDS", (0.0, 0.0, 0.0))
    monkeypatch.setattr(consuming, "OUTAGE_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(consuming, "HOUSEKEEPING_SECONDS", 0.02)
    monkeypatch.setattr(consuming, "HELD_TRIES", 100_000)
    monkeypatch.setattr(circuit_breaker, "FIRST_PAUSE_SECONDS", 0.002)
    monkeypatch.setattr(circuit_breaker, "LONGEST_PAUSE_SECONDS", 0.02)


@asynccontextmanager
async def running(consumer: Consumer) -> AsyncIterator[None]:
    """Run a consumer until the block ends."""
    task = asyncio.create_task(consumer.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Hearing:
    """What a test does with consumers of the ledger in the reader's database."""

    def __init__(self, pool: asyncpg.Pool, owner: asyncpg.Connection, clock: FixedClock) -> None:
        self._pool, self._owner, self._clock = pool, owner, clock

    def consumer(self, bus: Bus, handler: Handler = write) -> Consumer:
        """The reader's consumer of the ledger."""
        return Consumer(
            READER.name,
            LEDGER.schema,
            schema=READER.schema,
            pool=self._pool,
            bus=bus,
            handler=one_by_one(handler),
            clock=self._clock,
        )

    async def hear(self, *pages: Sequence[Message], handler: Handler = write) -> Consumer:
        """Run a consumer until it has dealt with these pages, then stop it."""
        bus = ScriptedBus(pages)
        consumer = self.consumer(bus, handler)
        async with running(consumer), asyncio.timeout(15):
            await bus.dealt_with.wait()
        return consumer

    async def effects(self) -> list[Effect]:
        """The effects made, by stream and version."""
        rows = await self._owner.fetch("SELECT * FROM reader.effects ORDER BY stream_id, version")
        return [tuple(row) for row in rows]

    async def effects_in_order(self) -> list[Effect]:
        """The effects in the order they were made."""
        rows = await self._owner.fetch(
            "SELECT * FROM reader.effects ORDER BY xmin::text::bigint, cmin::text::bigint"
        )
        return [tuple(row) for row in rows]

    async def parked(self) -> list[tuple[str, int, str]]:
        """What is parked, and why."""
        rows = await self._owner.fetch("SELECT stream_id, version, reason FROM reader.parked ORDER BY 1, 2")
        return [tuple(row) for row in rows]

    async def tries(self) -> list[tuple[int, int | None]]:
        """Of each parked event: how often it was tried, and in how many seconds it is tried again."""
        rows = await self._owner.fetch("SELECT attempts, next_try_at FROM reader.parked ORDER BY version")
        due = [row["next_try_at"] for row in rows]
        seconds = [None if at is None else int((at - self._clock.now()).total_seconds()) for at in due]
        return list(zip([row["attempts"] for row in rows], seconds, strict=True))

    async def cursors(self) -> dict[int, int]:
        """How far each partition was applied."""
        return {
            row["partition"]: row["position"]
            for row in await self._owner.fetch("SELECT partition, position FROM reader.consumer_cursors")
        }

    async def last_versions(self) -> dict[str, int]:
        """What the inbox holds."""
        rows = await self._owner.fetch("SELECT stream_id, last_version FROM reader.inbox")
        return {row["stream_id"]: row["last_version"] for row in rows}

    async def until_effects(self, expected: list[Effect]) -> None:
        """Return when these are the effects."""

        async def there() -> bool:
            return await self.effects() == expected

        await until(there)

    async def until_parked(self, expected: list[tuple[str, int, str]]) -> None:
        """Return when this is what is parked."""

        async def there() -> bool:
            return await self.parked() == expected

        await until(there)


@pytest.fixture
def hearing(reader_pool: asyncpg.Pool, owner: asyncpg.Connection, clock: FixedClock) -> Hearing:
    """Consumers of the ledger in this test's database."""
    return Hearing(reader_pool, owner, clock)


def stream(stream_id: str, *versions: int, first_offset: int, partition: int = 0) -> list[Message]:
    """The messages that bring these versions of a stream, one after the other."""
    return [
        heard(stream_id, version, offset=first_offset + n, partition=partition)
        for n, version in enumerate(versions)
    ]
