"""The relay: publishes a service's event log on its topic, in order, at least once. The log is the outbox.

One relay a log, under a lease with an epoch. Pages are sent in position order, several under way, in one
batch a partition; the cursor moves only through pages of which Kafka acknowledged everything, and the epoch
is checked whenever it moves. A send that failed or was cut off may have landed: all of it is sent again, and
consumers' inboxes drop what they know.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, ClassVar, Final

import asyncpg
import structlog
from aiokafka import AIOKafkaProducer

from hub_kernel import metrics
from hub_kernel.clock import Clock, new_id
from hub_kernel.errors import Unavailable
from hub_kernel.event_store.reading import Reader
from hub_kernel.failpoints import failpoint
from hub_kernel.kafka.connection import KAFKA_AWAY, START_SECONDS, KafkaAway, KafkaConnection, drop, retrieve
from hub_kernel.kafka.lease import LEASE_SECONDS, Lease, LeaseLost, RelayTable
from hub_kernel.kafka.topics import TopicSpec, ensure_topics
from hub_kernel.partitioning import partition_of
from hub_kernel.ports import Lag
from hub_kernel.standing import Standing, unless
from hub_kernel.wakeups import DATABASE_AWAY, POLL_SECONDS, Wakeups
from hub_schemas.envelope import RecordedEvent, to_cloudevent

_log = structlog.get_logger(__name__)

PAGE_EVENTS: Final = 500
PAGES_UNDER_WAY: Final = 4
KEEP_SECONDS: Final = 0.5
"""How often the cursor is saved and the lease renewed: a relay that dies sends at most so much twice."""
ACKNOWLEDGE_SECONDS: Final = 60.0
"""A page not acknowledged for so long: the producer is made anew and all of it is sent again."""
LAG_SECONDS: Final = 2.0
WATCH_SECONDS: Final = 5.0
"""How often a relay asks whether Kafka answers, and still holds what it acknowledged."""
_LEASE_MARGIN_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 5.0
_STOP_SECONDS: Final = 5.0

_Sent = Sequence["asyncio.Future[object]"]
_UnderWay = asyncio.Queue[tuple[int, int, _Sent] | None]


class TopicMadeAnew(Unavailable):
    """The topic holds less than Kafka acknowledged: it was made anew. All of the log is published again."""

    slug: ClassVar[str] = "topic-made-anew"


class Relay:
    """Publishes one log on one topic, for as long as it runs and holds the lease."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        source: str,
        spec: TopicSpec,
        connection: KafkaConnection,
        wakeups: Wakeups,
        clock: Clock,
    ) -> None:
        self.source = source
        self._pool, self._spec, self._connection, self._clock = pool, spec, connection, clock
        self._reader = Reader(source)
        self._table = RelayTable(pool, source, spec.name)
        self._holder = connection.instance or str(new_id())
        self._wakeup, _ = wakeups.on(source)
        self.standing = Standing()

    async def run(self, stopping: asyncio.Event | None = None) -> None:
        """Publish until ``stopping`` is set; wait while another has the lease, or Kafka or database is away.

        What the log held by then is sent, acknowledged and saved, and the lease given back. Cancelled, what
        is under way may be sent again.
        """
        stopping = stopping or asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            telling = tasks.create_task(self._tell_lag())
            pause = _PAUSE_SECONDS
            while not stopping.is_set():
                try:
                    await self._hold_and_publish(stopping)
                    pause = _PAUSE_SECONDS
                except* (Unavailable, *KAFKA_AWAY, *DATABASE_AWAY) as errors:
                    self.standing = replace(self.standing, is_away=True)
                    _log.warning("relay.interrupted", source=self.source, error=_first_name(errors))
                    pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
                await unless(stopping, asyncio.sleep(pause))
            telling.cancel()

    async def lag(self) -> Lag:
        """Facts this service recorded that Kafka has not acknowledged, and the age of the oldest."""
        position = await self._table.position()
        async with self._pool.acquire() as connection:
            events, oldest = await self._reader.behind(connection, position)
        if oldest is None:
            return Lag(0, 0.0)
        return Lag(events, max(0.0, (self._clock.now() - oldest).total_seconds()))

    async def _tell_lag(self) -> None:
        while True:
            with contextlib.suppress(*DATABASE_AWAY):
                lag = await self.lag()
                self.standing = replace(self.standing, lag=lag)
                metrics.RELAY_LAG_EVENTS.labels(self.source).set(lag.events)
                metrics.RELAY_LAG_SECONDS.labels(self.source).set(lag.seconds)
            await asyncio.sleep(LAG_SECONDS)

    async def _hold_and_publish(self, stopping: asyncio.Event) -> None:
        """Publish for as long as the lease is ours; return at once when it is another's."""
        lease = await self._table.take(self._holder)
        if lease is None:
            self.standing = replace(self.standing, is_reached=True, is_away=False)
            return
        held = _Held(self._table, lease)
        try:
            async with self._producer() as producer:
                await self._begin_where_the_topic_ends(held)
                self.standing = replace(self.standing, is_reached=True, is_away=False)
                await self._publish(producer, held, stopping)
        finally:
            with contextlib.suppress(*DATABASE_AWAY):
                async with asyncio.timeout(_STOP_SECONDS):
                    await held.give_back()

    @asynccontextmanager
    async def _producer(self) -> AsyncIterator[AIOKafkaProducer]:
        await ensure_topics(self._connection, [self._spec])
        producer = self._connection.producer()
        try:
            async with asyncio.timeout(START_SECONDS):
                await producer.start()
            yield producer
        finally:
            # What is under way may land or not; it is sent again by whoever comes next, what waits too.
            await drop(producer)

    async def _begin_where_the_topic_ends(self, held: "_Held") -> None:
        """Publish everything again when the topic holds less than was acknowledged: it was made anew."""
        async with self._connection.onlooker(self._spec.name) as (onlooker, partitions):
            if not partitions:
                raise KafkaAway  # made a moment ago, and this broker has not heard of it yet
            ends = await onlooker.end_offsets(list(partitions))
        if sum(ends.values()) < held.acknowledged:
            _log.error("relay.topic_made_anew", source=self.source)
            await held.begin_again()

    async def _watch(self, held: "_Held") -> None:
        """Tell whether Kafka answers, for a log nobody writes to as well. Raises ``TopicMadeAnew``."""
        while True:
            try:
                async with self._connection.onlooker(self._spec.name) as (onlooker, partitions):
                    while True:
                        acknowledged = held.acknowledged
                        async with asyncio.timeout(START_SECONDS):
                            ends = await onlooker.end_offsets(list(partitions))
                        self.standing = replace(self.standing, is_away=False)
                        if sum(ends.values()) < acknowledged:
                            raise TopicMadeAnew
                        await asyncio.sleep(WATCH_SECONDS)
            except KafkaAway:
                self.standing = replace(self.standing, is_away=True)
            await asyncio.sleep(WATCH_SECONDS)

    async def _publish(self, producer: AIOKafkaProducer, held: "_Held", stopping: asyncio.Event) -> None:
        """Send, hear acknowledgements and save side by side, until one fails or all is to stop."""
        under_way: _UnderWay = asyncio.Queue(PAGES_UNDER_WAY)
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(held.keep_on()), tasks.create_task(self._watch(held))]
            tasks.create_task(self._send_pages(producer, held, under_way, stopping))
            await self._take_acknowledgements(held, under_way)
            for task in beside:
                task.cancel()

    async def _send_pages(
        self,
        producer: AIOKafkaProducer,
        held: "_Held",
        under_way: "_UnderWay",
        stopping: asyncio.Event,
    ) -> None:
        topic = self._connection.topic(self._spec.name)
        partitions = len(await producer.partitions_for(topic))
        position = held.acknowledged
        is_last = False
        page: Sequence[RecordedEvent] = ()
        # Told to stop, it still sends what the log held then, but does not run after others who write on.
        while not (is_last and len(page) < PAGE_EVENTS):
            self._wakeup.clear()
            is_last = stopping.is_set()
            async with self._pool.acquire() as connection:
                page = await self._reader.log(connection, position, PAGE_EVENTS)
            if page:
                held.require()
                failpoint("relay.before_send")
                sent = await _send(producer, topic, partitions, page)
                failpoint("relay.after_send")
                position = page[-1].position
                await under_way.put((position, len(page), sent))
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await unless(stopping, self._wakeup.wait())
        await under_way.put(None)

    async def _take_acknowledgements(self, held: "_Held", under_way: "_UnderWay") -> None:
        while (waiting := await under_way.get()) is not None:
            position, count, sent = waiting
            async with asyncio.timeout(ACKNOWLEDGE_SECONDS):
                await asyncio.gather(*sent)
            failpoint("relay.acknowledged")
            held.acknowledged = position
            metrics.RELAYED.labels(self.source).inc(count)


