import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from urllib.parse import urlsplit

import asyncpg
import pytest
import structlog
from prometheus_client import REGISTRY as METRICS
from tests.component.ledger_service import LEDGER, NOON, entry, to
from tests.component.ledger_service.hearing import Hearing, running
from tests.component.ledger_service.on_topics import (
    PARTITIONS,
    SPEC,
    Relays,
    by_partition,
    ends,
    numbered,
    published,
    recorded,
    relays,
)
from tests.component.ledger_service.waiting import until
from tests.contract.mock_cluster import (
    BROKERS,
    NOT_ENOUGH_REPLICAS,
    NOT_LEADER,
    PRODUCE,
    REQUEST_TIMED_OUT,
    MockCluster,
)

from hub_embedded.kafka_broker import KafkaBroker
from hub_kernel.clock import FixedClock, new_id
from hub_kernel.errors import Unavailable
from hub_kernel.event_store import ANY_VERSION, EventStore, NewEvent, StreamAppend
from hub_kernel.kafka import KafkaBus, KafkaConnection, bus, lease, relay
from hub_kernel.ports import Lag
from hub_kernel.standing import Standing
from hub_kernel.testing import dsn_for

LEASE_SECONDS = 1.5


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Relays that look, save and try again without making a test wait."""
    monkeypatch.setattr(relay, "KEEP_SECONDS", 0.02)
    monkeypatch.setattr(relay, "LAG_SECONDS", 0.05)
    monkeypatch.setattr(relay, "WATCH_SECONDS", 0.2)
    monkeypatch.setattr(relay, "_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(relay, "_LONGEST_PAUSE_SECONDS", 0.2)
    monkeypatch.setattr(relay, "_LEASE_MARGIN_SECONDS", 0.5)
    for module in (lease, relay):
        monkeypatch.setattr(module, "LEASE_SECONDS", LEASE_SECONDS)


@pytest.fixture
def connection(kafka: KafkaBroker) -> KafkaConnection:
    """The real broker, under a prefix of this test's own."""
    return KafkaConnection(kafka.bootstrap, prefix=f"{new_id().hex}.", session_seconds=2)


@pytest.fixture
async def relaying(
    kafka: KafkaBroker, connection: KafkaConnection, ledger_dsn: str, ledger: EventStore, clock: FixedClock
) -> AsyncIterator[Relays]:
    async with relays(ledger_dsn, ledger, clock, kafka.bootstrap, connection.prefix) as running:
        yield running


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with MockCluster() as cluster:
        yield cluster


@pytest.fixture
def mocked(cluster: MockCluster) -> KafkaConnection:
    """The small cluster that can be told to fail, with the ledger's topic on it."""
    connection = KafkaConnection(cluster.bootstrap, prefix="mocked.")
    cluster.create_topic(connection.topic(SPEC.name), PARTITIONS)
    return connection


@pytest.fixture
async def mock_relaying(
    cluster: MockCluster,
    mocked: KafkaConnection,
    ledger_dsn: str,
    ledger: EventStore,
    clock: FixedClock,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Relays]:
    monkeypatch.setattr(relay, "ACKNOWLEDGE_SECONDS", 1.0)
    async with relays(ledger_dsn, ledger, clock, cluster.bootstrap, mocked.prefix) as running:
        yield running


async def row(owner: asyncpg.Connection) -> tuple[int, int, bool]:
    """The relay's row: epoch, cursor, and whether somebody holds the lease."""
    found = await owner.fetchrow(
        "SELECT epoch, position, held_until > clock_timestamp() AS is_held FROM ledger.relay"
    )
    return (0, 0, False) if found is None else (found["epoch"], found["position"], found["is_held"])


async def holds(owner: asyncpg.Connection, epoch: int) -> None:
    """Return when a relay has taken the lease under this epoch."""

    async def taken() -> bool:
        return (await row(owner))[0] == epoch

    await until(taken)


async def assert_whole(connection: KafkaConnection, ledger: EventStore) -> None:
    """The topic holds all of the log, each partition in its order, repeats aside."""
    assert (await published(connection)).first_occurrences == by_partition(await recorded(ledger))


# --- order and completeness ------------------------------------------------------------------------------


