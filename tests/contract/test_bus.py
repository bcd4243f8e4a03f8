import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta

import pytest
from tests.component.ledger_service import LEDGER, NOON, to
from tests.contract.bus_harnesses import (
    PARTITIONS,
    BrokerHarness,
    BusHarness,
    LogBusHarness,
    MockHarness,
)
from tests.contract.mock_cluster import MockCluster

from hub_kernel.clock import FixedClock
from hub_kernel.errors import Unavailable
from hub_kernel.event_store import EventStore, StreamAppend
from hub_kernel.kafka import relay
from hub_kernel.partitioning import partition_of
from hub_kernel.ports import Cursors, Lag, Message, Page, Subscription
from hub_kernel.wakeups import POLL_SECONDS
from hub_schemas.envelope import RecordedEvent, from_cloudevent, to_cloudevent

STREAMS = 12
NUMBERS = itertools.count(1)


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with MockCluster() as cluster:
        yield cluster


@pytest.fixture(params=["log", "mock", "kafka"])
async def harness(
    request: pytest.FixtureRequest,
    ledger_dsn: str,
    ledger: EventStore,
    clock: FixedClock,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[BusHarness]:
    chosen: BusHarness
    match request.param:
        case "log":
            chosen = LogBusHarness(ledger_dsn, ledger, clock)
        case "mock":
            chosen = MockHarness(request.getfixturevalue("cluster"), ledger_dsn, ledger, clock)
        case "kafka":
            chosen = BrokerHarness(request.getfixturevalue("kafka"), ledger_dsn, ledger, clock)
    monkeypatch.setattr(relay, "KEEP_SECONDS", 0.02)  # the suite waits until the relay has saved its cursor
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


async def persistently_read(
    subscription: Subscription, count: int, *, unlike: Sequence[Message] = ()
) -> list[Message]:
    """So many new messages, from a carrier that is only just coming back and may repeat what was read."""
    known = {(message.partition, message.offset) for message in unlike}
    messages: list[Message] = []
    async with asyncio.timeout(30):
        while len(messages) < count:
            with suppress(Unavailable):
                page = await subscription.fetch(7, 1)
                messages.extend(m for m in page.messages if (m.partition, m.offset) not in known)
                known |= {(m.partition, m.offset) for m in page.messages}
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


def standing_at(cursors: Mapping[int, int]) -> Cursors:
    """A consumer whose database says this, whichever partitions it is given."""

    async def cursors_of(_partitions: Sequence[int]) -> Mapping[int, int]:
        return cursors

    return cursors_of


async def subscribed(
    harness: BusHarness, consumer: str | None = None, cursors: Mapping[int, int] | None = None
) -> Subscription:
    """A reading of the ledger, for a consumer nobody else is unless it is named."""
    bus = await harness.bus()
    return await bus.subscribe(
        consumer or f"reader-{next(NUMBERS)}", LEDGER.schema, standing_at(cursors or {})
    )


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
    one, two = await subscribed(harness, "reader"), await subscribed(harness, "reader")
    features = (await harness.bus()).features
    if features.several_members and not harness.carries_groups:
        assert heard(await read(one, 60)) == [
            (f"entry-{n}", v) for n in sorted(range(12), key=str) for v in range(1, 6)
        ]
    elif features.several_members:
        async with asyncio.timeout(30):
            while not (one.partitions and two.partitions):
                await one.fetch(1, 0.1)
                await two.fetch(1, 0.1)
        assert sorted([*one.partitions, *two.partitions]) == list(range(PARTITIONS))
    else:
        assert heard(await read(one, 60)) == heard(await read(two, 60))
        assert list(one.partitions) == list(two.partitions) == list(range(PARTITIONS))


# --- lag, outages, closing -------------------------------------------------------------------------------


async def test_lag_counts_the_facts_not_yet_done_and_the_age_of_the_oldest(
    harness: BusHarness, clock: FixedClock
) -> None:
    def age(event: RecordedEvent) -> float:
        return (clock.now() - event.recorded_at).total_seconds()

    subscription = await subscribed(harness)
    await quiet(subscription)
    assert await subscription.lag() == Lag(0, 0.0)
    await harness.publish(*numbered(1, 4))
    clock.instant = NOON + timedelta(seconds=30)
    await harness.publish(*numbered(5, 9))
    clock.instant = NOON + timedelta(seconds=40)
    assert await subscription.lag() == Lag(9, 40.0)
    left, page = 9, Page([], {})
    while left:
        page = await subscription.fetch(9, 1)
        left -= len(page.messages)
    lag = await subscription.lag()
    assert lag.events == len(page.messages)
    assert lag.seconds == max(age(event) for event in events(page.messages))
    await quiet(subscription)
    assert await subscription.lag() == Lag(0, 0.0)


async def test_a_carrier_that_is_away_is_named_unavailable_and_reading_goes_on_when_it_is_back(
    harness: BusHarness,
) -> None:
    await harness.publish(*numbered(1, 10))
    subscription = await subscribed(harness)
    first = await read(subscription, 10)
    async with harness.away():
        with pytest.raises(Unavailable):
            await read(subscription, 1)
    await harness.publish(*numbered(11, 13))
    news = set(heard(await persistently_read(subscription, unlike=first, count=3)))
    assert len(news) == 3
    assert len(news | set(heard(first))) == 13


async def test_the_wake_up_still_works_after_the_carrier_was_away(harness: BusHarness) -> None:
    subscription = await subscribed(harness)
    await quiet(subscription)
    async with harness.away():
        pass
    await harness.publish(*numbered(1, 3))
    assert len(await persistently_read(subscription, 3)) == 3


async def test_closing_twice_is_safe(harness: BusHarness) -> None:
    bus = await harness.bus()
    subscription = await bus.subscribe("reader", LEDGER.schema, standing_at({}))
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
