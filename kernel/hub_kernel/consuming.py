"""The consumer: hears one source, and applies each event's effect exactly once in its own database.

Per partition and page, in one transaction: the cursor's row is locked, the effects are made, the last
version of each stream and the cursor are written. Version at most the last: a repeat, dropped. The next:
applied. Beyond the next: a gap, parked. An event that fails parks its own stream; the others flow on.
The missing event of a gap is parked before what waits for it, and housekeeping drains them in order.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import groupby
from typing import Final

import asyncpg
import structlog

from hub_kernel import metrics
from hub_kernel.circuit_breaker import Circuit
from hub_kernel.clock import Clock
from hub_kernel.database import Connection
from hub_kernel.errors import Malformed, NotFound, Unavailable
from hub_kernel.failpoints import failpoint
from hub_kernel.inbox import Inbox, ParkedEvent
from hub_kernel.ports import BeganAgain, Bus, Message, Subscription
from hub_kernel.standing import Standing, unless
from hub_kernel.telemetry import processing
from hub_kernel.verdicts import OUTAGE, dependency_away, may_pass, reason_of
from hub_schemas.envelope import RecordedEvent, from_cloudevent

_log = structlog.get_logger(__name__)

Handler = Callable[[Connection, RecordedEvent], Awaitable[None]]
"""Makes one event's effect in the transaction given. May be called again after a rollback."""
BatchHandler = Callable[[Connection, Sequence[RecordedEvent]], Awaitable[None]]
"""Makes the effects of several events, in order, in the transaction given; for effects that fold together."""

PAGE_MESSAGES: Final = 100
WAIT_SECONDS: Final = 5.0
INLINE_RETRY_SECONDS: Final = (0.05, 0.2, 0.8)
PARKED_RETRY_SECONDS: Final = (5, 30, 120, 600)
HELD_TRIES: Final = 12
OUTAGE_PAUSE_SECONDS: Final = 0.5
HOUSEKEEPING_SECONDS: Final = 2.0
DUE_STREAMS: Final = 1_000
_MAX_BIGINT: Final = 2**63


@dataclass(frozen=True, slots=True)
class _Heard:
    """A message and the event in it; ``None`` when it cannot be read."""

    message: Message
    event: RecordedEvent | None

    @property
    def stream_id(self) -> str:
        if self.event is not None:
            return self.event.stream_id
        return f"unreadable-{self.message.partition}-{self.message.offset}"

    @property
    def version(self) -> int:
        return 1 if self.event is None else self.event.version


