"""Latency of a referral, embedded, at fifty a second: accepted to graded, and to the partner's answer."""

import asyncio
import contextlib
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

import asyncpg
import httpx
import uvloop

from bench.measuring import Row, percentile, report
from hub_embedded.data_dir import DataDir
from hub_embedded.database_access import database
from hub_embedded.demo.generator import submissions
from hub_embedded.demo.hub_staff import HubStaff, eager_pace, hub_staff_client
from hub_embedded.demo.partners import partners_setting, tenancies_for, write_tenancies
from hub_embedded.demo.progress import Watch
from hub_embedded.demo.records_system import RecordsSystem, records_system_client
from hub_embedded.demo.run import until_quiet
from hub_kernel.auth import LocalIssuer
from hub_kernel.clock import SystemClock
from hub_kernel.runtime import local_issuer
from hub_kernel.settings import Settings

RATE = 50
REFERRALS = 1_500
WARM_UP = 100

_GRADED = """
    SELECT extract(epoch FROM g.recorded_at - r.recorded_at) * 1000 AS ms
      FROM intake.events r JOIN LATERAL (
           SELECT recorded_at FROM triage.events g
            WHERE g.correlation_id = r.correlation_id AND g.type = 'RiskGraded'
            ORDER BY position LIMIT 1) g ON true
     WHERE r.type = 'ReferralReceived' AND r.position > $1"""
_ACKNOWLEDGED = """
    SELECT extract(epoch FROM a.recorded_at - r.recorded_at) * 1000 AS ms
      FROM intake.events r
      JOIN triage.events s ON s.correlation_id = r.correlation_id AND s.type = 'ShareDecided'
      JOIN partner_gateway.events a ON a.correlation_id = r.correlation_id AND a.type = 'Acknowledged'
     WHERE r.type = 'ReferralReceived' AND r.position > $1
       AND convert_from(s.open, 'UTF8')::json ->> 'by_policy' IS NOT NULL"""
_AFTER_DECISION = """
    SELECT extract(epoch FROM a.recorded_at - s.recorded_at) * 1000 AS ms
      FROM triage.events s
      JOIN partner_gateway.events a ON a.correlation_id = s.correlation_id AND a.type = 'Acknowledged'
     WHERE s.type = 'ShareDecided' AND s.correlation_id IN (
           SELECT correlation_id FROM intake.events WHERE position > $1)"""


def main() -> None:
    """Run the hub, and its partners, each in a process of its own; then read the instants out of the logs."""
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as directory:
        Path(directory).chmod(0o711)
        settings = Settings(data_dir=DataDir.at(Path(directory) / "data").path, port=_free_port())
        seen = uvloop.run(_run(settings))
    rows = [
        Row.of(
            case,
            "ms (median)",
            [percentile(values, 0.5)],
            p90_ms=round(percentile(values, 0.9), 1),
            p99_ms=round(percentile(values, 0.99), 1),
            count=len(values),
            rate_a_second=RATE,
        )
        for case, values in seen.items()
    ]
    report("latency", rows)


async def _run(settings: Settings) -> dict[str, list[float]]:
    issuer, hub_url = local_issuer(settings), f"http://127.0.0.1:{settings.port}"
    async with (
        _partners(settings, issuer, hub_url) as partners,
        _process([_program("hub"), "run"], settings, HUB_PARTNERS=partners),
        records_system_client(hub_url, issuer) as records,
        hub_staff_client(hub_url, issuer) as staff,
    ):
        await _until_up(f"{hub_url}/health/ready")
        working = asyncio.create_task(
            HubStaff(staff, SystemClock(), replace(eager_pace(), look_seconds=0.25)).work()
        )
        records_system = RecordsSystem(records)
        stream = submissions(WARM_UP + REFERRALS, seed=1)
        await records_system.send_all(islice(stream, WARM_UP), at_once=8, per_second=RATE)
        with database(settings) as dsn:
            warm = await _newest_position(dsn)
            await records_system.send_all(stream, at_once=32, per_second=RATE)
            watch = Watch(dsn)
            await until_quiet(watch, len(records_system.posted.referrals))
            await watch.close()
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            queries = {
                "accepted-to-graded": _GRADED,
                "accepted-to-acknowledged": _ACKNOWLEDGED,
                "decided-to-acknowledged": _AFTER_DECISION,
            }
            return {case: await _milliseconds(dsn, query, warm) for case, query in queries.items()}


@asynccontextmanager
async def _partners(settings: Settings, issuer: LocalIssuer, hub_url: str) -> AsyncIterator[str]:
    tenancies = tenancies_for(issuer, hub_url)
    port, listed = _free_port(), settings.data_dir / "tenancies.json"
    write_tenancies(tenancies, listed)
    command = [
        sys.executable, "-m", "hub_embedded.partner_simulators", "--port", str(port),
        "--tenancies", str(listed), "--state", str(settings.data_dir / "partners.sqlite"),
    ]  # fmt: skip
    async with _process(command, settings):
        await _until_up(f"http://127.0.0.1:{port}/control")
        yield partners_setting(tenancies, f"http://127.0.0.1:{port}").get_secret_value()


@asynccontextmanager
async def _process(command: list[str], settings: Settings, **environment: str) -> AsyncIterator[None]:
    environment |= {"PATH": "/usr/bin:/bin", "HUB_LOG_LEVEL": "ERROR"}
    environment |= {"HUB_DATA_DIR": str(settings.data_dir), "HUB_PORT": str(settings.port)}
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def _until_up(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(60):
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get(url)).is_success:
                    return
            await asyncio.sleep(0.1)


async def _newest_position(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        return int(await connection.fetchval("SELECT position FROM intake.log_head"))
    finally:
        await connection.close()


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def _milliseconds(dsn: str, query: str, after: int) -> list[float]:
    connection = await asyncpg.connect(dsn)
    try:
        return [float(row["ms"]) for row in await connection.fetch(query, after)]
    finally:
        await connection.close()
