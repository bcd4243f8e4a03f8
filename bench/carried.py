"""What the Kafka benchmarks carry: a log of intake's own facts, as the demo day's referrals lead to them."""

import asyncio
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import httpx

from bench.sample import SYSTEM, bodies
from hub_intake.service import SERVICE as INTAKE
from hub_kernel.clock import SystemClock, new_id
from hub_kernel.database import open_pool
from hub_kernel.event_store import EventStore, NewEvent, StreamAppend
from hub_kernel.testing import run_hub
from hub_schemas.envelope import RecordedEvent

SOURCE: Final = INTAKE.schema
_POSTED: Final = 2_000
_AT_ONCE: Final = 32
_BATCH: Final = 500


async def fill_log(dsn: str, directory: Path, events: int) -> list[RecordedEvent]:
    """Fill intake's log on a migrated database with so many facts, and read all of them back.

    The first few are posted to intake itself; the others are the same bytes again, as referrals of their own.
    """
    posted = min(events, _POSTED)
    async with (
        run_hub([INTAKE], dsn, directory, log_level="ERROR") as intake,
        intake.client("records_system", system=SYSTEM) as client,
    ):
        await _post(client, bodies(posted, seed="kafka")[:posted])
    async with await open_pool(dsn, role=None, size=2, timeout_seconds=60) as pool:
        store = EventStore(pool, SOURCE, SystemClock())
        async with pool.acquire() as connection:
            first = [event async for page in store.read.pages(connection) for event in page]
        again = (_another(event) for event in islice(cycle(first), events - len(first)))
        while batch := list(islice(again, _BATCH)):
            await store.append(batch)
        async with pool.acquire() as connection:
            return [event async for page in store.read.pages(connection) for event in page]


async def _post(client: httpx.AsyncClient, referrals: list[bytes]) -> None:
    left = iter(referrals)

    async def sender() -> None:
        for body in left:
            headers = {"Content-Type": "application/json"}
            (await client.post("/v1/referrals", content=body, headers=headers)).raise_for_status()

    await asyncio.gather(*(sender() for _ in range(_AT_ONCE)))


def _another(event: RecordedEvent) -> StreamAppend:
    referral_id = new_id()
    new = NewEvent(
        event_id=new_id(),
        type=event.type,
        schema_version=event.schema_version,
        occurred_at=event.occurred_at,
        correlation_id=referral_id,
        causation_id=None,
        actor=event.actor,
        traceparent=event.traceparent,
        open=event.open,
        key_id=event.key_id,
        sealed=event.sealed,
    )
    return StreamAppend(f"referral-{referral_id}", 0, [new])
