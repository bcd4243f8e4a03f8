"""Latency of a referral, embedded, at fifty a second: accepted to graded, and to the partner's answer."""

import asyncio
from dataclasses import replace
from itertools import islice

import uvloop

from bench.instants import milliseconds, newest_position
from bench.measuring import Row, percentile, report
from bench.surroundings import data_directory, free_port, process, program, simulated_partners, until_up
from hub_embedded.database_access import database
from hub_embedded.demo.generator import submissions
from hub_embedded.demo.hub_staff import HubStaff, eager_pace, hub_staff_client
from hub_embedded.demo.progress import Watch
from hub_embedded.demo.records_system import RecordsSystem, records_system_client
from hub_embedded.demo.run import until_quiet
from hub_kernel.clock import SystemClock
from hub_kernel.runtime import local_issuer
from hub_kernel.settings import Settings

RATE = 50
REFERRALS = 1_500
WARM_UP = 100


def main() -> None:
    """Run the hub, and its partners, each in a process of its own; then read the instants out of the logs."""
    with data_directory() as directory:
        settings = Settings(data_dir=directory, port=free_port())
        seen = uvloop.run(_run(settings))
    report("latency", latency_rows(seen, RATE))


def latency_rows(seen: dict[str, list[float]], rate: float) -> list[Row]:
    """A row a stage, of milliseconds measured at so many referrals a second."""
    return [
        Row.of(
            stage,
            "ms (median)",
            [percentile(values, 0.5)],
            p90_ms=round(percentile(values, 0.9), 1),
            p99_ms=round(percentile(values, 0.99), 1),
            count=len(values),
            rate_a_second=rate,
        )
        for stage, values in seen.items()
    ]


async def _run(settings: Settings) -> dict[str, list[float]]:
    issuer, hub_url = local_issuer(settings), f"http://127.0.0.1:{settings.port}"
    async with (
        simulated_partners(settings, issuer, hub_url) as partners,
        process([program("hub"), "run"], settings, HUB_PARTNERS=partners.setting),
        records_system_client(hub_url, issuer) as records,
        hub_staff_client(hub_url, issuer) as staff,
    ):
        await until_up(f"{hub_url}/health/ready")
        working = asyncio.create_task(
            HubStaff(staff, SystemClock(), replace(eager_pace(), look_seconds=0.25)).work()
        )
        records_system = RecordsSystem(records)
        stream = submissions(WARM_UP + REFERRALS, seed=1)
        await records_system.send_all(islice(stream, WARM_UP), at_once=8, per_second=RATE)
        with database(settings) as dsn:
            warm = await newest_position(dsn)
            await records_system.send_all(stream, at_once=32, per_second=RATE)
            watch = Watch(dsn)
            await until_quiet(watch, len(records_system.posted.referrals))
            await watch.close()
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            return await milliseconds(dsn, warm)
