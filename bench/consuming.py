"""The consumer with an effect in its database, beside bare consumption and the same upsert alone."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer

from bench.carried import SOURCE
from bench.measuring import counted
from bench.relaying import PARTITIONS
from hub_kernel import metrics
from hub_kernel.clock import SystemClock
from hub_kernel.consuming import PAGE_MESSAGES, Consumer
from hub_kernel.database import Connection, open_pool
from hub_kernel.kafka import KafkaBus, KafkaConnection, facts_spec
from hub_oversight.service import SERVICE as OVERSIGHT
from hub_schemas.envelope import RecordedEvent

_LOOK_SECONDS: Final = 0.005
_PATIENCE_SECONDS: Final = 300.0
_TABLE: Final = """
    DROP TABLE IF EXISTS public.seen;
    CREATE TABLE public.seen (stream_id text PRIMARY KEY, type text NOT NULL, recorded_at text NOT NULL)"""
_UPSERT: Final = """
    INSERT INTO public.seen SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
    ON CONFLICT (stream_id) DO UPDATE SET type = excluded.type, recorded_at = excluded.recorded_at"""

Seen = tuple[str, str, str]
"""A stream, the type of its last event, and when that was recorded."""


async def consumer_rate(dsn: str, bootstrap: str, prefix: str, events: int) -> float:
    """Events a second from the first page in hand until the last effect, inbox and cursor are committed."""
    started: list[float] = []

    async def handle(connection: Connection, page: Sequence[RecordedEvent]) -> None:
        if not started:
            started.append(time.perf_counter())
        kind = [(e.stream_id, f"{e.type}.v{e.schema_version}", e.recorded_at.isoformat()) for e in page]
        await _upsert(connection, kind)

    async with await open_pool(dsn, role=None, size=4) as pool:
        await pool.execute(_TABLE)
        for table in ("inbox", "consumer_cursors"):
            await pool.execute(f"DELETE FROM {OVERSIGHT.schema}.{table}")
        bus = KafkaBus(KafkaConnection(bootstrap, prefix=prefix), SystemClock(), partitions=PARTITIONS)
        consumer = Consumer(
            OVERSIGHT.name, SOURCE, schema=OVERSIGHT.schema, pool=pool, bus=bus, handler=handle,
            clock=SystemClock(),
        )  # fmt: skip
        before, stopping = _applied(), asyncio.Event()
        running = asyncio.create_task(consumer.run(stopping))
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while _applied() - before < events:  # noqa: ASYNC110  read as operators read it
                await asyncio.sleep(_LOOK_SECONDS)
        seconds = time.perf_counter() - started[0]
        stopping.set()
        await running
        await bus.close()
        async with pool.acquire() as connection:
            await _require_seen(connection, events)
    return events / seconds


async def bare_rate(dsn: str, bootstrap: str, prefix: str, events: int) -> float:
    """The same by hand: pages of the same size, one transaction each, nothing that would notice a repeat."""
    member = AIOKafkaConsumer(
        KafkaConnection(bootstrap, prefix=prefix).topic(facts_spec(SOURCE, PARTITIONS, 1).name),
        bootstrap_servers=bootstrap,
        group_id=f"{prefix}bare",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    async with await open_pool(dsn, role=None, size=1) as pool, pool.acquire() as connection:
        await connection.execute(_TABLE)
        async with member, asyncio.timeout(_PATIENCE_SECONDS):
            started, done = 0.0, 0
            while done < events:
                batches = await member.getmany(timeout_ms=1_000, max_records=PAGE_MESSAGES)
                page = [record for records in batches.values() for record in records]
                if not page:
                    continue
                started = started or time.perf_counter()
                async with connection.transaction():
                    await _upsert(connection, (_of_headers(record.headers) for record in page))
                done += len(page)
            seconds = time.perf_counter() - started
        await _require_seen(connection, events)
    return events / seconds


async def _upsert(connection: Connection, page: Iterable[Seen]) -> None:
    last = {row[0]: row for row in page}
    await connection.execute(_UPSERT, *(list(column) for column in zip(*last.values(), strict=True)))


def _of_headers(headers: Iterable[tuple[str, bytes]]) -> Seen:
    said = dict(headers)
    return said["ce_subject"].decode(), said["ce_type"].decode(), said["ce_recordedtime"].decode()


def _applied() -> float:
    return counted(metrics.EVENTS_CONSUMED, consumer=OVERSIGHT.name, source=SOURCE, outcome="applied")


async def _require_seen(connection: Connection, events: int) -> None:
    """A rate counts only if every effect is there."""
    if (seen := await connection.fetchval("SELECT count(*) FROM public.seen")) != events:
        raise RuntimeError(f"{seen} streams in the read table, not {events}")
