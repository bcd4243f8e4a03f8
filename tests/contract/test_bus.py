import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Protocol
from urllib.parse import urlsplit

import asyncpg
import pytest
from tests.component.ledger_service import LEDGER, NOON, to

from hub_kernel.clock import FixedClock
from hub_kernel.database import open_pool
from hub_kernel.errors import Unavailable
from hub_kernel.event_store import EventStore, StreamAppend
from hub_kernel.log_bus import POLL_SECONDS, LogBus
from hub_kernel.migrating import BUS_ROLE
from hub_kernel.partitioning import partition_of
from hub_kernel.ports import Bus, Lag, Message, Page, Subscription
from hub_kernel.testing import dsn_for
from hub_schemas.envelope import RecordedEvent, from_cloudevent, to_cloudevent

PARTITIONS = 4
STREAMS = 12


class BusHarness(Protocol):
    """What the suite needs of an adapter besides the port itself."""

    async def publish(self, *appends: StreamAppend) -> None:
        """Record facts of the ledger and see to it that the carrier has them."""
        ...

    async def bus(self) -> Bus:
        """A started bus of ``PARTITIONS`` partitions."""
        ...

    async def restart(self) -> None:
        """Close every bus, as when all processes end; what is durable stays."""
        ...

    def away(self) -> AbstractAsyncContextManager[None]:
        """While the block lasts the carrier does not answer."""
        ...


class LogBusHarness:
    """The log bus over the ledger's own log."""

    def __init__(self, dsn: str, ledger: EventStore, clock: FixedClock) -> None:
        self._dsn, self._ledger, self._clock = dsn, ledger, clock
        self._buses: list[tuple[LogBus, asyncpg.Pool]] = []

    async def publish(self, *appends: StreamAppend) -> None:
        """Append: the log is the carrier."""
        await self._ledger.append(appends)

    async def bus(self) -> Bus:
        """Another bus over the same log."""
        pool = await open_pool(self._dsn, role=BUS_ROLE, size=4)
        bus = LogBus(self._dsn, pool, self._clock, partitions=PARTITIONS)
        self._buses.append((bus, pool))
        await bus.start()
        return bus

    async def restart(self) -> None:
        """Close every bus and its connections."""
        for bus, pool in self._buses:
            await bus.close()
            pool.terminate()
        self._buses.clear()

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """The database takes no connections."""
        name = urlsplit(self._dsn).path.lstrip("/")
        elsewhere = await asyncpg.connect(dsn_for(self._dsn, "postgres"))
        await elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await elsewhere.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
        )
        yield
        await elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await elsewhere.close()


@pytest.fixture(params=["log"])
async def harness(
    request: pytest.FixtureRequest,
    ledger_dsn: str,
    ledger: EventStore,
    clock: FixedClock,
) -> AsyncIterator[BusHarness]:
    harnesses: Mapping[str, BusHarness] = {"log": LogBusHarness(ledger_dsn, ledger, clock)}
    chosen = harnesses[request.param]
    yield chosen
    await chosen.restart()


def some(*names: str) -> list[StreamAppend]:
    """One entry of each name, over a dozen streams."""
    streams: dict[str, list[str]] = defaultdict(list)
    for name in names:
        streams[f"entry-{int(name) % STREAMS}"].append(name)
    return [to(stream_id, *given) for stream_id, given in streams.items()]


def numbered(first: int, last: int) -> list[StreamAppend]:
    return some(*(str(n) for n in range(first, last + 1)))


async def read(subscription: Subscription, count: int, *, limit: int = 7) -> list[Message]:
    """So many messages, page by page."""
    messages: list[Message] = []
    async with asyncio.timeout(15):
        while len(messages) < count:
            page = await subscription.fetch(limit, 1)
            assert len(page.messages) <= limit
            messages.extend(page.messages)
    return messages


async def quiet(subscription: Subscription) -> Page:
    """The page that comes when there is nothing more."""
    async with asyncio.timeout(15):
        while (page := await subscription.fetch(100, 0.02)).messages:
            pass
    return page


def events(messages: Sequence[Message]) -> list[RecordedEvent]:
    return [from_cloudevent(message.headers, message.value) for message in messages]


def heard(messages: Sequence[Message]) -> list[tuple[str, int]]:
    return sorted((event.stream_id, event.version) for event in events(messages))


def through(messages: Sequence[Message]) -> dict[int, int]:
    """The cursors of a consumer that has dealt with these messages."""
    last: dict[int, int] = {}
    for message in messages:
        last[message.partition] = max(message.offset, last.get(message.partition, 0))
    return last


