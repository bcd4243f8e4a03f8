"""The log bus: tails the services' own event logs, so nothing is copied and nothing can be missed."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime

import asyncpg

from hub_kernel.clock import Clock
from hub_kernel.errors import Unavailable
from hub_kernel.event_store.reading import Reader
from hub_kernel.failpoints import failpoint
from hub_kernel.partitioning import partition_of
from hub_kernel.ports import Cursors, Features, Lag, Message, Page
from hub_kernel.wakeups import DATABASE_AWAY, POLL_SECONDS, Wakeups
from hub_schemas.envelope import to_cloudevent


class LogAway(Unavailable):
    """The event log does not answer. Reading goes on when it does."""

    slug = "log-away"


class LogBus:
    """Reads other services' logs as the role that may select from every log and nothing else."""

    features = Features(durable=True, replayable=True, several_members=False)

    def __init__(self, dsn: str, pool: asyncpg.Pool, clock: Clock, *, partitions: int) -> None:
        self._pool, self._clock, self._partitions = pool, clock, partitions
        self._wakeups = Wakeups(dsn)

    async def start(self) -> None:
        """Begin to listen for wake-ups."""
        self._wakeups.start()

    async def subscribe(self, consumer: str, source: str, cursors: Cursors) -> "LogSubscription":
        """Begin reading the log of ``source`` (a service's schema)."""
        del consumer  # positions are kept by the consumer itself
        return LogSubscription(self._pool, source, cursors, self._wakeups, self._clock, self._partitions)

    async def lag(self, source: str, cursors: Mapping[int, int]) -> Lag:
        """Events between the cursor furthest back and the head of the log."""
        done = min(cursors.get(partition, 0) for partition in range(self._partitions))
        return await _lag(self._pool, Reader(source), done, self._clock)

    async def close(self) -> None:
        """Stop listening."""
        await self._wakeups.close()


class LogSubscription:
    """One consumer's reading of one log, in virtual partitions by correlation id."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        source: str,
        cursors: Cursors,
        wakeups: Wakeups,
        clock: Clock,
        partitions: int,
    ) -> None:
        self._pool, self._source, self._cursors, self._clock = pool, source, cursors, clock
        self._wakeup, self._forget = wakeups.on(source)
        self._reader = Reader(source)
        self._partitions = range(partitions)
        self._through: dict[int, int] | None = None
        self._done = 0

    @property
    def partitions(self) -> Sequence[int]:
        """All of them: this carrier has one member a consumer."""
        return self._partitions if self._through is not None else ()

    async def fetch(self, limit: int, wait_seconds: float) -> Page:
        """Read the next page of the log; empty when nothing came in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_seconds
        while True:
            self._wakeup.clear()
            before = await self._placed()
            self._done = min(before.values())
            page = await self._read(before, limit)
            remaining = deadline - loop.time()
            if page.messages or remaining <= 0:
                return page
            if page.through != before:
                continue  # a page of events already applied before a restart: the next one may hold news
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(remaining, POLL_SECONDS)):
                    await self._wakeup.wait()

    async def _placed(self) -> dict[int, int]:
        """How far each partition was read; at first, as far as the consumer says."""
        if self._through is None:
            cursors = await self._cursors(self._partitions)
            self._through = {partition: cursors.get(partition, 0) for partition in self._partitions}
        return self._through

    async def _read(self, through: dict[int, int], limit: int) -> Page:
        failpoint("publish.before")
        try:
            async with self._pool.acquire() as connection:
                events = await self._reader.log(connection, min(through.values()), limit)
        except DATABASE_AWAY as error:
            raise LogAway from error
        messages = []
        for event in events:
            partition = partition_of(str(event.correlation_id), len(through))
            if event.position > through[partition]:
                headers, value = to_cloudevent(event)
                messages.append(Message(self._source, partition, event.position, headers, value))
        if events:
            last = events[-1].position
            self._through = {partition: max(done, last) for partition, done in through.items()}
            failpoint("publish.after")
        return Page(messages, dict(self._through or through))

    async def lag(self) -> Lag:
        """Events between what was dealt with and the head of the log."""
        if self._through is None:
            self._done = min((await self._placed()).values())
        return await _lag(self._pool, self._reader, self._done, self._clock)

    async def close(self) -> None:
        """Be woken no more; nothing else is held between reads."""
        self._forget()


async def _lag(pool: asyncpg.Pool, reader: Reader, done: int, clock: Clock) -> Lag:
    try:
        async with pool.acquire() as connection:
            events, oldest = await reader.behind(connection, done)
    except DATABASE_AWAY as error:
        raise LogAway from error
    return Lag(events, _age_seconds(oldest, clock)) if oldest is not None else Lag(0, 0.0)


def _age_seconds(instant: datetime, clock: Clock) -> float:
    return max(0.0, (clock.now() - instant).total_seconds())
