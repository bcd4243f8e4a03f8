"""The log bus: tails the services' own event logs, so nothing is copied and nothing can be missed."""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import asyncpg
import structlog

from hub_kernel.clock import Clock
from hub_kernel.database import Connection
from hub_kernel.errors import Unavailable
from hub_kernel.event_store.reading import Reader
from hub_kernel.failpoints import failpoint
from hub_kernel.partitioning import partition_of
from hub_kernel.ports import Features, Lag, Message, Page
from hub_schemas.envelope import to_cloudevent

_log = structlog.get_logger(__name__)
POLL_SECONDS: Final = 0.5
"""How long a reader may sleep through a lost notification: polling is the truth, NOTIFY only a wake-up."""

_AWAY: Final = (
    OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError,
)  # fmt: skip


class LogBus:
    """Reads other services' logs as the role that may select from every log and nothing else."""

    features = Features(durable=True, replayable=True, several_members=False)

    def __init__(self, dsn: str, pool: asyncpg.Pool, clock: Clock, *, partitions: int) -> None:
        self._dsn, self._pool, self._clock, self._partitions = dsn, pool, clock, partitions
        self._wakeups: dict[str, set[asyncio.Event]] = {}
        self._subscribed = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen for wake-ups."""
        self._listener = asyncio.create_task(self._listen(), name="log-bus-listener")

    async def subscribe(self, consumer: str, source: str) -> "LogSubscription":
        """Begin reading the log of ``source`` (a service's schema)."""
        del consumer  # positions are kept by the consumer itself
        wakeup = asyncio.Event()
        self._wakeups.setdefault(source, set()).add(wakeup)
        self._subscribed.set()
        forget = functools.partial(self._wakeups[source].discard, wakeup)
        return LogSubscription(self._pool, source, wakeup, forget, self._clock, self._partitions)

    async def close(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listener
            self._listener = None

    async def _listen(self) -> None:
        """Keep one connection listening for every source; while it is down, readers poll."""
        while True:
            try:
                await self._listen_once()
            except _AWAY as error:
                _log.warning("bus.listener_lost", error=type(error).__name__)
            await asyncio.sleep(POLL_SECONDS)

    async def _listen_once(self) -> None:
        connection = await asyncpg.connect(self._dsn, timeout=10)
        try:
            heard: set[str] = set()
            while not connection.is_closed():
                self._subscribed.clear()
                for source in set(self._wakeups) - heard:
                    await connection.add_listener(source, self._wake)
                    heard.add(source)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._subscribed.wait()
        finally:
            await asyncio.shield(connection.close(timeout=2))

    def _wake(self, _connection: Connection, _pid: int, source: str, _payload: str) -> None:
        for wakeup in self._wakeups.get(source, ()):
            wakeup.set()


class LogSubscription:
    """One consumer's reading of one log, in virtual partitions by correlation id."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        source: str,
        wakeup: asyncio.Event,
        forget: Callable[[], None],
        clock: Clock,
        partitions: int,
    ) -> None:
        self._pool, self._source, self._wakeup, self._clock = pool, source, wakeup, clock
        self._forget = forget
        self._reader = Reader(source)
        self._through = dict.fromkeys(range(partitions), 0)
        self._done = 0

    @property
    def partitions(self) -> Sequence[int]:
        """All of them: this carrier has one member a consumer."""
        return tuple(self._through)

    def seek(self, cursors: Mapping[int, int]) -> None:
        """Start after these positions."""
        self._through = {partition: cursors.get(partition, 0) for partition in self._through}
        self._done = min(self._through.values())

    async def fetch(self, limit: int, wait_seconds: float) -> Page:
        """Read the next page of the log; empty when nothing came in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_seconds
        while True:
            self._wakeup.clear()
            before = self._through
            self._done = min(before.values())
            page = await self._read(limit)
            remaining = deadline - loop.time()
            if page.messages or remaining <= 0:
                return page
            if self._through is not before:
                continue  # a page of events already applied before a restart: the next one may hold news
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(remaining, POLL_SECONDS)):
                    await self._wakeup.wait()

    async def _read(self, limit: int) -> Page:
        after = min(self._through.values())
        failpoint("publish.before")
        try:
            async with self._pool.acquire() as connection:
                events = await self._reader.log(connection, after, limit)
        except _AWAY as error:
            raise Unavailable("The event log does not answer. Reading goes on when it does.") from error
        count = len(self._through)
        messages = []
        for event in events:
            partition = partition_of(str(event.correlation_id), count)
            if event.position > self._through[partition]:
                headers, value = to_cloudevent(event)
                messages.append(Message(self._source, partition, event.position, headers, value))
        if events:
            last = events[-1].position
            self._through = {partition: max(done, last) for partition, done in self._through.items()}
            failpoint("publish.after")
        return Page(messages, dict(self._through))

    async def lag(self) -> Lag:
        """Events between what was dealt with and the head of the log."""
        async with self._pool.acquire() as connection:
            row = await connection.fetchrow(
                f"""SELECT h.position - $1 AS events,
                           (SELECT e.recorded_at FROM {self._source}.events e
                             WHERE e.position > $1 ORDER BY e.position LIMIT 1) AS oldest
                      FROM {self._source}.log_head h""",  # noqa: S608  the schema is ours
                self._done,
            )
        if row["oldest"] is None:
            return Lag(0, 0.0)
        return Lag(row["events"], max(0.0, (self._clock.now() - row["oldest"]).total_seconds()))

    async def close(self) -> None:
        """Be woken no more; nothing else is held between reads."""
        self._forget()
