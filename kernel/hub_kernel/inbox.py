"""The consumer's record of what it has applied: cursors, last versions, parked events; and its SQL."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from hub_kernel.database import Connection
from hub_kernel.ports import Message


@dataclass(frozen=True, slots=True)
class ParkedEvent:
    """One event that waits, in the bytes it came in; ``next_try_at`` as it stood when it was read."""

    message: Message
    stream_id: str
    version: int
    reason: str
    attempts: int
    next_try_at: datetime | None = None


class Inbox:
    """Reads and writes the consumer tables of one service's schema, always in the caller's transaction."""

    def __init__(self, schema: str, consumer: str, source: str) -> None:
        self._schema, self._consumer, self._source = schema, consumer, source

    async def cursors(self, connection: Connection) -> dict[int, int]:
        """How far each partition has been applied."""
        rows = await connection.fetch(
            f"SELECT partition, position FROM {self._schema}.consumer_cursors"  # noqa: S608
            " WHERE consumer = $1 AND source = $2",
            self._consumer,
            self._source,
        )
        return {row["partition"]: row["position"] for row in rows}

    async def forget_cursors(self, connection: Connection) -> None:
        """Begin again; what was applied stays known."""
        await connection.execute(
            f"DELETE FROM {self._schema}.consumer_cursors WHERE consumer = $1 AND source = $2",  # noqa: S608
            self._consumer,
            self._source,
        )

    async def lock(self, connection: Connection, partition: int) -> int:
        """Take the partition for this transaction and return how far it has been applied."""
        key = (self._consumer, self._source, partition)
        locked = f"""SELECT position FROM {self._schema}.consumer_cursors
                      WHERE consumer = $1 AND source = $2 AND partition = $3 FOR UPDATE"""  # noqa: S608
        position = await connection.fetchval(locked, *key)
        if position is None:
            await connection.execute(
                f"INSERT INTO {self._schema}.consumer_cursors VALUES ($1, $2, $3, 0) ON CONFLICT DO NOTHING",  # noqa: S608
                *key,
            )
            position = await connection.fetchval(locked, *key)
        return int(position)

    async def advance(self, connection: Connection, through: Mapping[int, int]) -> None:
        """Move cursors forward; one that stands further on stays."""
        await connection.execute(
            f"""INSERT INTO {self._schema}.consumer_cursors AS c (consumer, source, partition, position)
                SELECT $1, $2, * FROM unnest($3::int[], $4::bigint[])
                ON CONFLICT (consumer, source, partition)
                DO UPDATE SET position = greatest(c.position, excluded.position)""",  # noqa: S608
            self._consumer,
            self._source,
            list(through),
            list(through.values()),
        )

    async def standing(
        self, connection: Connection, streams: Sequence[str]
    ) -> tuple[dict[str, int], set[str]]:
        """The last applied version of each of these streams (0: none), and those with parked events."""
        rows = await connection.fetch(
            f"""SELECT s.stream_id, coalesce(i.last_version, 0) AS last_version,
                       EXISTS (SELECT FROM {self._schema}.parked p WHERE p.consumer = $1 AND p.source = $2
                                  AND p.stream_id = s.stream_id) AS blocked
                  FROM unnest($3::text[]) AS s (stream_id)
                  LEFT JOIN {self._schema}.inbox i
                    ON i.consumer = $1 AND i.source = $2 AND i.stream_id = s.stream_id""",  # noqa: S608
            self._consumer,
            self._source,
            streams,
        )
        versions = {row["stream_id"]: row["last_version"] for row in rows}
        return versions, {row["stream_id"] for row in rows if row["blocked"]}

    async def finish(
        self, connection: Connection, versions: Mapping[str, int], partition: int, through: int
    ) -> None:
        """Remember the last applied version of these streams and move the partition's cursor forward."""
        await connection.execute(
            f"""WITH applied AS (
                    INSERT INTO {self._schema}.inbox (consumer, source, stream_id, last_version)
                    SELECT $1, $2, * FROM unnest($3::text[], $4::bigint[])
                    ON CONFLICT (consumer, source, stream_id)
                    DO UPDATE SET last_version = excluded.last_version)
                UPDATE {self._schema}.consumer_cursors SET position = greatest(position, $6)
                 WHERE consumer = $1 AND source = $2 AND partition = $5""",  # noqa: S608
            self._consumer,
            self._source,
            list(versions),
            list(versions.values()),
            partition,
            through,
        )

    async def park(
        self,
        connection: Connection,
        parked: Iterable[ParkedEvent],
        at: datetime,
        next_try_at: datetime | None,
    ) -> None:
        """Keep events until they can be applied. An event parked before keeps its place."""
        await connection.executemany(
            f"""INSERT INTO {self._schema}.parked
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING""",  # noqa: S608
            [
                (
                    self._consumer,
                    self._source,
                    event.stream_id,
                    event.version,
                    event.message.partition,
                    event.message.offset,
                    [name for name, _ in event.message.headers],
                    [value for _, value in event.message.headers],
                    event.message.value,
                    event.reason,
                    event.attempts,
                    at,
                    next_try_at,
                )
                for event in parked
            ],
        )

    async def due_streams(self, connection: Connection, now: datetime, limit: int) -> list[tuple[str, int]]:
        """Streams and partitions with parked events to be tried by now, those due longest first."""
        rows = await connection.fetch(
            f"""SELECT stream_id, partition FROM {self._schema}.parked
                 WHERE consumer = $1 AND source = $2 AND next_try_at <= $3
                 GROUP BY stream_id, partition ORDER BY min(next_try_at), stream_id LIMIT $4""",  # noqa: S608
            self._consumer,
            self._source,
            now,
            limit,
        )
        return [(row["stream_id"], row["partition"]) for row in rows]

    async def hasten(self, connection: Connection) -> None:
        """Make due at once whatever waits for something to pass."""
        await connection.execute(
            f"""UPDATE {self._schema}.parked SET next_try_at = parked_at
                 WHERE (consumer, source, stream_id, version) IN (
                       SELECT consumer, source, stream_id, version FROM {self._schema}.parked
                        WHERE consumer = $1 AND source = $2 AND next_try_at > parked_at
                          FOR UPDATE SKIP LOCKED)""",  # noqa: S608
            self._consumer,
            self._source,
        )

    async def first_parked(self, connection: Connection, stream_id: str) -> ParkedEvent | None:
        """The event at the head of a stream's chain."""
        row = await connection.fetchrow(
            f"""SELECT * FROM {self._schema}.parked WHERE consumer = $1 AND source = $2 AND stream_id = $3
                 ORDER BY version LIMIT 1""",  # noqa: S608
            self._consumer,
            self._source,
            stream_id,
        )
        if row is None:
            return None
        headers = tuple(zip(row["header_names"], row["header_values"], strict=True))
        message = Message(self._source, row["partition"], row["position"], headers, row["value"])
        return ParkedEvent(
            message, stream_id, row["version"], row["reason"], row["attempts"], row["next_try_at"]
        )

    async def unpark(self, connection: Connection, event: ParkedEvent) -> None:
        """Take an applied event out of its chain."""
        await connection.execute(
            f"""DELETE FROM {self._schema}.parked
                 WHERE consumer = $1 AND source = $2 AND stream_id = $3 AND version = $4""",  # noqa: S608
            self._consumer,
            self._source,
            event.stream_id,
            event.version,
        )

    async def postpone(
        self, connection: Connection, event: ParkedEvent, reason: str, next_try_at: datetime | None
    ) -> None:
        """Count one more failed try; ``None`` means a person must ask for the next.

        A retry that was asked for while this try was under way stands.
        """
        await connection.execute(
            f"""UPDATE {self._schema}.parked
                   SET attempts = attempts + 1, reason = $5,
                       next_try_at = CASE WHEN next_try_at IS DISTINCT FROM $7 THEN next_try_at ELSE $6 END
                 WHERE consumer = $1 AND source = $2 AND stream_id = $3 AND version = $4""",  # noqa: S608
            self._consumer,
            self._source,
            event.stream_id,
            event.version,
            reason,
            next_try_at,
            event.next_try_at,
        )

    async def parked_count(self, connection: Connection) -> int:
        """How many events of this consumer and source are parked."""
        return int(
            await connection.fetchval(
                f"SELECT count(*) FROM {self._schema}.parked WHERE consumer = $1 AND source = $2",  # noqa: S608
                self._consumer,
                self._source,
            )
        )