async def test_what_many_append_at_once_is_published_whole_and_in_the_order_of_the_log(
    relaying: Relays, connection: KafkaConnection, ledger: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "PAGE_EVENTS", 7)

    async def write(writer: int) -> None:
        for n in range(20):
            await ledger.append(numbered(1_000 * writer + 5 * n, 1_000 * writer + 5 * n + 4))

    running_relay = relaying.start()
    await asyncio.gather(*(write(writer) for writer in range(1, 9)))
    await relaying.until_published(running_relay)
    await assert_whole(connection, ledger)
    assert (await published(connection)).positions == by_partition(await recorded(ledger))


async def test_a_fact_of_six_mebibytes_is_published_and_heard(
    relaying: Relays, connection: KafkaConnection, ledger: EventStore, hearing: Hearing, clock: FixedClock
) -> None:
    small = entry("small")
    large = NewEvent(
        event_id=new_id(),
        type=small.type,
        schema_version=1,
        occurred_at=NOON,
        correlation_id=small.correlation_id,
        causation_id=None,
        actor="tester",
        traceparent=None,
        open=b'{"amount":1,"filler":"' + b"x" * 6 * 1_024 * 1_024 + b'"}',
    )
    events = [small, large, entry("after")]
    await ledger.append([StreamAppend("entry-large", ANY_VERSION, events)])
    relaying.start()
    async with running(hearing.consumer(KafkaBus(connection, clock, partitions=PARTITIONS))):
        await hearing.until_effects([("entry-large", 1), ("entry-large", 2), ("entry-large", 3)])


# --- the lease -------------------------------------------------------------------------------------------


async def test_while_one_relay_has_the_lease_another_publishes_nothing(
    relaying: Relays, connection: KafkaConnection, ledger: EventStore, owner: asyncpg.Connection
) -> None:
    first = relaying.start()
    await holds(owner, 1)
    second = relaying.start()
    for n in range(1, 200, 10):
        await ledger.append(numbered(n, n + 9))
    await relaying.until_published(first)
    assert (await published(connection)).positions == by_partition(await recorded(ledger))
    assert (await row(owner))[0] == 1
    await relaying.stop(first)
    await holds(owner, 2)
    await ledger.append(numbered(201, 220))
    await relaying.until_published(second)
    assert (await published(connection)).positions == by_partition(await recorded(ledger))


async def test_a_relay_that_died_is_followed_by_another_when_its_lease_ran_out(
    relaying: Relays,
    connection: KafkaConnection,
    ledger: EventStore,
    owner: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay._Held, "give_back", never_given_back)
    first = relaying.start()
    await ledger.append(numbered(1, 300))
    await relaying.until_published(first)
    appending = asyncio.create_task(append_in_pieces(ledger, 301, 900))
    await relaying.cancel(first)
    loop = asyncio.get_running_loop()
    died_at = loop.time()
    second = relaying.start()
    await holds(owner, 2)
    assert loop.time() - died_at > LEASE_SECONDS - 0.2
    await appending
    await relaying.until_published(second)
    await assert_whole(connection, ledger)


async def never_given_back(_held: object) -> None:
    """As when the process is gone."""


async def append_in_pieces(ledger: EventStore, first: int, last: int) -> None:
    for n in range(first, last, 20):
        await ledger.append(numbered(n, min(n + 19, last)))


async def test_a_relay_with_a_lasting_name_takes_up_its_own_lease_at_once(
    relaying: Relays, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay._Held, "give_back", never_given_back)
    for module in (lease, relay):
        monkeypatch.setattr(module, "LEASE_SECONDS", 3_600.0)
    await relaying.cancel(await begun(relaying, owner, 1, "ledger-0"))
    await begun(relaying, owner, 2, "ledger-0")


async def begun(relaying: Relays, owner: asyncpg.Connection, epoch: int, instance: str) -> relay.Relay:
    started = relaying.start(instance)
    await holds(owner, epoch)
    return started


