import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.producer import message_accumulator, producer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from prometheus_client import REGISTRY as METRICS
from tests.component.ledger_service import LEDGER, READER, to
from tests.component.ledger_service.hearing import Effect, Hearing
from tests.component.ledger_service.on_topics import (
    PARTITIONS,
    SPEC,
    Relays,
    ends,
    numbered,
    recorded,
    relays,
)
from tests.component.ledger_service.waiting import until

from hub_embedded.kafka_broker import KafkaBroker
from hub_kernel import consuming
from hub_kernel.clock import FixedClock, new_id
from hub_kernel.consuming import Consumer
from hub_kernel.database import Connection
from hub_kernel.event_store import EventStore
from hub_kernel.kafka import KafkaBus, KafkaConnection, bus, connection, relay
from hub_kernel.kafka.bus import KafkaSubscription
from hub_kernel.ports import Lag
from hub_schemas.envelope import RecordedEvent

SESSION_SECONDS = 1.5


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members that look, commit and give up without making a test wait."""
    monkeypatch.setattr(bus, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(bus, "PROBE_TIMEOUT_SECONDS", 1.0)
    monkeypatch.setattr(bus, "STALLED_SECONDS", 1.0)
    monkeypatch.setattr(bus, "COMMIT_SECONDS", 0.02)
    monkeypatch.setattr(consuming, "WAIT_SECONDS", 0.2)
    monkeypatch.setattr(consuming, "OUTAGE_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(consuming, "HOUSEKEEPING_SECONDS", 0.1)
    monkeypatch.setattr(relay, "KEEP_SECONDS", 0.02)


@pytest.fixture
def prefix() -> str:
    return f"{new_id().hex}."


@pytest.fixture
async def relaying(
    kafka: KafkaBroker, prefix: str, ledger_dsn: str, ledger: EventStore, clock: FixedClock
) -> AsyncIterator[Relays]:
    async with relays(ledger_dsn, ledger, clock, kafka.bootstrap, prefix) as running:
        running.start()
        yield running


class Member:
    """One process's consumer of the ledger: its bus, its member of the group, its task."""

    def __init__(self, consumer: Consumer, bus: KafkaBus) -> None:
        self.consumer, self._bus = consumer, bus
        self._stopping = asyncio.Event()
        self._task = asyncio.create_task(consumer.run(self._stopping))

    @property
    def subscription(self) -> KafkaSubscription:
        """Its place on the bus, once it runs."""
        [subscription] = self._bus._subscriptions
        return subscription

    @property
    def partitions(self) -> Sequence[int]:
        """What the group has given it."""
        return [] if not self._bus._subscriptions else self.subscription.partitions

    async def until_it_has(self, partitions: int) -> None:
        """Return when the group has given it so many, and it knows where to begin."""

        async def has() -> bool:
            return len(self.partitions) == partitions and len(self.subscription._done) == partitions

        await until(has, 20)

    async def stop(self) -> None:
        """As when its process is asked to end."""
        self._stopping.set()
        async with asyncio.timeout(15):
            with suppress(asyncio.CancelledError):
                await self._task

    async def die(self) -> None:
        """As when its process is killed: it neither finishes nor leaves."""
        member: Any = self.subscription._member
        before = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
        self.subscription._member = None
        self._bus._subscriptions.clear()
        self._task.cancel()
        own = [member._coordinator._coordination_task, member._coordinator._heartbeat_task]
        own += [member._coordinator._commit_refresh_task, member._fetcher._fetch_task]
        own += list(member._fetcher._pending_tasks)
        assert before.issuperset(task for task in own if task is not None and not task.done())
        for task in own:
            if task is not None:
                task.cancel()
        await asyncio.wait([self._task, *(task for task in own if task is not None)], timeout=5)
        member._closed = True
        await member._client.close()


