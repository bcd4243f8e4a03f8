"""Every service is stopped in order and started again, one after another, while referrals come in."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from hub_embedded.demo.generator import submissions
from hub_embedded.demo.hub_staff import eager_pace
from hub_embedded.demo.run import Demo, check, demo_topology, until_quiet
from hub_embedded.partner_simulators import Behaviour
from hub_embedded.topology import NAMES, Topology
from hub_kernel.clock import SystemClock, new_id
from hub_kernel.settings import Settings

RATE = 8.0
"""Referrals a second."""


@pytest.fixture
async def hub() -> AsyncIterator[tuple[Demo, Topology]]:
    """The hub as in production, with staff and partners, which nobody starts again when it stops."""
    directory = Path(tempfile.gettempdir()) / f"hub-rolling-{new_id()}"
    settings = Settings(data_dir=directory, port=0, log_level="WARNING")
    try:
        async with demo_topology(settings, SystemClock(), eager_pace(), Behaviour(), kept=False) as made:
            yield made
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def test_a_rolling_restart_under_load_loses_nothing_and_alarms_nobody(
    hub: tuple[Demo, Topology],
) -> None:
    demo, running = hub
    stopping = asyncio.Event()
    posting = asyncio.create_task(
        demo.records_system.send_all(submissions(seed=5), at_once=8, per_second=RATE, stopping=stopping)
    )
    staff = asyncio.create_task(demo.staff.work(), name="staff")
    codes = [await running.restart(name) for name in NAMES]
    stopping.set()
    await posting
    accepted = list(demo.records_system.posted.referrals.values())
    await until_quiet(demo.watch, len(accepted))
    found = await check(running.dsn, accepted, demo.watch.tally, demo.ledger)
    staff.cancel()
    await demo.watch.close()
    assert codes == [0, 0, 0, 0]
    assert len(accepted) > 4 * RATE
    assert found == []
    assert await alarms(running.dsn) == {"breaches": 0, "parked": 0}
    assert alarming_lines(running.settings.data_dir) == []


async def alarms(dsn: str) -> dict[str, int]:
    """What would have called a person: broken deadlines, events that could not be applied."""
    connection = await asyncpg.connect(dsn)
    try:
        breaches = await connection.fetchval(
            "SELECT count(*) FROM triage.events WHERE type = 'ClockBreached'"
        )
        parked = [
            await connection.fetchval(f"SELECT count(*) FROM {schema}.parked")
            for schema in ("intake", "triage", "partner_gateway", "oversight")
        ]
    finally:
        await connection.close()
    return {"breaches": breaches, "parked": sum(parked)}


def alarming_lines(directory: Path) -> list[str]:
    """Errors of our own in any service's log; what libraries say carries no event."""
    return [
        line
        for name in NAMES
        for line in (directory / f"{name}.log").read_text().splitlines()
        if '"level": "error"' in line and '"event"' in line
    ]
