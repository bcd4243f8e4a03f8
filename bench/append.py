"""Appending: durable events a second at several numbers of callers, beside the library and raw COPY."""

import asyncio
import subprocess
import sys
import time

import asyncpg
import uvloop

from bench.measuring import Row, percentile, postgres, report
from bench.rival_eventsourcing import append_rate
from hub_kernel.clock import SystemClock, new_id
from hub_kernel.database import open_pool
from hub_kernel.event_store import EventStore, NewEvent, StreamAppend, log_ddl
from hub_kernel.event_store.merkle import content_hash

CALLERS = (1, 8, 32, 128, 512)
ROUNDS = 3
SECONDS = 2.5
COPIED_ROWS = 50_000
BODY = b'{"narrative":"' + b"a" * 431 + b'"}'
RACE_EVENTS, RACE_PROCESSES, RACE_WRITERS = 100_000, 2, 16


def main() -> None:
    """Run every case in turn, round by round, so that all meet the same machine."""
    with postgres() as server:
        server.ensure_database("rival")
        dsn, rival_dsn = server.dsn(), server.dsn("rival")
        ours: dict[int, list[float]] = {callers: [] for callers in CALLERS}
        late: dict[int, list[float]] = {callers: [] for callers in CALLERS}
        library: list[float] = []
        copied: list[float] = []
        for _ in range(ROUNDS):
            library.append(append_rate(rival_dsn, BODY.decode(), threads=8, seconds=SECONDS))
            copied.append(uvloop.run(_copy_rate(dsn)))
            for callers in CALLERS:
                rate, p99 = uvloop.run(_our_rate(dsn, callers))
                ours[callers].append(rate)
                late[callers].append(p99)
        rows = [
            Row.of(
                f"append-{callers}",
                "events/s",
                ours[callers],
                {"eventsourcing": library, "copy": copied},
                p99_ms=round(percentile(late[callers], 0.5) * 1_000, 2),
            )
            for callers in CALLERS
        ]
        rows.append(uvloop.run(_race(dsn)))
    report("append", rows)


def _event() -> StreamAppend:
    event_id = new_id()
    event = NewEvent(
        event_id=event_id,
        type="ReferralReceived",
        schema_version=1,
        occurred_at=SystemClock().now(),
        correlation_id=event_id,
        causation_id=None,
        actor="bench",
        traceparent=None,
        open=BODY,
    )
    return StreamAppend(f"referral-{event_id}", 0, [event])


async def _fresh_log(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        await connection.execute("DROP SCHEMA IF EXISTS bench CASCADE; CREATE SCHEMA bench")
        for statement in log_ddl("bench"):
            await connection.execute(statement)
        await connection.execute("CHECKPOINT")


async def _our_rate(dsn: str, callers: int) -> tuple[float, float]:
    async with await open_pool(dsn, role=None, size=4) as pool:
        await _fresh_log(pool)
        store = EventStore(pool, "bench", SystemClock())
        end = time.monotonic() + SECONDS
        took: list[float] = []

        async def caller() -> None:
            while time.monotonic() < end:
                started = time.perf_counter()
                await store.append([_event()])
                took.append(time.perf_counter() - started)

        started = time.monotonic()
        await asyncio.gather(*(caller() for _ in range(callers)))
        return len(took) / (time.monotonic() - started), percentile(took, 0.99)


async def _copy_rate(dsn: str) -> float:
    """COPY of the same rows into the same table with the same indexes: what no ordered log can beat."""
    async with await open_pool(dsn, role=None, size=2, timeout_seconds=60) as pool:
        await _fresh_log(pool)
        now = SystemClock().now()
        rows = [_copied_row(position, now) for position in range(1, COPIED_ROWS + 1)]
        async with pool.acquire() as connection:
            started = time.monotonic()
            await connection.copy_records_to_table("events", schema_name="bench", records=rows)
            return COPIED_ROWS / (time.monotonic() - started)


def _copied_row(position: int, now: object) -> tuple[object, ...]:
    append = _event()
    [event] = append.events
    digest = content_hash(append.stream_id, event)
    return (
        position,
        append.stream_id,
        1,
        event.event_id,
        "referral",
        event.type,
        1,
        event.occurred_at,
        now,
        event.correlation_id,
        None,
        event.actor,
        None,
        event.open,
        None,
        None,
        digest,
    )


async def _race(dsn: str) -> Row:
    """Two processes of sixteen writers, and a follower reading ``position > n`` the whole time."""
    async with await open_pool(dsn, role=None, size=2) as pool:
        await _fresh_log(pool)
        store = EventStore(pool, "bench", SystemClock())
        share = RACE_EVENTS // RACE_PROCESSES
        writers = [
            subprocess.Popen([sys.executable, "-m", "bench.append", "write", dsn, str(share)])  # noqa: ASYNC220, S603
            for _ in range(RACE_PROCESSES)
        ]
        started = time.monotonic()
        seen, last, out_of_order = 0, 0, 0
        async with pool.acquire() as connection:
            while seen < RACE_EVENTS and time.monotonic() - started < 300:
                for event in await store.read.log(connection, last):
                    out_of_order += event.position != last + 1
                    last = event.position
                    seen += 1
        elapsed = time.monotonic() - started
        for writer in writers:
            await asyncio.to_thread(writer.wait)
    return Row.of(
        "follow-2x16", "events/s", [seen / elapsed], missed=RACE_EVENTS - seen, out_of_order=out_of_order
    )


async def _write(dsn: str, count: int) -> None:
    async with await open_pool(dsn, role=None, size=4) as pool:
        store = EventStore(pool, "bench", SystemClock())
        left = iter(range(count))

        async def caller() -> None:
            for _ in left:
                await store.append([_event()])

        await asyncio.gather(*(caller() for _ in range(RACE_WRITERS)))


if __name__ == "__main__":
    uvloop.run(_write(sys.argv[2], int(sys.argv[3])))
