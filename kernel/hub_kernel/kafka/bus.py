"""The bus on Apache Kafka: facts on topics, consumers in groups, cursors in each consumer's own database.

Offsets here are Kafka's plus one, so that a cursor of 0 means nothing was read. Offsets committed to Kafka
are for the broker's own tools; reading goes on where the consumer's database says.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, NoReturn

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.errors import CommitFailedError, IllegalStateError
from aiokafka.structs import ConsumerRecord, TopicPartition

from hub_kernel import metrics
from hub_kernel.clock import Clock
from hub_kernel.kafka.ages import age_seconds, oldest_age, recorded_at, taken_in_at
from hub_kernel.kafka.connection import (
    KAFKA_AWAY,
    MAX_MESSAGE_BYTES,
    REQUEST_SECONDS,
    KafkaAway,
    KafkaConnection,
    end_quietly,
)
from hub_kernel.kafka.raw_records import fetch_raw
from hub_kernel.kafka.topics import TopicSpec, ensure_topics, facts_spec
from hub_kernel.ports import BeganAgain, Cursors, Features, Lag, Message, Page

_log = structlog.get_logger(__name__)

PROBE_SECONDS: Final = 2.0
"""A reader that hears nothing for so long asks whether the brokers are there and whether it is behind."""
PROBE_TIMEOUT_SECONDS: Final = 3.0
STALLED_SECONDS: Final = 20.0
"""Behind for so long without hearing anything: this member is made anew."""
COMMIT_SECONDS: Final = 2.0
_CLOSE_TIMEOUT_SECONDS: Final = 5.0


class KafkaBus:
    """Reads services' facts from their topics."""

    features = Features(durable=True, replayable=True, several_members=True)

    def __init__(
        self, connection: KafkaConnection, clock: Clock, *, partitions: int, replication: int = 1
    ) -> None:
        self.connection, self._clock = connection, clock
        self._partitions, self._replication = partitions, replication
        self._subscriptions: set[KafkaSubscription] = set()

    async def start(self) -> None:
        """Nothing yet: brokers that are away must not keep a service from starting."""

    async def subscribe(self, consumer: str, source: str, cursors: Cursors) -> "KafkaSubscription":
        """Begin reading a service's facts as a member of the consumer's group."""
        spec = facts_spec(source, self._partitions, self._replication)
        return self.subscribe_topic(consumer, source, spec, cursors)

    def subscribe_topic(
        self, consumer: str, source: str, spec: TopicSpec, cursors: Cursors
    ) -> "KafkaSubscription":
        """Begin reading any topic, as ``source`` in messages and metrics; made if it is missing."""
        subscription = KafkaSubscription(self, self.connection, consumer, source, spec, cursors, self._clock)
        self._subscriptions.add(subscription)
        return subscription

    async def lag(self, source: str, cursors: Mapping[int, int]) -> Lag:
        """How far these cursors are behind the ends of a service's topic, and how old the next fact is."""
        return await self.topic_lag(facts_spec(source, self._partitions, self._replication).name, cursors)

    async def topic_lag(self, topic: str, cursors: Mapping[int, int]) -> Lag:
        """As ``lag``, for any topic, by its name without the prefix; one that is missing has nothing."""
        async with self.connection.onlooker(topic) as (onlooker, partitions):
            ends = await _ends(onlooker, partitions)
            behind = {tp: cursors.get(tp.partition, 0) for tp, end in ends.items()}
            waiting = {tp: at for tp, at in behind.items() if at < ends[tp]}
            events = sum(ends[tp] - at for tp, at in waiting.items())
            return Lag(events, await oldest_age(onlooker, waiting, self._clock))

    async def ends(self, topic: str) -> Mapping[int, int]:
        """Where each partition of a topic ends, by its name without the prefix; none if missing."""
        async with self.connection.onlooker(topic) as (onlooker, partitions):
            return {tp.partition: end for tp, end in (await _ends(onlooker, partitions)).items()}

    def forget(self, subscription: "KafkaSubscription") -> None:
        """A subscription was closed."""
        self._subscriptions.discard(subscription)

    async def close(self) -> None:
        """Leave every group. Safe to repeat."""
        await asyncio.gather(*(subscription.close() for subscription in list(self._subscriptions)))