async def test_a_frozen_relay_stops_before_its_lease_runs_out_and_is_followed(
    relaying: Relays,
    connection: KafkaConnection,
    ledger: EventStore,
    owner: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = relaying.start()
    await ledger.append(numbered(1, 50))
    await relaying.until_published(first)
    thawed = asyncio.Event()
    keep = lease.RelayTable.keep

    async def frozen(table: lease.RelayTable, epoch: int, position: int) -> None:
        if epoch == 1:
            await thawed.wait()
        await keep(table, epoch, position)

    monkeypatch.setattr(lease.RelayTable, "keep", frozen)
    second = relaying.start()
    await holds(owner, 2)
    appending = asyncio.create_task(append_in_pieces(ledger, 51, 400))
    thawed.set()
    await appending
    await relaying.until_published(second)
    await assert_whole(connection, ledger)
    assert await row(owner) == (2, 400, True)


async def test_a_relay_that_could_not_renew_its_lease_sends_nothing_before_it_has_a_new_one(
    relaying: Relays, ledger: EventStore, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "_STOP_SECONDS", 0.1)
    keep = lease.RelayTable.keep

    async def frozen(table: lease.RelayTable, epoch: int, position: int) -> None:
        if epoch == 1:
            await asyncio.Event().wait()
        await keep(table, epoch, position)

    monkeypatch.setattr(lease.RelayTable, "keep", frozen)
    first = await begun(relaying, owner, 1, "ledger-0")
    await asyncio.sleep(
        LEASE_SECONDS - 0.4
    )  # so far its lease still holds, but not as long as a send may take
    assert await row(owner) == (1, 0, True)
    await ledger.append(numbered(1, 20))
    await relaying.until_published(first)
    assert await row(owner) == (2, 20, True)


async def test_a_relay_whose_epoch_is_past_stops_and_leaves_the_cursor_alone(
    relaying: Relays, connection: KafkaConnection, ledger: EventStore, owner: asyncpg.Connection
) -> None:
    first = relaying.start()
    await ledger.append(numbered(1, 50))
    await relaying.until_published(first)
    with structlog.testing.capture_logs() as logged:
        await owner.execute(
            "UPDATE ledger.relay SET epoch = 7, position = 20, holder = 'another',"
            " held_until = clock_timestamp() + interval '1 hour'"
        )

        async def lost() -> bool:
            return any(line.get("error") == "LeaseLost" for line in logged)

        await until(lost)
    before = await ends(connection)
    await ledger.append(numbered(51, 60))
    await tries(first)
    assert (await ends(connection), await row(owner)) == (before, (7, 20, True))
    await owner.execute("UPDATE ledger.relay SET held_until = '-infinity'")
    await relaying.until_published(first)
    await assert_whole(connection, ledger)
    assert await row(owner) == (8, 60, True)


async def tries(waiting: relay.Relay) -> None:
    """Return when a relay has asked for the lease twice more, in vain."""
    asked = 0
    take = waiting._table.take

    async def counted(holder: str) -> lease.Lease | None:
        nonlocal asked
        asked += 1
        return await take(holder)

    waiting._table.take = counted  # type: ignore[method-assign]  # one relay's table alone

    async def twice() -> bool:
        return asked >= 2

    await until(twice)


# --- stopping --------------------------------------------------------------------------------------------


async def test_a_relay_told_to_stop_first_sends_what_the_log_holds_and_gives_the_lease_back(
    relaying: Relays, connection: KafkaConnection, ledger: EventStore, owner: asyncpg.Connection
) -> None:
    first = relaying.start()
    await holds(owner, 1)
    await ledger.append(numbered(1, 1_200))
    await relaying.stop(first)
    assert await row(owner) == (1, 1_200, False)
    assert (await published(connection)).positions == by_partition(await recorded(ledger))


async def test_what_a_cancelled_relay_had_under_way_counts_as_not_sent(
    mock_relaying: Relays,
    mocked: KafkaConnection,
    cluster: MockCluster,
    ledger: EventStore,
    owner: asyncpg.Connection,
) -> None:
    first = mock_relaying.start()
    await ledger.append(numbered(1, 20))
    await mock_relaying.until_published(first)
    cluster.set_rtt(300)
    await ledger.append(numbered(21, 40))
    await asyncio.sleep(0.2)
    await mock_relaying.cancel(first)
    cluster.set_rtt(0)
    assert await row(owner) == (1, 20, False)
    await mock_relaying.until_published(mock_relaying.start())
    await assert_whole(mocked, ledger)
    assert (await row(owner))[:2] == (2, 40)


# --- brokers at fault ------------------------------------------------------------------------------------


Fault = Callable[[MockCluster, KafkaConnection], Awaitable[None]]


async def refused(cluster: MockCluster, _connection: KafkaConnection) -> None:
    cluster.push_errors(PRODUCE, *[NOT_LEADER, REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS] * 4)


async def moved(cluster: MockCluster, connection: KafkaConnection) -> None:
    for n in range(6):
        cluster.set_leader(connection.topic(SPEC.name), n % PARTITIONS, 1 + n % BROKERS)
        await asyncio.sleep(0.05)


async def gone(cluster: MockCluster, _connection: KafkaConnection) -> None:
    async with away(cluster):
        await asyncio.sleep(1.5)


async def one_gone(cluster: MockCluster, _connection: KafkaConnection) -> None:
    cluster.broker_down(1)
    await asyncio.sleep(1.5)
    cluster.broker_up(1)


@asynccontextmanager
async def away(cluster: MockCluster) -> AsyncIterator[None]:
    for broker in range(1, BROKERS + 1):
        cluster.broker_down(broker)
    try:
        yield
    finally:
        for broker in range(1, BROKERS + 1):
            cluster.broker_up(broker)


@pytest.mark.parametrize("fault", [refused, moved, gone, one_gone])
async def test_whatever_brokers_do_nothing_is_lost_and_the_cursor_is_never_ahead_of_the_topic(
    fault: Fault,
    mock_relaying: Relays,
    mocked: KafkaConnection,
    cluster: MockCluster,
    ledger: EventStore,
    owner: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay, "PAGE_EVENTS", 10)
    samples: list[tuple[int, dict[int, int]]] = []

    async def sample() -> None:
        while True:
            _, position, _ = await row(owner)
            try:
                samples.append((position, await ends(mocked)))
            except Unavailable:
                await asyncio.sleep(0.05)

    first = mock_relaying.start()
    await ledger.append(numbered(1, 50))
    await mock_relaying.until_published(first)
    sampling = asyncio.create_task(sample())
    appending = asyncio.create_task(append_in_pieces(ledger, 51, 300))
    await fault(cluster, mocked)
    await appending
    await mock_relaying.until_published(first)
    sampling.cancel()
    await assert_whole(mocked, ledger)
    on_topic = await published(mocked)
    assert samples
    for position, through in samples:
        assert set(range(1, position + 1)) <= on_topic.through(through)


async def test_what_an_outage_interrupts_leaves_nothing_running_that_would_send_it_later(
    mock_relaying: Relays, mocked: KafkaConnection, cluster: MockCluster, ledger: EventStore
) -> None:
    first = mock_relaying.start()
    await ledger.append(numbered(1, 20))
    await mock_relaying.until_published(first)
    with structlog.testing.capture_logs() as logged:
        async with away(cluster):
            await ledger.append(numbered(21, 40))

            async def interrupted() -> bool:
                return len([line for line in logged if line["event"] == "relay.interrupted"]) > 1

            await until(interrupted)
            assert first.standing.is_away
            assert senders() == 0
        await mock_relaying.until_published(first)
    assert senders() == 1
    assert not first.standing.is_away
    await assert_whole(mocked, ledger)


def senders() -> int:
    """How many producers have a task that sends."""
    return sum("Sender._sender_routine" in repr(task.get_coro()) for task in asyncio.all_tasks())


async def test_a_relay_whose_brokers_are_away_at_its_start_begins_when_they_are_there(
    mock_relaying: Relays,
    mocked: KafkaConnection,
    cluster: MockCluster,
    ledger: EventStore,
    clock: FixedClock,
) -> None:
    await ledger.append(numbered(1, 20))
    clock.instant = NOON + timedelta(seconds=90)
    async with away(cluster):
        first = mock_relaying.start()

        async def told() -> bool:
            return first.standing == Standing(is_reached=False, is_away=True, lag=Lag(20, 90.0))

        await until(told)
        assert METRICS.get_sample_value("hub_relay_lag_events", {"source": LEDGER.schema}) == 20
        assert METRICS.get_sample_value("hub_relay_lag_seconds", {"source": LEDGER.schema}) == 90
        before = METRICS.get_sample_value("hub_relayed_total", {"source": LEDGER.schema}) or 0
    await mock_relaying.until_published(first)

    async def up() -> bool:
        return first.standing == Standing(is_reached=True, is_away=False, lag=Lag(0, 0.0))

    await until(up)
    assert METRICS.get_sample_value("hub_relayed_total", {"source": LEDGER.schema}) == before + 20
    await assert_whole(mocked, ledger)


async def test_a_log_nobody_writes_to_still_tells_that_brokers_are_away(
    mock_relaying: Relays, cluster: MockCluster, ledger: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "START_SECONDS", 0.5)
    first = mock_relaying.start()
    await ledger.append(numbered(1, 1))
    await mock_relaying.until_published(first)

    async def is_away() -> bool:
        return first.standing.is_away

    async def is_back() -> bool:
        return not first.standing.is_away

    async with away(cluster):
        await until(is_away)
    await until(is_back)


# --- the database at fault, the topic made anew ----------------------------------------------------------


async def test_a_relay_whose_database_was_away_goes_on_when_it_is_back(
    mock_relaying: Relays,
    mocked: KafkaConnection,
    ledger: EventStore,
    ledger_dsn: str,
) -> None:
    first = mock_relaying.start()
    await ledger.append(numbered(1, 20))
    await mock_relaying.until_published(first)
    name = urlsplit(ledger_dsn).path.lstrip("/")
    elsewhere = await asyncpg.connect(dsn_for(ledger_dsn, "postgres"))
    with structlog.testing.capture_logs() as logged:
        await elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        try:
            await elsewhere.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
            )

            async def interrupted() -> bool:
                return any(line["event"] == "relay.interrupted" for line in logged)

            await until(interrupted)
        finally:
            await elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            await elsewhere.close()
        await until_appended(ledger, 21, 40)
        await mock_relaying.until_published(first)
    await assert_whole(mocked, ledger)