async def subscribed(
    harness: BusHarness, consumer: str = "reader", cursors: Mapping[int, int] | None = None
) -> Subscription:
    subscription = await (await harness.bus()).subscribe(consumer, LEDGER.schema)
    subscription.seek(cursors or {})
    return subscription


# --- delivery --------------------------------------------------------------------------------------------


async def test_every_fact_arrives_whole_and_in_the_order_of_its_stream(
    harness: BusHarness, ledger: EventStore
) -> None:
    await harness.publish(*numbered(1, 60))
    messages = await read(await subscribed(harness), 60)
    async with ledger.pool.acquire() as connection:
        recorded = await ledger.read.log(connection, 0)
    assert sorted(events(messages), key=lambda event: event.position) == recorded
    versions: dict[str, list[int]] = defaultdict(list)
    for event in events(messages):
        versions[event.stream_id].append(event.version)
    assert dict(versions) == {f"entry-{n}": [1, 2, 3, 4, 5] for n in range(STREAMS)}


async def test_the_bytes_are_the_cloudevents_form_of_the_fact(harness: BusHarness) -> None:
    await harness.publish(*numbered(1, 3))
    for message in await read(await subscribed(harness), 3):
        [event] = events([message])
        headers, value = to_cloudevent(event)
        assert (message.source, dict(message.headers), message.value) == ("ledger", dict(headers), value)


async def test_a_record_keeps_to_the_partition_that_kafka_would_choose_for_it(harness: BusHarness) -> None:
    await harness.publish(*numbered(1, 60))
    subscription = await subscribed(harness)
    messages = await read(subscription, 60)
    chosen = [partition_of(str(event.correlation_id), PARTITIONS) for event in events(messages)]
    assert [message.partition for message in messages] == chosen
    assert set(chosen) == set(subscription.partitions) == set(range(PARTITIONS))


async def test_offsets_grow_inside_a_partition(harness: BusHarness) -> None:
    await harness.publish(*numbered(1, 60))
    offsets: dict[int, list[int]] = defaultdict(list)
    for message in await read(await subscribed(harness), 60):
        offsets[message.partition].append(message.offset)
    assert all(seen == sorted(set(seen)) for seen in offsets.values())


async def test_a_page_says_how_far_every_partition_was_read_with_it(harness: BusHarness) -> None:
    await harness.publish(*numbered(1, 60))
    subscription = await subscribed(harness)
    read_so_far: list[Message] = []
    while len(read_so_far) < 60:
        page = await subscription.fetch(7, 1)
        read_so_far += page.messages
        assert all(page.through[partition] >= last for partition, last in through(read_so_far).items())
        rest = await read(await subscribed(harness, cursors=page.through), 60 - len(read_so_far))
        assert heard([*read_so_far, *rest]) == [
            (f"entry-{n}", v) for n in sorted(range(12), key=str) for v in range(1, 6)
        ]


async def test_reading_goes_on_after_each_partitions_own_cursor(harness: BusHarness) -> None:
    await harness.publish(*numbered(1, 60))
    messages = await read(await subscribed(harness), 60)
    done = [message for message in messages if message.partition == 0][:4] + [
        message for message in messages if message.partition == 3
    ]
    left = [message for message in messages if message not in done]
    assert heard(await read(await subscribed(harness, cursors=through(done)), len(left))) == heard(left)


async def test_a_fetch_with_nothing_new_comes_back_empty_and_in_time(harness: BusHarness) -> None:
    await harness.publish(*numbered(1, 5))
    subscription = await subscribed(harness)
    await read(subscription, 5)
    async with asyncio.timeout(2):
        page = await subscription.fetch(10, 0.05)
    assert (page.messages, set(page.through)) == ([], set(range(PARTITIONS)))


async def test_a_waiting_fetch_is_answered_when_a_fact_is_recorded(harness: BusHarness) -> None:
    subscription = await subscribed(harness)
    await quiet(subscription)
    waiting = asyncio.create_task(subscription.fetch(10, 15))
    await asyncio.sleep(0)
    await harness.publish(*numbered(1, 1))
    async with asyncio.timeout(5):
        page = await waiting
    assert heard(page.messages) == [("entry-1", 1)]


async def test_facts_recorded_while_reading_are_not_missed(harness: BusHarness) -> None:
    subscription = await subscribed(harness)
    reading = asyncio.create_task(read(subscription, 200))
    for first in range(1, 200, 10):
        await harness.publish(*numbered(first, first + 9))
    assert len(set(heard(await reading))) == 200