class Consumer:
    """Applies the facts of one source through one handler.

    ``linger_seconds`` is waited after each page, so that effects nobody waits for are made for many events
    at once.
    """

    def __init__(
        self,
        name: str,
        source: str,
        *,
        schema: str,
        pool: asyncpg.Pool,
        bus: Bus,
        handler: BatchHandler,
        clock: Clock,
        linger_seconds: float = 0.0,
    ) -> None:
        self.name, self.source = name, source
        self._linger_seconds = linger_seconds
        self._pool, self._bus, self._handler, self._clock = pool, bus, handler, clock
        self._inbox = Inbox(schema, name, source)
        self._circuit = Circuit(name, source)
        self._subscription: Subscription | None = None
        self.standing = Standing()
        self._idle_saved = 0.0

    async def run(self, stopping: asyncio.Event | None = None) -> None:
        """Consume until ``stopping`` is set: the page under way is finished, then the group is left.

        Cancelled, what is under way is rolled back and comes again.
        """
        subscription = self._subscription = await self._bus.subscribe(self.name, self.source, self._cursors)
        try:
            async with asyncio.TaskGroup() as tasks:
                housekeeping = tasks.create_task(self._housekeeping())
                while stopping is None or not stopping.is_set():
                    await self._next_page(subscription, stopping)
                housekeeping.cancel()
        finally:
            await subscription.close()

    async def _cursors(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """Where to go on from. Raises ``Unavailable`` while our own database is away.

        When a carrier without groups was given another number of partitions, keys have moved between them and
        no old cursor says anything: everything is heard again, and the inbox drops what was applied.
        """
        try:
            async with self._pool.acquire() as connection:
                cursors = await self._inbox.cursors(connection)
                if self._bus.features.several_members or set(cursors) == set(partitions):
                    return cursors
                await self._inbox.forget_cursors(connection)
                return {}
        except OUTAGE as error:
            raise Unavailable from error

    async def _next_page(self, subscription: Subscription, stopping: asyncio.Event | None) -> None:
        try:
            page = await unless(stopping, subscription.fetch(PAGE_MESSAGES, WAIT_SECONDS))
        except BeganAgain:
            _log.error("consumer.carrier_began_again", consumer=self.name, source=self.source)
            async with self._pool.acquire() as connection:
                await self._inbox.forget_cursors(connection)
            return
        except Unavailable:
            self.standing = replace(self.standing, is_away=True)
            await asyncio.sleep(OUTAGE_PAUSE_SECONDS)
            return
        self.standing = replace(self.standing, is_reached=True, is_away=False)
        if page is None:
            return
        lanes = groupby(sorted(page.messages, key=lambda m: m.partition), key=lambda m: m.partition)
        await asyncio.gather(
            *(self._lane(partition, list(messages), page.through[partition]) for partition, messages in lanes)
        )
        await self._save_idle(page.through)
        if page.messages and self._linger_seconds:
            await asyncio.sleep(self._linger_seconds)

    async def _save_idle(self, through: Mapping[int, int]) -> None:
        """Write down, now and then, that quiet partitions were read too, so that a restart need not."""
        now = asyncio.get_running_loop().time()
        if now - self._idle_saved < HOUSEKEEPING_SECONDS:
            return
        self._idle_saved = now
        with contextlib.suppress(*OUTAGE):
            async with self._pool.acquire() as connection:
                await self._inbox.advance(connection, through)

    async def _lane(self, partition: int, messages: Sequence[Message], through: int) -> None:
        """Apply one partition's messages: together if all goes well, otherwise one by one."""
        heard = [_Heard(message, _read(message)) for message in messages]
        if len(heard) > 1:
            try:
                await self._apply(partition, heard, through)
            except Exception as error:  # noqa: BLE001  one by one finds the one at fault and names it
                _log.debug("consumer.batch_split", consumer=self.name, error=type(error).__name__)
            else:
                return
        for one in heard:
            await self._apply_or_park(partition, one)

    async def _apply_or_park(self, partition: int, heard: _Heard) -> None:
        pauses = iter(INLINE_RETRY_SECONDS)
        attempts = held = 0
        while True:
            try:
                async with self._circuit.turn():
                    await self._apply(partition, [heard], heard.message.offset)
            except Exception as error:  # noqa: BLE001  whatever it is, it parks this stream alone
                if await self._is_outage(error):
                    _log.warning("consumer.database_away", consumer=self.name, error=type(error).__name__)
                    await asyncio.sleep(OUTAGE_PAUSE_SECONDS)
                    continue
                attempts += 1
                away = dependency_away(error)
                pause = next(pauses, None) if may_pass(error) else None
                if pause is not None and not (away and self._circuit.is_open):
                    await asyncio.sleep(pause)
                elif away and self._circuit.failed(heard.stream_id, reason_of(error)) and held < HELD_TRIES:
                    held, pauses = held + 1, iter(INLINE_RETRY_SECONDS)
                else:
                    await self._park(partition, heard, error, attempts)
                    return
            else:
                return

    async def _is_outage(self, error: Exception) -> bool:
        """Whether our database is away, and not the handler at fault in a way that only looks like it."""
        if not isinstance(error, OUTAGE):
            return False
        try:
            async with self._pool.acquire() as connection:
                await connection.fetchval("SELECT 1")
        except (*OUTAGE, asyncpg.PostgresError):
            return True
        return False

    async def _apply(self, partition: int, heard: Sequence[_Heard], through: int) -> None:
        """Make the effects of these messages and move the cursor, all in one transaction."""
        outcomes: list[str] = []
        async with self._pool.acquire() as connection, connection.transaction():
            done = await self._inbox.lock(connection, partition)
            fresh = [one for one in heard if one.message.offset > done]
            streams = list({one.stream_id for one in fresh})
            versions, blocked = await self._inbox.standing(connection, streams)
            waiting: list[ParkedEvent] = []
            late: list[ParkedEvent] = []
            applied: dict[str, int] = {}
            events: list[RecordedEvent] = []
            for one in fresh:
                outcome = _outcome(one, versions.get(one.stream_id, 0), one.stream_id in blocked)
                outcomes.append(outcome)
                if outcome == "applied" and one.event is not None:
                    events.append(one.event)
                    versions[one.stream_id] = applied[one.stream_id] = one.version
                elif outcome != "repeat":
                    parked = ParkedEvent(one.message, one.stream_id, one.version, outcome, 0)
                    (late if outcome == "late" else waiting).append(parked)
                    blocked.add(one.stream_id)
            await self._handle(connection, events)
            if waiting:
                await self._inbox.park(connection, waiting, self._clock.now(), None)
            if late:
                await self._inbox.park(connection, late, self._clock.now(), self._clock.now())
            await self._inbox.finish(connection, applied, partition, through)
            failpoint("cursor.before")
        failpoint("cursor.after")
        if events:
            self._circuit.succeeded()
        for outcome in outcomes:
            metrics.EVENTS_CONSUMED.labels(self.name, self.source, outcome).inc()
            if outcome not in ("applied", "repeat"):
                _log.error("consumer.parked", consumer=self.name, source=self.source, reason=outcome)

    async def _handle(self, connection: Connection, events: Sequence[RecordedEvent]) -> None:
        if not events:
            return
        with processing(self.name, events):
            failpoint("effect.before")
            await self._handler(connection, events)
            failpoint("effect.after")

    async def _park(self, partition: int, heard: _Heard, error: Exception, attempts: int) -> None:
        reason = reason_of(error)
        parked = ParkedEvent(heard.message, heard.stream_id, heard.version, reason, attempts)
        while True:
            try:
                async with self._pool.acquire() as connection, connection.transaction():
                    if await self._inbox.lock(connection, partition) < heard.message.offset:
                        retry_at = self._clock.now() + timedelta(seconds=PARKED_RETRY_SECONDS[0])
                        next_try = retry_at if may_pass(error) else None
                        await self._inbox.park(connection, [parked], self._clock.now(), next_try)
                        await self._inbox.advance(connection, {partition: heard.message.offset})
            except OUTAGE:
                await asyncio.sleep(OUTAGE_PAUSE_SECONDS)
            else:
                break
        metrics.EVENTS_CONSUMED.labels(self.name, self.source, "parked").inc()
        _log.error(
            "consumer.parked",
            consumer=self.name,
            source=self.source,
            reason=reason,
            stream_id=heard.stream_id,
        )

    async def _drain(self, stream_id: str, partition: int) -> bool:
        """Apply a stream's parked chain in order until it is empty or an event fails again.

        Returns whether others are worth trying: not when a part we need is away.
        """
        while True:
            event: ParkedEvent | None = None
            try:
                async with self._pool.acquire() as connection, connection.transaction():
                    await self._inbox.lock(connection, partition)
                    event = await self._inbox.first_parked(connection, stream_id)
                    if event is None:
                        return True
                    handled = await self._apply_parked(connection, event)
            except Exception as error:  # noqa: BLE001  it stays parked, with the new reason
                if event is None or await self._is_outage(error):
                    return False
                await self._postpone(event, error)
                return not dependency_away(error)
            if handled:
                self._circuit.succeeded()

    async def _apply_parked(self, connection: Connection, parked: ParkedEvent) -> bool:
        """Take an event out of its chain. Returns whether its effect was made, and not known from before."""
        event = _read(parked.message)
        if event is None:
            raise EventUnreadable
        versions, _ = await self._inbox.standing(connection, [event.stream_id])
        last = versions[event.stream_id]
        if event.version > last + 1:
            raise EventMissing
        if event.version == last + 1:
            await self._handle(connection, [event])
            applied = {event.stream_id: event.version}
            await self._inbox.finish(connection, applied, parked.message.partition, parked.message.offset)
        await self._inbox.unpark(connection, parked)
        return event.version == last + 1

    async def _postpone(self, event: ParkedEvent, error: Exception) -> None:
        pause = PARKED_RETRY_SECONDS[min(event.attempts, len(PARKED_RETRY_SECONDS) - 1)]
        next_try = self._clock.now() + timedelta(seconds=pause) if may_pass(error) else None
        async with self._pool.acquire() as connection:
            await self._inbox.postpone(connection, event, reason_of(error), next_try)

    async def _housekeeping(self) -> None:
        """Try what is due again, and tell how far behind we are."""
        while True:
            with contextlib.suppress(Unavailable, *OUTAGE):
                async with self._pool.acquire() as connection:
                    if self._circuit.has_closed():
                        await self._inbox.hasten(connection)
                    due = await self._inbox.due_streams(connection, self._clock.now(), DUE_STREAMS)
                    count = await self._inbox.parked_count(connection)
                for stream_id, partition in due:
                    if not await self._drain(stream_id, partition):
                        break
                metrics.PARKED_EVENTS.labels(f"{self.name}:{self.source}").set(count)
                if self._subscription is not None:
                    lag = await self._subscription.lag()
                    self.standing = replace(self.standing, lag=lag)
                    metrics.CONSUMER_LAG_EVENTS.labels(self.name, self.source).set(lag.events)
                    metrics.CONSUMER_LAG_SECONDS.labels(self.name, self.source).set(lag.seconds)
            await asyncio.sleep(HOUSEKEEPING_SECONDS)


def one_by_one(handler: Handler) -> BatchHandler:
    """A handler of single events as one of several."""

    async def handle(connection: Connection, events: Sequence[RecordedEvent]) -> None:
        for event in events:
            await handler(connection, event)

    return handle


class EventMissing(NotFound):
    """An earlier event of this stream never arrived. It is applied as soon as the missing one is."""

    slug = "gap"


class EventUnreadable(Malformed):
    """This message is not an event this release can read. Deploy one that can, then ask for a retry."""

    slug = "unreadable"


def _read(message: Message) -> RecordedEvent | None:
    try:
        event = from_cloudevent(message.headers, message.value)
    except ValueError:
        return None
    # What the inbox could not write down is as good as unreadable: it must be parked, not tried for ever.
    writable = 0 < event.version < _MAX_BIGINT and "\x00" not in event.stream_id
    return event if writable else None


def _outcome(heard: _Heard, last_version: int, blocked: bool) -> str:  # noqa: FBT001  a plain fact
    if heard.event is None:
        return "unreadable"
    if heard.version <= last_version:
        return "repeat"
    if blocked:
        return "late" if heard.version == last_version + 1 else "behind"
    return "applied" if heard.version == last_version + 1 else "gap"
