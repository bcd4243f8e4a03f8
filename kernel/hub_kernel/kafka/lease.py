"""The relay's lease: who may publish a log, under which epoch, and how far it has got; and its SQL."""

from dataclasses import dataclass
from typing import ClassVar, Final

import asyncpg

from hub_kernel.errors import Unavailable

LEASE_SECONDS: Final = 6.0
"""How long a relay that died keeps the next one waiting; one with the same lasting name need not wait."""


class LeaseLost(Unavailable):
    """Another relay publishes this log now. This one stops and waits for its turn."""

    slug: ClassVar[str] = "lease-lost"


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to publish under ``epoch``; everything through ``position`` was acknowledged before."""

    epoch: int
    position: int


class RelayTable:
    """One log's row: by the database's own clock, which all relays share."""

    def __init__(self, pool: asyncpg.Pool, schema: str, topic: str) -> None:
        self._pool, self._table, self._topic = pool, f"{schema}.relay", topic

    async def take(self, holder: str) -> Lease | None:
        """Take the lease if it is free, has run out, or was this holder's; ``None`` while another has it."""
        row = await self._pool.fetchrow(
            f"""INSERT INTO {self._table} AS r (topic, epoch, position, holder, held_until)
                VALUES ($1, 1, 0, $2, clock_timestamp() + $3 * interval '1 second')
                ON CONFLICT (topic) DO UPDATE
                   SET epoch = r.epoch + 1, holder = $2, held_until = excluded.held_until
                 WHERE r.held_until < clock_timestamp() OR r.holder = $2
             RETURNING epoch, position""",  # noqa: S608
            self._topic,
            holder,
            LEASE_SECONDS,
        )
        return None if row is None else Lease(row["epoch"], row["position"])

    async def keep(self, epoch: int, position: int) -> None:
        """Hold on for another term, and save how far is acknowledged. Raises ``LeaseLost``."""
        kept = await self._pool.fetchval(
            f"""UPDATE {self._table}
                   SET position = $3, held_until = clock_timestamp() + $4 * interval '1 second'
                 WHERE topic = $1 AND epoch = $2 RETURNING true""",  # noqa: S608
            self._topic,
            epoch,
            position,
            LEASE_SECONDS,
        )
        if not kept:
            raise LeaseLost

    async def give_back(self, epoch: int) -> None:
        """Let the next relay begin at once."""
        await self._pool.execute(
            f"UPDATE {self._table} SET held_until = '-infinity' WHERE topic = $1 AND epoch = $2",  # noqa: S608
            self._topic,
            epoch,
        )

    async def position(self) -> int:
        """How far the log is acknowledged, whoever publishes it."""
        return int(
            await self._pool.fetchval(
                f"SELECT coalesce(max(position), 0) FROM {self._table} WHERE topic = $1",  # noqa: S608
                self._topic,
            )
        )
