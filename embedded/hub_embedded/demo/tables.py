"""What the demo asks the hub's database directly, around every service: for its own count."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg


class OversightRows(NamedTuple):
    """What oversight shows: referrals with a view, lines of history by source, deliveries."""

    referrals: frozenset[UUID]
    lines: Mapping[str, int]
    deliveries: frozenset[UUID]


async def read_oversight(connection: asyncpg.Connection) -> OversightRows:
    """Read oversight's tables as they are."""
    views = await connection.fetch("SELECT referral_id FROM oversight.referral_views")
    lines = await connection.fetch("SELECT source, count(*) AS lines FROM oversight.timeline GROUP BY source")
    deliveries = await connection.fetch("SELECT delivery_id FROM oversight.deliveries")
    return OversightRows(
        frozenset(row["referral_id"] for row in views),
        {row["source"]: row["lines"] for row in lines},
        frozenset(row["delivery_id"] for row in deliveries),
    )


async def newest_recorded_at(connection: asyncpg.Connection) -> datetime | None:
    """When the last fact of any service was recorded; ``None`` while there is none."""
    found: datetime | None = await connection.fetchval(
        """SELECT max(recorded_at)
             FROM (SELECT * FROM intake.log_head UNION ALL SELECT * FROM triage.log_head
                   UNION ALL SELECT * FROM partner_gateway.log_head) AS heads
            WHERE position > 0"""
    )
    return found