class _Held:
    """A lease while it is held: how far was acknowledged, and until when sending is allowed."""

    def __init__(self, table: RelayTable, lease: Lease) -> None:
        self._table, self._epoch = table, lease.epoch
        self.acknowledged = lease.position
        self._until = self._now() + LEASE_SECONDS

    def require(self) -> None:
        """Raise ``LeaseLost`` when the lease may have run out before what is sent now is there."""
        if self._now() > self._until - _LEASE_MARGIN_SECONDS:
            raise LeaseLost

    async def keep_on(self) -> None:
        """Save the cursor and renew the lease until cancelled. Raises ``LeaseLost``."""
        while True:
            await asyncio.sleep(KEEP_SECONDS)
            await self._keep()
            failpoint("relay.saved")

    async def begin_again(self) -> None:
        """Nothing counts as acknowledged any more."""
        self.acknowledged = 0
        await self._keep()

    async def give_back(self) -> None:
        """Save the cursor a last time and let the next relay begin at once."""
        with contextlib.suppress(LeaseLost):
            await self._keep()
            await self._table.give_back(self._epoch)

    async def _keep(self) -> None:
        asked_at = self._now()
        await self._table.keep(self._epoch, self.acknowledged)
        self._until = asked_at + LEASE_SECONDS

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


async def _send(
    producer: AIOKafkaProducer, topic: str, partitions: int, page: Sequence[RecordedEvent]
) -> _Sent:
    """Hand a page to the producer, in order inside each partition; each future is one acknowledgement.

    Batches are built here: one future a batch instead of one an event is most of what a relay costs.
    """
    batches: dict[int, Any] = {}
    sent: list[asyncio.Future[object]] = []

    async def send(batch: Any, partition: int) -> None:
        sent.append(await producer.send_batch(batch, topic, partition=partition))
        sent[-1].add_done_callback(retrieve)  # nobody hears of it once another has failed

    for event in page:
        key = str(event.correlation_id)
        partition = partition_of(key, partitions)
        headers, value = to_cloudevent(event)
        record = {
            "timestamp": int(event.recorded_at.timestamp() * 1_000),
            "key": key.encode(),
            "value": value,
            "headers": list(headers),
        }
        batch = batches.get(partition) or batches.setdefault(partition, producer.create_batch())
        if batch.append(**record) is None:  # full
            await send(batch, partition)
            batch = batches[partition] = producer.create_batch()
            batch.append(**record)
    for partition, batch in batches.items():
        await send(batch, partition)
    return sent


def _first_name(errors: BaseExceptionGroup[BaseException]) -> str:
    """The class of the first error, which is what the others followed from."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return type(error).__name__
