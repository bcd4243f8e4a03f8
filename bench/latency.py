"""Latency of a referral, embedded, at fifty a second: accepted to graded, and to the partner's answer."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import asyncpg
import uvloop

from bench.measuring import Row, percentile, report
from hub_embedded.data_dir import DataDir
from hub_embedded.postgres import EmbeddedPostgres

RATE = 50
REFERRALS = 1_500

_GRADED = """
    SELECT extract(epoch FROM g.recorded_at - r.recorded_at) * 1000 AS ms
      FROM intake.events r JOIN LATERAL (
           SELECT recorded_at FROM triage.events g
            WHERE g.correlation_id = r.correlation_id AND g.type = 'RiskGraded'
            ORDER BY position LIMIT 1) g ON true
     WHERE r.type = 'ReferralReceived'"""
_ACKNOWLEDGED = """
    SELECT extract(epoch FROM a.recorded_at - r.recorded_at) * 1000 AS ms
      FROM intake.events r
      JOIN triage.events s ON s.correlation_id = r.correlation_id AND s.type = 'ShareDecided'
      JOIN partner_gateway.events a ON a.correlation_id = r.correlation_id AND a.type = 'Acknowledged'
     WHERE r.type = 'ReferralReceived' AND convert_from(s.open, 'UTF8')::json ->> 'by_policy' IS NOT NULL"""
_AFTER_DECISION = """
    SELECT extract(epoch FROM a.recorded_at - s.recorded_at) * 1000 AS ms
      FROM triage.events s
      JOIN partner_gateway.events a ON a.correlation_id = s.correlation_id AND a.type = 'Acknowledged'
     WHERE s.type = 'ShareDecided'"""


def main() -> None:
    """Run the demo at a fixed rate in a process of its own, then read the instants out of its logs."""
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as directory:
        Path(directory).chmod(0o711)
        data_dir = Path(directory) / "data"
        hub = str(Path(sys.executable).parent / "hub")
        command = [hub, "demo", "--referrals", str(REFERRALS), "--rate", str(RATE), "--json"]
        done = subprocess.run(  # noqa: S603
            [*command, "--data-dir", str(data_dir)], stdout=subprocess.PIPE, check=True, text=True
        )
        outcome = json.loads(done.stdout)
        with EmbeddedPostgres(DataDir.at(data_dir)) as server:
            cases = {
                "accepted-to-graded": uvloop.run(_milliseconds(server.dsn(), _GRADED)),
                "accepted-to-acknowledged": uvloop.run(_milliseconds(server.dsn(), _ACKNOWLEDGED)),
                "decided-to-acknowledged": uvloop.run(_milliseconds(server.dsn(), _AFTER_DECISION)),
            }
    rows = [
        Row.of(
            case,
            "ms (median)",
            [percentile(values, 0.5)],
            p99_ms=round(percentile(values, 0.99), 1),
            count=len(values),
            rate_a_second=RATE,
            lost=outcome["lost"],
            duplicated=outcome["duplicated"],
        )
        for case, values in cases.items()
    ]
    report("latency", rows)


async def _milliseconds(dsn: str, query: str) -> list[float]:
    connection = await asyncpg.connect(dsn)
    try:
        return [float(row["ms"]) for row in await connection.fetch(query)]
    finally:
        await connection.close()
