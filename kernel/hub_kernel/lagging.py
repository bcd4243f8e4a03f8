"""Where a service's consumers and relay have got to, by its own tables: for whoever asks from outside."""

from collections.abc import Mapping
from dataclasses import dataclass

from hub_kernel.database import Connection


@dataclass(frozen=True, slots=True)
class ConsumerPlace:
    """How far a consumer has applied a source, by partition, and how many of its events are parked."""

    consumer: str
    source: str
    cursors: Mapping[int, int]
    parked: int


@dataclass(frozen=True, slots=True)
class RelayPlace:
    """How far a log is published on a topic; ``is_held``: a relay has the lease now."""

    position: int
    is_held: bool


async def consumer_places(connection: Connection, schema: str) -> list[ConsumerPlace]:
    """Every consumer that ever ran in this schema, or has events parked there."""
    rows = await connection.fetch(
        f"""SELECT consumer, source, array_agg(partition) FILTER (WHERE partition IS NOT NULL) AS partitions,
                   array_agg(position) FILTER (WHERE partition IS NOT NULL) AS positions,
                   sum(parked)::bigint AS parked
              FROM (SELECT consumer, source, partition, position, 0 AS parked FROM {schema}.consumer_cursors
                     UNION ALL
                    SELECT consumer, source, NULL, NULL, count(*) FROM {schema}.parked
                     GROUP BY consumer, source) AS places
             GROUP BY consumer, source ORDER BY consumer, source"""  # noqa: S608
    )
    return [
        ConsumerPlace(
            row["consumer"],
            row["source"],
            dict(zip(row["partitions"] or (), row["positions"] or (), strict=True)),
            row["parked"],
        )
        for row in rows
    ]


async def relay_place(connection: Connection, schema: str, topic: str) -> RelayPlace:
    """How far this schema's log is published on a topic, named without the prefix."""
    row = await connection.fetchrow(
        f"SELECT position, held_until > clock_timestamp() AS is_held FROM {schema}.relay WHERE topic = $1",  # noqa: S608
        topic,
    )
    return RelayPlace(0, is_held=False) if row is None else RelayPlace(row["position"], row["is_held"])
