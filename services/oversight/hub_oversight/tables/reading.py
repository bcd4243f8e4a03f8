"""Reading the figures. ``within`` bounds an answer to one authority; None means all of the force's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg

from hub_kernel.database import Connection
from hub_kernel.errors import NotFound
from hub_oversight.tables.read_models import decode_view
from hub_oversight.views.figures import (
    AUTHORITIES,
    CLOCKS,
    LEVELS_OF_NEED,
    PERCENTS,
    WAITING_AGE_EDGES_SECONDS,
    WAITING_AGES,
    Arrival,
    Backlog,
    Breaches,
    ClockBreaches,
    CountyDeliveries,
    OpenBreach,
    Percentiles,
    Timeliness,
    WaitingCell,
    arrival_of,
    backlog,
    timeliness,
)
from hub_oversight.views.timeline import SOURCES, Timeline, TimelineEntry, timeline_of

OPEN_BREACHES_MAX: Final = 200
ARRIVALS: Final = 20
PAGE_BREACHES: Final = 10


class ReferralUnknown(NotFound):
    """Nothing has been heard of this referral, or this token may not see it. Check the id."""

    slug = "referral-unknown"


@dataclass(frozen=True, slots=True)
class Now:
    """All the first page shows, read in one snapshot, so that its figures agree with each other.

    ``unread`` counts facts that wait for a person because they could not be applied.
    """

    as_of: datetime
    arrivals: list[Arrival]
    backlog: Backlog
    timeliness: Timeliness
    breaches: Breaches
    deliveries: list[CountyDeliveries]
    unread: int


class Readings:
    """What may be asked of the read models."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def now(self, as_of: datetime, received_since: datetime, *, within: str | None) -> Now:
        """Everything at once, for the first page."""
        async with self._snapshot() as connection:
            return Now(
                as_of=as_of,
                arrivals=await _arrivals(connection, within),
                backlog=await _backlog(connection, as_of, within),
                timeliness=await _timeliness(connection, as_of, received_since, within),
                breaches=await _breaches(connection, as_of, within, PAGE_BREACHES),
                deliveries=await _deliveries(connection, within),
                unread=await connection.fetchval("SELECT count(*) FROM oversight.parked"),
            )

    async def backlog(self, as_of: datetime, *, within: str | None) -> Backlog:
        """Who waits for a decision."""
        async with self._snapshot() as connection:
            return await _backlog(connection, as_of, within)

    async def timeliness(
        self, as_of: datetime, received_since: datetime, *, within: str | None
    ) -> Timeliness:
        """How long referrals received since an instant took."""
        async with self._snapshot() as connection:
            return await _timeliness(connection, as_of, received_since, within)

    async def breaches(self, as_of: datetime, *, within: str | None) -> Breaches:
        """What ran late, with the first ``OPEN_BREACHES_MAX`` of those still open."""
        async with self._snapshot() as connection:
            return await _breaches(connection, as_of, within, OPEN_BREACHES_MAX)

    async def timeline(self, referral_id: UUID, *, within: str | None) -> Timeline:
        """One referral and all that was heard of it. Raises ``ReferralUnknown``."""
        async with self._snapshot() as connection:
            content = await connection.fetchval(
                "SELECT view FROM oversight.referral_views WHERE referral_id = $1", referral_id
            )
            rows = await connection.fetch(
                """SELECT source, position, occurred_at, recorded_at, type, sentence
                     FROM oversight.timeline WHERE referral_id = $1
                    ORDER BY recorded_at, array_position($2, source), position""",
                referral_id,
                list(SOURCES),
            )
        if content is None:
            raise ReferralUnknown
        view = decode_view(content)
        if within not in {None, view.authority}:
            raise ReferralUnknown
        return timeline_of(view, [TimelineEntry(**row) for row in rows])

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[Connection]:
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection


async def _arrivals(connection: Connection, within: str | None) -> list[Arrival]:
    rows = await connection.fetch(
        """SELECT received_at, view FROM oversight.referral_views
            WHERE received_at IS NOT NULL AND ($1::text IS NULL OR authority = $1)
            ORDER BY received_at DESC, referral_id DESC LIMIT $2""",
        within,
        ARRIVALS,
    )
    return [arrival_of(decode_view(row["view"]), row["received_at"]) for row in rows]