async def test_a_cancelled_fetch_loses_nothing(harness: BusHarness) -> None:
    subscription = await subscribed(harness)
    await quiet(subscription)
    waiting = asyncio.create_task(subscription.fetch(10, 15))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    await harness.publish(*numbered(1, 20))
    assert heard(await read(await subscribed(harness), 20)) == heard(await read(subscription, 20))


# --- what an adapter claims ------------------------------------------------------------------------------


async def test_what_is_durable_is_there_after_every_process_ended(harness: BusHarness) -> None:
    await harness.publish(*numbered(1, 20))
    features = (await harness.bus()).features
    first = await read(await subscribed(harness), 20)
    await harness.restart()
    expected = heard(first) if features.durable and features.replayable else []
    assert heard(await read(await subscribed(harness), len(expected))) == expected


async def test_what_is_replayable_is_heard_from_the_first_fact_by_a_consumer_that_comes_late(
    harness: BusHarness,
) -> None:
    await harness.publish(*numbered(1, 20))
    early = await subscribed(harness, "early")
    heard_early = heard(await read(early, 20))
    features = (await harness.bus()).features
    late = await subscribed(harness, "late")
    assert heard(await read(late, 20 if features.replayable else 0)) == (
        heard_early if features.replayable else []
    )


async def test_members_of_one_consumer_share_the_partitions_only_where_that_is_claimed(
    harness: BusHarness,
) -> None:
    await harness.publish(*numbered(1, 60))
    one, two = await subscribed(harness), await subscribed(harness)
    features = (await harness.bus()).features
    if features.several_members:
        async with asyncio.timeout(30):
            while not (one.partitions and two.partitions):
                await one.fetch(1, 0.1)
                await two.fetch(1, 0.1)
        assert sorted([*one.partitions, *two.partitions]) == list(range(PARTITIONS))
    else:
        assert list(one.partitions) == list(two.partitions) == list(range(PARTITIONS))
        assert heard(await read(one, 60)) == heard(await read(two, 60))


# --- lag, outages, closing -------------------------------------------------------------------------------


async def test_lag_counts_the_facts_not_yet_done_and_the_age_of_the_oldest(
    harness: BusHarness, clock: FixedClock
) -> None:
    subscription = await subscribed(harness)
    await quiet(subscription)
    assert await subscription.lag() == Lag(0, 0.0)
    await harness.publish(*numbered(1, 4))
    clock.instant = NOON + timedelta(seconds=30)
    await harness.publish(*numbered(5, 9))
    clock.instant = NOON + timedelta(seconds=40)
    assert await subscription.lag() == Lag(9, 40.0)
    await read(subscription, 9, limit=9)
    assert await subscription.lag() == Lag(9, 40.0)
    await quiet(subscription)
    assert await subscription.lag() == Lag(0, 0.0)


async def test_a_carrier_that_is_away_is_named_unavailable_and_reading_goes_on_when_it_is_back(
    harness: BusHarness,
) -> None:
    await harness.publish(*numbered(1, 10))
    subscription = await subscribed(harness)
    first = await read(subscription, 7)
    async with harness.away():
        with pytest.raises(Unavailable):
            await read(subscription, 1)
    rest = await read(subscription, 3)
    assert len(set(heard([*first, *rest]))) == 10


async def test_the_wake_up_still_works_after_the_carrier_was_away(harness: BusHarness) -> None:
    subscription = await subscribed(harness)
    await quiet(subscription)
    async with harness.away():
        pass
    await harness.publish(*numbered(1, 3))
    assert len(await read(subscription, 3)) == 3


async def test_closing_twice_is_safe(harness: BusHarness) -> None:
    bus = await harness.bus()
    subscription = await bus.subscribe("reader", LEDGER.schema)
    await subscription.close()
    await subscription.close()
    await bus.close()
    await bus.close()


# --- the log bus alone -----------------------------------------------------------------------------------


async def test_the_log_bus_wakes_a_reader_well_before_it_would_poll(
    ledger_dsn: str, ledger: EventStore, clock: FixedClock
) -> None:
    harness = LogBusHarness(ledger_dsn, ledger, clock)
    subscription = await subscribed(harness)
    loop = asyncio.get_running_loop()
    waits = []
    for n in range(12):
        waiting = asyncio.create_task(subscription.fetch(10, 5))
        await asyncio.sleep(0.02)
        started = loop.time()
        await harness.publish(*numbered(n, n))
        await waiting
        waits.append(loop.time() - started)
    await harness.restart()
    assert sorted(waits)[len(waits) // 2] < POLL_SECONDS / 5
