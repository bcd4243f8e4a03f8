"""The relay from a log onto a topic, beside a bare producer that has the same bytes in memory already."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from bench.carried import SOURCE
from bench.measuring import counted
from hub_kernel import metrics
from hub_kernel.clock import SystemClock
from hub_kernel.database import open_pool
from hub_kernel.kafka import KafkaConnection, Relay, ensure_topics, facts_spec
from hub_kernel.kafka.relay import PAGE_EVENTS, PAGES_UNDER_WAY
from hub_kernel.wakeups import Wakeups
from hub_schemas.envelope import Header, RecordedEvent, to_cloudevent

PARTITIONS: Final = 2
UNDER_WAY: Final = PAGE_EVENTS * PAGES_UNDER_WAY
"""Messages the bare producer has under way at most: as many as the relay."""
_LOOK_SECONDS: Final = 0.005
_PATIENCE_SECONDS: Final = 120.0

Wire = Sequence[tuple[bytes, bytes, list[Header], int]]


def wire(events: Sequence[RecordedEvent]) -> Wire:
    """Key, value, headers and time of each event, as the relay sends them."""
    return [
        (str(event.correlation_id).encode(), value, list(headers), int(event.recorded_at.timestamp() * 1_000))
        for event in events
        for headers, value in [to_cloudevent(event)]
    ]


async def relay_rate(dsn: str, bootstrap: str, prefix: str, events: int) -> float:
    """Events a second from a running relay's first look into the log until Kafka acknowledged the last."""
    async with await open_pool(dsn, role=None, size=4) as pool:
        await pool.execute(f"DELETE FROM {SOURCE}.relay")
        connection = KafkaConnection(bootstrap, prefix=prefix, instance="bench")
        wakeups = Wakeups(dsn)
        spec = facts_spec(SOURCE, PARTITIONS, 1)
        relay = Relay(pool, SOURCE, spec, connection, wakeups, SystemClock())
        before, stopping = _relayed(), asyncio.Event()
        running = asyncio.create_task(relay.run(stopping))
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while not relay.standing.is_reached:  # noqa: ASYNC110  it is read as operators read it
                await asyncio.sleep(_LOOK_SECONDS)
            started = time.perf_counter()
            while (sent := _relayed() - before) < events:  # noqa: ASYNC110  as above
                await asyncio.sleep(_LOOK_SECONDS)
        seconds = time.perf_counter() - started
        stopping.set()
        await running
    await _require_on_topic(connection, events)
    return sent / seconds


async def bare_rate(bootstrap: str, prefix: str, messages: Wire) -> float:
    """The same by hand: ``send`` for each message, a bounded number under way, all acknowledged."""
    connection = KafkaConnection(bootstrap, prefix=prefix)
    spec = facts_spec(SOURCE, PARTITIONS, 1)
    await ensure_topics(connection, [spec])
    topic = connection.topic(spec.name)
    async with connection.producer() as producer:
        await producer.partitions_for(topic)
        under_way: deque[asyncio.Future[object]] = deque()
        started = time.perf_counter()
        for key, value, headers, timestamp_ms in messages:
            if len(under_way) >= UNDER_WAY:
                await under_way.popleft()
            under_way.append(
                await producer.send(topic, value, key, timestamp_ms=timestamp_ms, headers=headers)
            )
        await asyncio.gather(*under_way)
        seconds = time.perf_counter() - started
    await _require_on_topic(connection, len(messages))
    return len(messages) / seconds


def _relayed() -> float:
    return counted(metrics.RELAYED, source=SOURCE)


async def _require_on_topic(connection: KafkaConnection, events: int) -> None:
    """A rate counts only if all of it is there."""
    async with connection.onlooker(facts_spec(SOURCE, PARTITIONS, 1).name) as (onlooker, partitions):
        there = sum((await onlooker.end_offsets(list(partitions))).values())
    if there != events:
        raise RuntimeError(f"{there} messages on the topic, not {events}")