async def until_appended(ledger: EventStore, first: int, last: int) -> None:
    async def appended() -> bool:
        try:
            await ledger.append(numbered(first, last))
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    await until(appended)


async def test_a_topic_deleted_under_a_running_relay_is_made_and_filled_anew_and_heard_once(
    relaying: Relays,
    connection: KafkaConnection,
    ledger: EventStore,
    hearing: Hearing,
    clock: FixedClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bus, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(relay, "START_SECONDS", 1.0)
    first = relaying.start()
    await ledger.append(numbered(1, 60))
    effects = sorted((f"entry-{n}", v) for n in range(12) for v in range(1, 6))
    consumer = hearing.consumer(KafkaBus(connection, clock, partitions=PARTITIONS))
    async with running(consumer):
        await hearing.until_effects(effects)
        await relaying.until_published(first)
        async with connection.admin() as admin:
            await admin.delete_topics([connection.topic(SPEC.name)])

        async def filled() -> bool:
            return sum((await ends(connection)).values()) == 60

        await until(filled, 30)
        await ledger.append(numbered(61, 72))
        await relaying.until_published(first)
    effects = sorted((f"entry-{n}", v) for n in range(12) for v in range(1, 7))
    async with running(hearing.consumer(KafkaBus(connection, clock, partitions=PARTITIONS))):
        await hearing.until_effects(effects)
    assert await hearing.parked() == []
    await assert_whole(connection, ledger)


async def test_a_reader_whose_topic_is_shorter_than_it_has_read_begins_again_and_drops_what_it_knows(
    relaying: Relays,
    connection: KafkaConnection,
    ledger: EventStore,
    hearing: Hearing,
    owner: asyncpg.Connection,
    clock: FixedClock,
) -> None:
    first = relaying.start()
    await ledger.append([to("entry-1", "1", "2", "3")])
    await relaying.until_published(first)
    await owner.execute(
        "INSERT INTO reader.consumer_cursors SELECT 'reader', 'ledger', n, 500 FROM generate_series(0, 3) n"
    )
    await owner.execute("INSERT INTO reader.inbox VALUES ('reader', 'ledger', 'entry-1', 2)")
    async with running(hearing.consumer(KafkaBus(connection, clock, partitions=PARTITIONS))):
        await hearing.until_effects([("entry-1", 3)])
    assert await hearing.parked() == []


async def test_records_under_offsets_already_done_are_of_another_topic_and_no_repeats(
    relaying: Relays,
    connection: KafkaConnection,
    ledger: EventStore,
    hearing: Hearing,
    owner: asyncpg.Connection,
    clock: FixedClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bus, "PROBE_SECONDS", 3_600.0)
    first = relaying.start()
    await ledger.append([to("entry-1", "1", "2", "3")])
    kafka = KafkaBus(connection, clock, partitions=PARTITIONS)
    async with running(hearing.consumer(kafka)):
        await hearing.until_effects([("entry-1", n) for n in (1, 2, 3)])
        # As if it had read 500 of a topic that was made anew between two requests: aiokafka reads on from 0.
        [subscription] = kafka._subscriptions

        async def placed() -> bool:
            return sum(subscription._done.values()) == 3

        await until(placed)
        await owner.execute("UPDATE reader.consumer_cursors SET position = 500")
        subscription._done.update(dict.fromkeys(subscription._done, 500))
        await ledger.append([to("entry-1", "4")])
        await relaying.until_published(first)
        await hearing.until_effects([("entry-1", n) for n in (1, 2, 3, 4)])
    assert await hearing.parked() == []
