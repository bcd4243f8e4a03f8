"""``hub lag``: how far every consumer and relay is behind, by the services' own tables and the bus."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import typer
import uvloop
from aiokafka.errors import TopicAuthorizationFailedError
from rich.console import Console
from rich.table import Table

from hub_embedded.database_access import database, pool_as
from hub_embedded.output import reader_may_leave, write_json_lines
from hub_embedded.services import SERVICES
from hub_intake.api.by_bus.hearing import SOURCE as INBOUND
from hub_intake.service import SERVICE as INTAKE
from hub_kernel.carrying import is_kafka, open_bus
from hub_kernel.clock import Clock, SystemClock
from hub_kernel.database import Connection
from hub_kernel.event_store.reading import Reader
from hub_kernel.kafka import KafkaAway, KafkaBus
from hub_kernel.lagging import ConsumerPlace, consumer_places, relay_place
from hub_kernel.ports import Bus
from hub_kernel.service import Service
from hub_kernel.settings import Settings
from hub_schemas.topics import INBOUND_TOPIC, facts_topic

_BEHIND: Final = 1


@dataclass(frozen=True, slots=True)
class Behind:
    """How far one consumer, or one relay, is behind.

    ``seconds`` is ``None`` where whoever asks may not read the topic. ``parked`` is a consumer's;
    ``is_running`` a relay's: whether one holds the lease now.
    """

    kind: Literal["consumer", "relay"]
    service: str
    name: str
    source: str
    events: int
    seconds: float | None
    parked: int | None = None
    is_running: bool | None = None


def lag(
    *,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="End with 1 if anything is further behind than this.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON, for machines.")] = False,
) -> None:
    """List how far every consumer and relay is behind: events, and the age of the oldest of them."""
    settings = Settings()
    with database(settings) as dsn:
        found = uvloop.run(_found(settings, dsn))
    with reader_may_leave():
        if as_json:
            write_json_lines(found)
        else:
            _show(found)
    if seconds is not None and any((one.seconds or 0.0) > seconds for one in found):
        raise typer.Exit(_BEHIND)


async def _found(settings: Settings, dsn: str) -> list[Behind]:
    clock, relayed = SystemClock(), is_kafka(settings)
    found = []
    async with open_bus(settings, dsn, clock) as bus:
        for service in SERVICES:
            async with pool_as(dsn, service.role) as pool, pool.acquire() as connection:
                places = await _places(service, connection, relayed=relayed)
                found += [await _consumer(bus, service, place) for place in places]
                if relayed:
                    found.append(await _relay(service, connection, clock))
    return found


async def _places(service: Service, connection: Connection, *, relayed: bool) -> list[ConsumerPlace]:
    """Every consumer this service has on this bus, those that never ran among them."""
    sources = [*service.hears, *([INBOUND] if relayed and service is INTAKE else [])]
    known = {place.source: place for place in await consumer_places(connection, service.schema)}
    return [known.get(source, ConsumerPlace(service.name, source, {}, 0)) for source in sources]


async def _consumer(bus: Bus, service: Service, place: ConsumerPlace) -> Behind:
    if place.source == INBOUND and isinstance(bus, KafkaBus):
        events, seconds = await _inbound(bus, place)
    else:
        behind = await bus.lag(place.source, place.cursors)
        events, seconds = behind.events, round(behind.seconds, 3)
    return Behind(
        "consumer", service.name, place.consumer, place.source, events, seconds, parked=place.parked
    )


async def _inbound(bus: KafkaBus, place: ConsumerPlace) -> tuple[int, float | None]:
    """Events and seconds behind; the seconds only if whoever asks may read the topic, which is in clear."""
    try:
        behind = await bus.topic_lag(INBOUND_TOPIC, place.cursors)
    except KafkaAway as error:
        if not isinstance(error.__cause__, TopicAuthorizationFailedError):
            raise
        ends = await bus.ends(INBOUND_TOPIC)
        return sum(max(0, end - place.cursors.get(partition, 0)) for partition, end in ends.items()), None
    return behind.events, round(behind.seconds, 3)


async def _relay(service: Service, connection: Connection, clock: Clock) -> Behind:
    topic = facts_topic(service.schema)
    place = await relay_place(connection, service.schema, topic)
    events, oldest = await Reader(service.schema).behind(connection, place.position)
    age = 0.0 if oldest is None else max(0.0, (clock.now() - oldest).total_seconds())
    return Behind(
        "relay", service.name, topic, service.schema, events, round(age, 3), is_running=place.is_held
    )


def _show(found: Sequence[Behind]) -> None:
    table = Table()
    for heading in ("service", "", "source", "events", "seconds", "parked", "relay"):
        number = heading in {"events", "seconds", "parked"}
        table.add_column(heading, justify="right" if number else "left", overflow="fold")
    for one in found:
        table.add_row(
            one.service,
            one.kind,
            one.source,
            f"{one.events:,}",
            "may not read" if one.seconds is None else f"{one.seconds:,.1f}",
            "" if one.parked is None else f"{one.parked:,}",
            {None: "", True: "running", False: "nobody"}[one.is_running],
        )
    Console(markup=False, highlight=False).print(table)