class KafkaSubscription(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """One member of a consumer group on one topic.

    A member that is behind and hears nothing is closed and made anew: after some faults of broker or client
    it would never hear anything again (aiokafka 625, 703, 1154, 1187).
    """

    def __init__(
        self,
        bus: KafkaBus,
        connection: KafkaConnection,
        consumer: str,
        source: str,
        spec: TopicSpec,
        cursors: Cursors,
        clock: Clock,
    ) -> None:
        self._bus, self._connection, self._clock = bus, connection, clock
        self._name, self._source, self._spec, self._cursors = consumer, source, spec, cursors
        self._member: AIOKafkaConsumer | None = None
        self._page: list[ConsumerRecord] = []
        self._done: dict[TopicPartition, int] = {}
        """How far each partition is dealt with; only those this member was told where to begin in."""
        self._committed: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._heard_at = self._progress_at = self._committed_at = self._now()
        self._closed = False

    @property
    def partitions(self) -> Sequence[int]:
        """What the group has given this member."""
        return sorted(tp.partition for tp in self._assignment())

    async def fetch(self, limit: int, wait_seconds: float) -> Page:
        """Read on. Records of partitions just given are dropped until the consumer said where to begin."""
        self._page_is_done()
        member = await self._joined()
        await self._place(member)
        await self._commit_now_and_then(member)
        try:
            batches = await self._records(member, limit, wait_seconds)
        except KAFKA_AWAY as error:
            await self._drop(member, type(error).__name__)
            raise KafkaAway from error
        records = [r for tp, some in batches.items() if tp in self._done for r in some]
        if any(record.offset < self._done[_partition(record)] for record in records):
            self._begin_again()
        if records:
            self._page = records
            self._heard_at = self._progress_at = self._now()
        elif self._now() - self._heard_at > PROBE_SECONDS:
            await self._probe(member)
        return Page([self._message(record) for record in records], self._through(records))

    async def _records(
        self, member: AIOKafkaConsumer, limit: int, wait_seconds: float
    ) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        try:
            # Bounded: while the group is rebalanced, aiokafka waits for as long as that takes.
            async with asyncio.timeout(wait_seconds + PROBE_TIMEOUT_SECONDS):
                return dict(await member.getmany(timeout_ms=int(wait_seconds * 1_000), max_records=limit))
        except TimeoutError:
            return {}
        except UnicodeDecodeError:
            # The name of a header is not UTF-8. What getmany had in hand is lost with it, so read all again.
            _log.warning("kafka.header_unreadable", consumer=self._name, source=self._source)
        batches: dict[TopicPartition, Sequence[ConsumerRecord]] = {}
        async with self._connection.raw() as client:
            for tp, at in dict(self._done).items():
                async with asyncio.timeout(REQUEST_SECONDS):
                    batches[tp] = await fetch_raw(client, tp, at, limit=limit, max_bytes=MAX_MESSAGE_BYTES)
        for tp in batches.keys() & self._assignment(member) & self._done.keys():
            member.seek(tp, batches[tp][-1].offset + 1 if batches[tp] else self._done[tp])
        return batches

    async def lag(self) -> Lag:
        """Events between what is done and the ends of this member's partitions."""
        if self._member is None or not self._done:
            return Lag(0, 0.0)
        done = dict(self._done)
        ends = await self._ask_ends(self._member, done)
        waiting = {tp: at for tp, at in done.items() if at < ends[tp]}
        events = sum(ends[tp] - at for tp, at in waiting.items())
        if (held := self._oldest_held()) is not None:
            return Lag(events, age_seconds(held, self._clock))
        if not waiting:
            return Lag(0, 0.0)
        async with self._connection.onlooker(self._spec.name) as (onlooker, _):
            return Lag(events, await oldest_age(onlooker, waiting, self._clock))

    async def close(self) -> None:
        """Say what is done and leave the group; with a lasting name, keep the place in it."""
        self._closed = True
        self._bus.forget(self)
        if (member := self._member) is not None:
            self._member = None
            with contextlib.suppress(TimeoutError, *KAFKA_AWAY):
                async with asyncio.timeout(_CLOSE_TIMEOUT_SECONDS):
                    await self._commit(member)
            await end_quietly(member)

    # --- what the group tells us --------------------------------------------------------------------------

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Another member may read these now; what is under way is kept apart by the cursor's row."""
        for tp in revoked:
            self._done.pop(tp, None)

    def on_partitions_assigned(self, _assigned: Iterable[TopicPartition]) -> None:
        """Nothing is handed out before the consumer's database said where to begin."""
        self._done.clear()
        self._progress_at = self._now()

    # --- joining, placing, committing ---------------------------------------------------------------------

    async def _joined(self) -> AIOKafkaConsumer:
        if self._member is None:
            await ensure_topics(self._connection, [self._spec])
            member = self._connection.member(f"{self._name}.{self._source}", self._spec.name, self)
            try:
                async with asyncio.timeout(self._connection.join_seconds):
                    await member.start()
                self._member = member
            except KAFKA_AWAY as error:
                raise KafkaAway from error
            finally:
                if self._member is not member:
                    await end_quietly(member)
            self._heard_at = self._progress_at = self._now()
        return self._member

    async def _place(self, member: AIOKafkaConsumer) -> None:
        """Seek to where the consumer's database says; beyond the end, the topic is not the one it knew."""
        while _is_settled(member) and (unplaced := self._assignment() - self._done.keys()):
            cursors = await self._cursors([tp.partition for tp in sorted(unplaced)])
            ends = await self._ask_ends(member, unplaced)
            if any(cursors.get(tp.partition, 0) > ends[tp] for tp in unplaced):
                self._begin_again()
            for tp in unplaced & self._assignment():
                at = cursors.get(tp.partition, 0)
                member.seek(tp, at)
                self._done[tp] = at
                self._committed.pop(tp, None)  # whoever had it before may have died before it said so

    def _begin_again(self) -> NoReturn:
        self._done.clear()
        self._page = []
        raise BeganAgain

    def _page_is_done(self) -> None:
        if self._page:
            self._progress_at = self._now()
        for record in self._page:
            tp = _partition(record)
            if tp in self._done:
                self._done[tp] = max(self._done[tp], record.offset + 1)
        self._page = []

    async def _pass_over(self, member: AIOKafkaConsumer) -> None:
        """Count as done what was read and held no record, such as the end of somebody's transaction."""
        with contextlib.suppress(TimeoutError, IllegalStateError):
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                for tp in list(self._done):
                    at = await member.position(tp)
                    if at < self._done.get(tp, 0):
                        self._begin_again()
                    if tp in self._done:
                        self._done[tp] = at

    async def _commit_now_and_then(self, member: AIOKafkaConsumer) -> None:
        if self._now() - self._committed_at < COMMIT_SECONDS:
            return
        self._committed_at = self._now()
        with contextlib.suppress(TimeoutError, *KAFKA_AWAY):
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                await self._commit(member)

    async def _commit(self, member: AIOKafkaConsumer) -> None:
        """Tell the broker what is done, for its own tools; a rebalance may refuse it, and nothing is lost."""
        news = {tp: at for tp, at in self._done.items() if at != self._committed.get(tp)}
        news = {tp: at for tp, at in news.items() if tp in self._assignment(member)}
        if news and _is_settled(member):
            with contextlib.suppress(CommitFailedError, IllegalStateError):
                await member.commit(news)
                self._committed |= news

    # --- are the brokers there, and are we behind ---------------------------------------------------------

    async def _probe(self, member: AIOKafkaConsumer) -> None:
        """Ask for the ends. Raises ``KafkaAway`` when nobody answers; drops a member that has stalled."""
        ends = await self._ask_ends(member, await self._all_partitions(member))
        self._heard_at = self._now()
        await self._pass_over(member)
        if await self._is_behind(member, ends):
            if self._now() - self._progress_at > STALLED_SECONDS:
                await self._drop(member, "stalled")
        else:
            self._progress_at = self._now()

    async def _is_behind(self, member: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> bool:
        """Whether there is something this member should be hearing.

        One without partitions looks at the whole group: if nobody moves on, it may be the one who should.
        """
        if assigned := self._assignment(member):
            return any(self._done.get(tp, 0) < ends.get(tp, 0) for tp in assigned)
        cursors = await self._cursors([tp.partition for tp in ends])
        done = {tp: cursors.get(tp.partition, 0) for tp in ends}
        moved, self._ends = done != self._ends, done
        return not moved and any(done[tp] < end for tp, end in ends.items())

    async def _all_partitions(self, member: AIOKafkaConsumer) -> set[TopicPartition]:
        topic = self._connection.topic(self._spec.name)
        return {TopicPartition(topic, p) for p in member.partitions_for_topic(topic) or ()}

    async def _ask_ends(
        self, member: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, int]:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                return await _ends(member, partitions)
        except KAFKA_AWAY as error:
            raise KafkaAway from error

    async def _drop(self, member: AIOKafkaConsumer, why: str) -> None:
        _log.warning("kafka.member_made_anew", consumer=self._name, source=self._source, why=why)
        metrics.CONSUMER_REBUILDS.labels(self._name, self._source).inc()
        self._member = None
        self._done.clear()
        await end_quietly(member)

    # --- messages -----------------------------------------------------------------------------------------

    def _through(self, records: Sequence[ConsumerRecord]) -> dict[int, int]:
        through = {tp.partition: at for tp, at in self._done.items()}
        return through | {record.partition: record.offset + 1 for record in records}

    def _message(self, record: ConsumerRecord) -> Message:
        # No name may hold a NUL: PostgreSQL could not write it down, and what cannot be parked blocks all.
        headers = tuple((name.replace("\0", "\ufffd"), value or b"") for name, value in record.headers)
        return Message(
            self._source,
            record.partition,
            record.offset + 1,
            headers,
            record.value or b"",
            taken_in_at(record),
        )

    def _oldest_held(self) -> datetime | None:
        return min((at for record in self._page if (at := recorded_at(record)) is not None), default=None)

    def _assignment(self, member: AIOKafkaConsumer | None = None) -> set[TopicPartition]:
        member = member or self._member
        return set() if member is None else set(member.assignment())

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _partition(record: ConsumerRecord) -> TopicPartition:
    return TopicPartition(record.topic, record.partition)


def _is_settled(member: AIOKafkaConsumer) -> bool:
    """Whether the group is not being rebalanced.

    A commit refused then makes aiokafka forget who it is, which breaks the rebalance off, and on (0.14).
    """
    return not member._subscription.reassignment_in_progress  # noqa: SLF001  it tells nobody else


async def _ends(
    consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, int]:
    asked = list(partitions)
    return dict(await consumer.end_offsets(asked)) if asked else {}