async def _backlog(connection: Connection, as_of: datetime, within: str | None) -> Backlog:
    rows = await connection.fetch(
        """SELECT authority, risk_grade, level_of_need, stage,
                  width_bucket(extract(epoch FROM $1 - waiting_since)::float8, $2::float8[]) AS age,
                  count(*) AS count, min(waiting_since) AS oldest_since
             FROM oversight.referral_views
            WHERE waiting_since IS NOT NULL AND ($3::text IS NULL OR authority = $3)
            GROUP BY 1, 2, 3, 4, 5""",
        as_of,
        WAITING_AGE_EDGES_SECONDS,
        within,
    )
    return backlog([WaitingCell(**{**row, "age": WAITING_AGES[row["age"]]}) for row in rows], as_of)


async def _timeliness(
    connection: Connection, as_of: datetime, received_since: datetime, within: str | None
) -> Timeliness:
    """Measure. PostgreSQL's ``percentile_disc`` is the nearest rank."""
    rows = await connection.fetch(
        """SELECT measure, authority, count(*) AS count,
                  percentile_disc($1::float8[]) WITHIN GROUP (ORDER BY seconds) AS seconds
             FROM oversight.referral_views,
                  LATERAL (VALUES ('grade', grade_seconds), ('share', share_seconds),
                                  ('acknowledgement', acknowledgement_seconds)) AS m (measure, seconds)
            WHERE received_at >= $2 AND seconds IS NOT NULL AND ($3::text IS NULL OR authority = $3)
            GROUP BY GROUPING SETS ((measure), (measure, authority))""",
        [percent / 100 for percent in PERCENTS],
        received_since,
        within,
    )
    measured = {(row["measure"], row["authority"]): _percentiles(row) for row in rows}
    return timeliness(measured, as_of, received_since)


def _percentiles(row: asyncpg.Record) -> Percentiles:
    median, p90, p95 = row["seconds"]
    return Percentiles(count=row["count"], median_seconds=median, p90_seconds=p90, p95_seconds=p95)


async def _breaches(connection: Connection, as_of: datetime, within: str | None, limit: int) -> Breaches:
    counts = await connection.fetch(
        """SELECT clock, count(*) FILTER (WHERE is_open) AS open, count(*) AS total FROM oversight.breaches
            WHERE $1::text IS NULL OR authority = $1 GROUP BY clock""",
        within,
    )
    rows = await connection.fetch(
        """SELECT referral_id, authority, clock, due_at, breached_at, risk_grade, level_of_need, late_start
             FROM oversight.breaches WHERE is_open AND ($1::text IS NULL OR authority = $1)
            ORDER BY array_position($2, level_of_need), due_at, referral_id, clock LIMIT $3""",
        within,
        list(LEVELS_OF_NEED),
        limit,
    )
    known = {row["clock"]: ClockBreaches(open=row["open"], total=row["total"]) for row in counts}
    none = ClockBreaches(open=0, total=0)
    return Breaches(
        as_of=as_of,
        by_clock={clock: known.get(clock, none) for clock in CLOCKS},
        open=[OpenBreach(**row) for row in rows],
    )


async def _deliveries(connection: Connection, within: str | None) -> list[CountyDeliveries]:
    rows = await connection.fetch(
        """SELECT authority, state, count(*) AS count, count(*) FILTER (WHERE to_telephone) AS to_telephone
             FROM oversight.deliveries WHERE $1::text IS NULL OR authority = $1 GROUP BY authority, state""",
        within,
    )
    by_authority: dict[str, list[Any]] = {authority: [] for authority in AUTHORITIES}
    for row in rows:
        by_authority[row["authority"]].append(row)
    return [
        CountyDeliveries(
            authority=authority,
            by_state={row["state"]: row["count"] for row in by_authority[authority]},
            to_telephone=sum(row["to_telephone"] for row in by_authority[authority]),
        )
        for authority in AUTHORITIES
    ]
