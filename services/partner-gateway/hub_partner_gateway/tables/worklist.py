"""The sender's worklist and the referrals' documents, sealed: what to look at when, and what to write."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import asyncpg

from hub_kernel.database import Connection
from hub_partner_gateway.commands import PlanDelivery
from hub_partner_gateway.domain.errors import DeliveryUnknown
from hub_schemas.codes import Agency, Authority
from hub_schemas.envelope import RecordedEvent

_UNKNOWN: Final = datetime(1970, 1, 1, tzinfo=UTC)
LEASE_SECONDS: Final = 30
"""How long a claim holds if its process dies; longer than any request to a partner may take."""


@dataclass(frozen=True, slots=True)
class Row:
    """Where a delivery goes.

    ``asked`` counts the looks in vain since it last moved; ``awaits_beyond`` is the version of the document
    that could not be written (0: there was none), while a later one is awaited.
    """

    delivery_id: UUID
    referral_id: UUID
    message_id: UUID
    authority: Authority
    agency: Agency
    destination: str | None
    asked: int
    awaits_beyond: int | None


@dataclass(frozen=True, slots=True)
class HeldDocument:
    """The latest document of a referral, sealed as intake recorded it; ``None`` once withdrawn."""

    version: int
    event: RecordedEvent | None


_ROW: Final = "delivery_id, referral_id, message_id, authority, agency, destination, asked, awaits_beyond"


class Worklist:
    """Which delivery to look at when.

    What a delivery has come to is folded from the log; a row that is out of date costs one look and nothing
    else. Nobody holds a row while waiting for the log's lock.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def add(self, connection: Connection, plans: Sequence[PlanDelivery]) -> None:
        """Put planned deliveries on the list, due at once; one that nothing can carry is never due."""
        await connection.executemany(
            """INSERT INTO partner_gateway.deliveries
                   (delivery_id, referral_id, message_id, authority, agency, destination, next_attempt_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING""",
            [
                (
                    one.delivery_id,
                    one.referral_id,
                    one.message_id,
                    one.authority,
                    one.agency,
                    one.package,
                    None if one.package is None else one.at,
                )
                for one in plans
            ],
        )

    async def of_referral(self, connection: Connection, referral_id: UUID) -> list[UUID]:
        """The ids of every delivery of a referral."""
        rows = await connection.fetch(
            "SELECT delivery_id FROM partner_gateway.deliveries WHERE referral_id = $1", referral_id
        )
        return [row["delivery_id"] for row in rows]

    async def look_at(self, connection: Connection, referral_id: UUID, at: datetime) -> None:
        """Have every delivery of a referral that has not ended looked at."""
        await connection.execute(
            """UPDATE partner_gateway.deliveries SET next_attempt_at = $2
                WHERE referral_id = $1 AND next_attempt_at IS NOT NULL""",
            referral_id,
            at,
        )

    async def by_message(self, message_id: UUID) -> Row:
        """The delivery a partner answers. Raises ``DeliveryUnknown``."""
        row = await self._pool.fetchrow(
            f"SELECT {_ROW} FROM partner_gateway.deliveries WHERE message_id = $1",  # noqa: S608  constants only
            message_id,
        )
        if row is None:
            raise DeliveryUnknown
        return Row(**row)

    async def keep_document(self, connection: Connection, referral_id: UUID, event: RecordedEvent) -> None:
        """Keep a referral's newer document as it came, sealed; deliveries that waited for it go on."""
        await connection.execute(
            """INSERT INTO partner_gateway.documents AS d
                   (referral_id, version, position, event_id, type, key_id, sealed)
               VALUES ($1, $2, $3, $4, $5, $6, $7)
               ON CONFLICT (referral_id) DO UPDATE
                  SET version = excluded.version, position = excluded.position, event_id = excluded.event_id,
                      type = excluded.type, key_id = excluded.key_id, sealed = excluded.sealed
                WHERE d.version < excluded.version AND NOT d.withdrawn""",
            referral_id,
            event.version,
            event.position,
            event.event_id,
            event.type,
            event.key_id,
            event.sealed,
        )
        await connection.execute(
            """UPDATE partner_gateway.deliveries SET next_attempt_at = $2
                WHERE referral_id = $1 AND awaits_beyond < $3""",
            referral_id,
            event.recorded_at,
            event.version,
        )

    async def drop_document(self, connection: Connection, referral_id: UUID, version: int) -> None:
        """Forget a withdrawn referral's document, and that it ever comes back."""
        await connection.execute(
            """INSERT INTO partner_gateway.documents (referral_id, version, withdrawn) VALUES ($1, $2, true)
               ON CONFLICT (referral_id) DO UPDATE SET version = excluded.version, withdrawn = true,
                      position = NULL, event_id = NULL, type = NULL, key_id = NULL, sealed = NULL""",
            referral_id,
            version,
        )

    async def documents(
        self, connection: Connection, referral_ids: Sequence[UUID]
    ) -> Mapping[UUID, HeldDocument]:
        """The latest documents of these referrals, sealed."""
        rows = await connection.fetch(
            "SELECT * FROM partner_gateway.documents WHERE referral_id = ANY ($1)", list(referral_ids)
        )
        return {row["referral_id"]: HeldDocument(row["version"], _sealed_event(row)) for row in rows}

    async def claim(self, now: datetime, free: Mapping[str, int]) -> list[Row]:
        """Take due deliveries, at most ``free`` for each destination; no other sender gets them meanwhile.

        Leases run on the database's clock, because they bound the life of a process, not of a deadline.
        """
        rows = await self._pool.fetch(
            f"""UPDATE partner_gateway.deliveries SET claimed_until = now() + make_interval(secs => $4)
                 WHERE delivery_id IN (
                       SELECT due.delivery_id FROM unnest($2::text[], $3::int[]) AS free (destination, slots)
                        CROSS JOIN LATERAL (
                              SELECT d.delivery_id FROM partner_gateway.deliveries AS d
                               WHERE d.destination = free.destination AND d.next_attempt_at <= $1
                                 AND (d.claimed_until IS NULL OR d.claimed_until < now())
                               ORDER BY d.next_attempt_at LIMIT free.slots FOR UPDATE SKIP LOCKED) AS due)
             RETURNING {_ROW}""",  # noqa: S608  constants only
            now,
            list(free),
            list(free.values()),
            LEASE_SECONDS,
        )
        return [Row(**row) for row in rows]

    async def settle(
        self,
        row: Row,
        next_attempt_at: datetime | None,
        *,
        asked: int = 0,
        awaits_beyond: int | None = None,
    ) -> None:
        """Give a claimed delivery back, to be looked at again then; ``None``: no more."""
        await self._pool.execute(
            """UPDATE partner_gateway.deliveries
                  SET next_attempt_at = $2, asked = $3, awaits_beyond = $4, claimed_until = NULL
                WHERE delivery_id = $1""",
            row.delivery_id,
            next_attempt_at,
            asked,
            awaits_beyond,
        )

    async def next_attempt_at(self) -> datetime | None:
        """The nearest instant at which an unclaimed delivery must be looked at."""
        instant: datetime | None = await self._pool.fetchval(
            """SELECT min(next_attempt_at) FROM partner_gateway.deliveries
                WHERE next_attempt_at IS NOT NULL AND (claimed_until IS NULL OR claimed_until < now())"""
        )
        return instant

    async def take_over(self, connection: Connection) -> None:
        """Free what a sender left claimed when it died; only while no other sender is running.

        The advisory lock that tells so lasts until ``hand_over``, or until the process dies.
        """
        alone = await connection.fetchval(
            "SELECT pg_try_advisory_lock(hashtextextended('partner_gateway.sender', 0))"
        )
        if alone:
            await connection.execute(
                "UPDATE partner_gateway.deliveries SET claimed_until = NULL WHERE claimed_until IS NOT NULL"
            )

    async def hand_over(self, connection: Connection) -> None:
        """Let the next sender take over."""
        await connection.execute("SELECT pg_advisory_unlock_all()")


def _sealed_event(row: asyncpg.Record) -> RecordedEvent | None:
    """As much of intake's event as opening it and recording that takes."""
    if row["sealed"] is None:
        return None
    return RecordedEvent(
        source="intake",
        position=row["position"],
        stream_id=f"referral-{row['referral_id']}",
        version=row["version"],
        event_id=row["event_id"],
        type=row["type"],
        schema_version=1,
        occurred_at=_UNKNOWN,
        recorded_at=_UNKNOWN,
        correlation_id=row["referral_id"],
        causation_id=None,
        actor="",
        traceparent=None,
        open=b"{}",
        key_id=row["key_id"],
        sealed=row["sealed"],
    )
