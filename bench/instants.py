"""How long things took, from the instants the logs themselves hold."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

import asyncpg

_GRADED: Final = """
    SELECT extract(epoch FROM g.recorded_at - r.recorded_at) * 1000 AS ms
      FROM intake.events r JOIN LATERAL (
           SELECT recorded_at FROM triage.events g
            WHERE g.correlation_id = r.correlation_id AND g.type = 'RiskGraded'
            ORDER BY position LIMIT 1) g ON true
     WHERE r.type = 'ReferralReceived' AND r.position > $1"""
_ACKNOWLEDGED: Final = """
    SELECT extract(epoch FROM a.recorded_at - r.recorded_at) * 1000 AS ms
      FROM intake.events r
      JOIN triage.events s ON s.correlation_id = r.correlation_id AND s.type = 'ShareDecided'
      JOIN partner_gateway.events a ON a.correlation_id = r.correlation_id AND a.type = 'Acknowledged'
     WHERE r.type = 'ReferralReceived' AND r.position > $1
       AND convert_from(s.open, 'UTF8')::json ->> 'by_policy' IS NOT NULL"""
_AFTER_DECISION: Final = """
    SELECT extract(epoch FROM a.recorded_at - s.recorded_at) * 1000 AS ms
      FROM triage.events s
      JOIN partner_gateway.events a ON a.correlation_id = s.correlation_id AND a.type = 'Acknowledged'
     WHERE s.type = 'ShareDecided' AND s.correlation_id IN (
           SELECT correlation_id FROM intake.events WHERE position > $1)"""
STAGES: Final[Mapping[str, str]] = {
    "accepted-to-graded": _GRADED,
    "accepted-to-acknowledged": _ACKNOWLEDGED,
    "decided-to-acknowledged": _AFTER_DECISION,
}
"""Accepted to acknowledged counts only what policy shares at once: with a person between it is theirs."""


class Graded(NamedTuple):
    """When a referral was accepted, and how many seconds later it was graded; ``None``: never."""

    accepted_at: datetime
    seconds: float | None


async def newest_position(dsn: str) -> int:
    """Where intake's log ends now."""
    connection = await asyncpg.connect(dsn)
    try:
        return int(await connection.fetchval("SELECT position FROM intake.log_head"))
    finally:
        await connection.close()


async def milliseconds(dsn: str, after: int) -> dict[str, list[float]]:
    """Each stage of each referral intake recorded beyond this position."""
    connection = await asyncpg.connect(dsn)
    try:
        return {
            stage: [float(row["ms"]) for row in await connection.fetch(query, after)]
            for stage, query in STAGES.items()
        }
    finally:
        await connection.close()


async def graded(dsn: str) -> list[Graded]:
    """Every referral in the order it was accepted."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            """SELECT r.recorded_at, extract(epoch FROM g.recorded_at - r.recorded_at) AS seconds
                 FROM intake.events r LEFT JOIN LATERAL (
                      SELECT recorded_at FROM triage.events g
                       WHERE g.correlation_id = r.correlation_id AND g.type = 'RiskGraded'
                       ORDER BY position LIMIT 1) g ON true
                WHERE r.type = 'ReferralReceived' ORDER BY r.position"""
        )
    finally:
        await connection.close()
    return [
        Graded(row["recorded_at"], None if row["seconds"] is None else float(row["seconds"])) for row in rows
    ]


async def ungraded(connection: asyncpg.Connection, accepted_by: datetime) -> int:
    """How many referrals accepted by then wait for their first grade."""
    return int(
        await connection.fetchval(
            """SELECT count(*) FROM intake.events r
                WHERE r.type = 'ReferralReceived' AND r.recorded_at <= $1 AND NOT EXISTS (
                      SELECT FROM triage.events g
                       WHERE g.correlation_id = r.correlation_id AND g.type = 'RiskGraded')""",
            accepted_by,
        )
    )