class Group:
    """Members of one consumer, each with connections of its own, over one database."""

    def __init__(
        self, bootstrap: str, prefix: str, pool: asyncpg.Pool, owner: asyncpg.Connection, clock: FixedClock
    ) -> None:
        self._bootstrap, self._prefix, self._pool, self._clock = bootstrap, prefix, pool, clock
        self.hearing = Hearing(pool, owner, clock)
        self._members: list[Member] = []
        self.handled: list[int] = []

    def connection(
        self, instance: str | None = None, session_seconds: float = SESSION_SECONDS
    ) -> KafkaConnection:
        """One process's connection."""
        return KafkaConnection(
            self._bootstrap, prefix=self._prefix, instance=instance, session_seconds=session_seconds
        )

    def join(
        self, instance: str | None = None, *, session_seconds: float = SESSION_SECONDS, pause: float = 0.0
    ) -> Member:
        """Another member."""
        kafka = KafkaBus(self.connection(instance, session_seconds), self._clock, partitions=PARTITIONS)

        async def handle(connection: Connection, events: Sequence[RecordedEvent]) -> None:
            for event in events:
                self.handled.append(event.position)
                await connection.execute(
                    "INSERT INTO reader.effects VALUES ($1, $2)", event.stream_id, event.version
                )
            await asyncio.sleep(pause)

        consumer = Consumer(
            READER.name,
            LEDGER.schema,
            schema=READER.schema,
            pool=self._pool,
            bus=kafka,
            handler=handle,
            clock=self._clock,
        )
        self._members.append(Member(consumer, kafka))
        return self._members[-1]

    async def until_heard(self, ledger: EventStore) -> None:
        """Return when every event's effect is there; then each is there once, and in its stream's order."""
        expected = sorted((event.stream_id, event.version) for event in await recorded(ledger))

        async def heard() -> bool:
            return len(await self.hearing.effects()) >= len(expected)

        try:
            await until(heard, 30)
        finally:
            assert await self.hearing.effects() == expected
        streams: dict[str, list[int]] = defaultdict(list)
        for stream_id, version in await self.hearing.effects_in_order():
            streams[stream_id].append(version)
        assert all(versions == sorted(versions) for versions in streams.values())
        assert await self.hearing.parked() == []

    async def committed(self) -> dict[int, int]:
        """What the broker was told is done."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap, group_id=f"{self._prefix}reader.ledger"
        )
        await consumer.start()
        try:
            topic = f"{self._prefix}{SPEC.name}"
            offsets = {p: await consumer.committed(TopicPartition(topic, p)) for p in range(PARTITIONS)}
        finally:
            await consumer.stop()
        return {partition: at for partition, at in offsets.items() if at is not None}

    async def close(self) -> None:
        """End every member."""
        for member in self._members:
            await member.stop()


@pytest.fixture
async def group(
    kafka: KafkaBroker,
    prefix: str,
    reader_pool: asyncpg.Pool,
    owner: asyncpg.Connection,
    clock: FixedClock,
) -> AsyncIterator[Group]:
    group = Group(kafka.bootstrap, prefix, reader_pool, owner, clock)
    yield group
    await group.close()


@asynccontextmanager
async def load(ledger: EventStore) -> AsyncIterator[None]:
    """Facts recorded all the time while the block lasts."""
    is_over = asyncio.Event()

    async def append() -> None:
        for first in itertools.count(100_000, 12):
            await ledger.append(numbered(first, first + 11))
            await asyncio.sleep(0.01)
            if is_over.is_set():
                return

    appending = asyncio.create_task(append())
    try:
        yield
    finally:
        is_over.set()
        await appending


async def shared(*members: Member) -> None:
    """Return when these members have all partitions among them, and each has some."""

    async def given() -> bool:
        return sorted(p for member in members for p in member.partitions) == list(range(PARTITIONS)) and all(
            member.partitions for member in members
        )

    await until(given, 20)


def rebuilds() -> float:
    labels = {"consumer": READER.name, "source": LEDGER.schema}
    return METRICS.get_sample_value("hub_consumer_rebuilds_total", labels) or 0.0


# --- joining and leaving ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("relaying")
async def test_members_that_come_and_go_under_load_make_every_effect_once_and_in_order(
    group: Group, ledger: EventStore
) -> None:
    async with load(ledger):
        first = group.join()
        await first.until_it_has(4)
        second = group.join()
        await shared(first, second)
        third = group.join()
        await shared(first, second, third)
        await first.stop()
        await shared(second, third)
        fourth = group.join()
        await shared(second, third, fourth)
        await second.stop()
        await third.stop()
        await fourth.until_it_has(4)
    await group.until_heard(ledger)


@pytest.mark.usefixtures("relaying")
async def test_of_more_members_than_partitions_one_waits_calmly_and_takes_over(
    group: Group, ledger: EventStore
) -> None:
    members = [group.join() for _ in range(PARTITIONS + 1)]

    def given() -> list[int]:
        return sorted(len(member.partitions) for member in members)

    async def all_given() -> bool:
        return given() == [0, 1, 1, 1, 1]

    await until(all_given, 20)
    before = rebuilds()
    async with load(ledger):
        await asyncio.sleep(1.5)
    await group.until_heard(ledger)
    assert rebuilds() == before
    [spare] = [member for member in members if not member.partitions]
    await next(member for member in members if member.partitions).stop()
    await spare.until_it_has(1)
    await ledger.append(numbered(1, 60))
    await group.until_heard(ledger)


@pytest.mark.usefixtures("relaying")
async def test_a_member_that_dies_without_leaving_is_replaced_after_its_session(
    group: Group, ledger: EventStore
) -> None:
    loop = asyncio.get_running_loop()
    async with load(ledger):
        first, second = group.join(), group.join()
        await second.until_it_has(2)
        await first.die()
        died_at = loop.time()
        await second.until_it_has(4)
        assert loop.time() - died_at < SESSION_SECONDS + 3
    await group.until_heard(ledger)


@pytest.mark.usefixtures("relaying")
async def test_joining_waits_for_as_long_as_the_group_waits_for_a_dead_member(
    group: Group, ledger: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = group.join(session_seconds=3)
    await first.until_it_has(4)
    monkeypatch.setattr(connection, "START_SECONDS", 1.0)
    await first.die()
    second = group.join(session_seconds=3)
    seen: list[bool] = []

    async def given() -> bool:
        seen.append(second.consumer.standing.is_away)
        return len(second.partitions) == 4

    await until(given, 20)
    assert not any(seen)
    await ledger.append(numbered(1, 60))
    await group.until_heard(ledger)


@pytest.mark.usefixtures("relaying")
async def test_a_member_with_a_lasting_name_takes_up_its_partitions_without_the_others_noticing(
    group: Group, ledger: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = group.join("reader-0", session_seconds=10)
    await first.until_it_has(4)
    second = group.join("reader-1", session_seconds=10)
    await second.until_it_has(2)
    await first.until_it_has(2)
    own, revoked = first.partitions, 0
    noticed = second.subscription.on_partitions_revoked

    def counted(partitions: Any) -> None:
        nonlocal revoked
        revoked += 1
        noticed(partitions)

    monkeypatch.setattr(second.subscription, "on_partitions_revoked", counted)
    async with load(ledger):
        loop = asyncio.get_running_loop()
        stopped_at = loop.time()
        await first.stop()
        again = group.join("reader-0", session_seconds=10)
        await again.until_it_has(2)
        assert loop.time() - stopped_at < 5
    await group.until_heard(ledger)
    assert (again.partitions, revoked) == (own, 0)


# --- members that hear nothing ---------------------------------------------------------------------------


async def never(*_: Any) -> bool:
    return await asyncio.Event().wait()


async def hears_nothing(**_options: Any) -> dict[TopicPartition, list[Any]]:
    await asyncio.sleep(0.05)
    return {}


async def waits_for_ever(**_options: Any) -> dict[TopicPartition, list[Any]]:
    await asyncio.Event().wait()
    return {}


@pytest.mark.usefixtures("relaying")
@pytest.mark.parametrize("wedged", [hears_nothing, waits_for_ever])
async def test_a_member_that_is_behind_and_hears_nothing_is_made_anew(
    wedged: Callable[..., Any], group: Group, ledger: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.append(numbered(1, 60))
    first = group.join()
    await group.until_heard(ledger)
    before = rebuilds()
    member: Any = first.subscription._member
    asked = asyncio.Event()

    def getmany(**options: Any) -> Any:
        asked.set()
        return wedged(**options)

    monkeypatch.setattr(member, "getmany", getmany)
    await asked.wait()
    await ledger.append(numbered(61, 120))
    await group.until_heard(ledger)
    assert (rebuilds() - before, first.subscription._member is member) == (1.0, False)


@pytest.mark.usefixtures("relaying")
async def test_a_member_that_is_slow_or_idle_is_left_alone(group: Group, ledger: EventStore) -> None:
    before = rebuilds()
    group.join(pause=0.7)
    await ledger.append(numbered(1, 60))
    await group.until_heard(ledger)
    await asyncio.sleep(1.5)
    assert rebuilds() == before


@pytest.mark.usefixtures("relaying")
async def test_the_time_an_effect_takes_does_not_count_as_silence(
    group: Group, ledger: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = group.join(pause=1.5)
    await slow.until_it_has(4)
    before = rebuilds()
    member: Any = slow.subscription._member
    getmany, silent = member.getmany, 0

    async def silent_after_the_effect(**options: Any) -> Any:
        nonlocal silent
        if group.handled and silent < 3:
            silent += 1
            return await hears_nothing()
        return await getmany(**options)

    monkeypatch.setattr(member, "getmany", silent_after_the_effect)
    await ledger.append([to("entry-a", "1")])

    async def handled() -> bool:
        return bool(group.handled)

    await until(handled)
    await ledger.append([to("entry-a", "2")])
    await group.until_heard(ledger)
    assert (rebuilds(), silent) == (before, 3)


@pytest.mark.usefixtures("relaying")
async def test_a_consumer_cancelled_while_it_joins_leaves_no_member_behind(group: Group) -> None:
    first = group.join()
    await first.until_it_has(4)
    joining = group.join()

    async def under_way() -> bool:
        return any("GroupCoordinator._coordination_routine" in name for name in running() - before)

    before = running()
    await until(under_way)
    joining._task.cancel()
    await asyncio.wait([joining._task])
    await first.until_it_has(4)
    assert sum("GroupCoordinator._coordination_routine" in name for name in running()) == 1


def running() -> set[str]:
    return {f"{task.get_name()} {task.get_coro()!r}" for task in asyncio.all_tasks()}


# --- what the broker is told -----------------------------------------------------------------------------


@pytest.mark.usefixtures("relaying")
async def test_offsets_committed_follow_what_is_done_and_never_run_ahead(
    group: Group, ledger: EventStore
) -> None:
    first = group.join()
    async with load(ledger):
        await first.until_it_has(4)
        second = group.join()
        for _ in range(25):
            told = await group.committed()
            cursors = await group.hearing.cursors()
            assert all(at <= cursors.get(partition, 0) for partition, at in told.items())
        await second.stop()
    await group.until_heard(ledger)
    topic_ends = await ends(group.connection())

    async def told_all() -> bool:
        return await group.committed() == topic_ends

    await until(told_all)


@pytest.mark.usefixtures("relaying")
async def test_a_member_tells_what_the_one_before_it_died_without_telling(
    group: Group, ledger: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "COMMIT_SECONDS", 3_600.0)
    await ledger.append(numbered(1, 60))
    first = group.join()
    await group.until_heard(ledger)
    await first.die()
    assert await group.committed() == {}
    monkeypatch.setattr(bus, "COMMIT_SECONDS", 0.02)
    group.join()
    topic_ends = await ends(group.connection())

    async def told_all() -> bool:
        return await group.committed() == topic_ends

    await until(told_all)


@pytest.mark.usefixtures("relaying")
async def test_commits_while_the_group_is_rebalanced_do_not_hold_up_the_rebalance(
    group: Group, ledger: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_REBALANCE_SECONDS", 2.0)
    monkeypatch.setattr(bus, "COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(bus, "PROBE_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr(bus, "STALLED_SECONDS", 60.0)
    first, second = group.join(), group.join()
    await second.until_it_has(2)
    await first.until_it_has(2)
    # One that does not come to the rebalance, and for which the group waits as long as its session lasts.
    absent: Any = first.subscription._member
    monkeypatch.setattr(absent._coordinator, "_do_rejoin_group", never)
    before = rebuilds()
    async with load(ledger):
        third = group.join()

        await shared(second, third)
    await first.die()
    await group.until_heard(ledger)
    assert rebuilds() == before


# --- what does not belong on the topic -------------------------------------------------------------------


class Unencodable(str):
    """The name of a header whose bytes are no text."""

    __slots__ = ()

    def encode(self, *_: str) -> bytes:
        """Bytes that are no UTF-8."""
        return b"\xff\xfe"


POISON: dict[str, tuple[bytes | None, list[tuple[str, bytes | None]]]] = {
    "no value": (None, []),
    "a header without a value": (b"{}", [("ce_id", None)]),
    "a name with a NUL": (b"{}", [("ce_\x00id", b"x")]),
    "a value that is no text": (b"{}", [("ce_id", b"\xff\xfe")]),
    "a name that is no text": (b"{}", [(Unencodable("ce"), b"x")]),
    "an instant without a zone": (b"{}", [("ce_recordedtime", b"2026-03-02T12:00:00")]),
}


@pytest.mark.usefixtures("relaying")
@pytest.mark.parametrize("poison", POISON)
async def test_a_record_that_is_no_fact_is_parked_and_stops_nobody(
    poison: str,
    group: Group,
    ledger: EventStore,
    kafka: KafkaBroker,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Written in Python, it takes the name of a header from whatever says it can encode it.
    for module in (producer, message_accumulator):
        monkeypatch.setattr(module, "DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy)
    await ledger.append(numbered(1, 24))
    member = group.join()
    await group.until_heard(ledger)
    await member.stop()
    value, headers = POISON[poison]
    cursors = await group.hearing.cursors()
    partition = max(cursors, key=lambda partition: cursors[partition])
    at = (await ends(group.connection()))[partition]
    await send(kafka, f"{prefix}{SPEC.name}", partition, value, headers)
    await ledger.append(numbered(25, 60))
    expected: list[Effect] = sorted((e.stream_id, e.version) for e in await recorded(ledger))
    slow = group.join(pause=0.7)  # so that its lag is asked for while the record waits

    async def behind() -> bool:
        return slow.consumer.standing.lag.events > 0

    await until(behind)
    await group.hearing.until_effects(expected)
    await group.hearing.until_parked([(f"unreadable-{partition}-{at + 1}", 1, "unreadable")])

    async def nothing_waits() -> bool:
        return slow.consumer.standing.lag == Lag(0, 0.0) and not slow._task.done()

    await until(nothing_waits)


async def send(
    kafka: KafkaBroker, topic: str, partition: int, value: bytes | None, headers: Any, **options: Any
) -> None:
    async with (
        AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, **options) as sender,
        sender.transaction() if options else nullcontext(),
    ):
        await sender.send_and_wait(topic, value, b"key", partition, headers=headers)


@pytest.mark.usefixtures("relaying")
async def test_the_end_of_somebodys_transaction_is_not_waited_for(
    group: Group, ledger: EventStore, kafka: KafkaBroker, prefix: str
) -> None:
    await ledger.append(numbered(1, 24))
    member = group.join()
    await group.until_heard(ledger)
    before = rebuilds()
    await send(kafka, f"{prefix}{SPEC.name}", 1, b"{}", [], transactional_id=f"{prefix}tx")

    async def parked() -> bool:
        return len(await group.hearing.parked()) == 1

    await until(parked)

    async def told_all() -> bool:
        topic_ends = await ends(group.connection())
        has_marker = sum(topic_ends.values()) == 24 + 2
        is_told = await group.committed() == topic_ends
        return has_marker and is_told and member.consumer.standing.lag == Lag(0, 0.0)

    await until(told_all)
    await asyncio.sleep(1.5)
    assert rebuilds() == before
