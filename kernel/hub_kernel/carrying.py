"""Which bus the settings name, and what carries facts onto it: nothing for the log bus, relays for Kafka."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import ClassVar, Final

from hub_kernel.clock import Clock
from hub_kernel.database import open_pool
from hub_kernel.errors import Unavailable
from hub_kernel.kafka import KafkaBus, KafkaConnection, Relay, facts_spec
from hub_kernel.log_bus import LogBus
from hub_kernel.ports import Bus
from hub_kernel.roles import BUS_ROLE
from hub_kernel.service import ServiceContext
from hub_kernel.settings import Settings
from hub_kernel.wakeups import Wakeups

LOG_BUS: Final = "log://"
_KAFKA: Final = "kafka://"


class UnknownBus(Unavailable):
    """HUB_BUS_URL names no bus. Use log:// (the services' own logs) or kafka://host:port,host:port."""

    slug: ClassVar[str] = "unknown-bus"


def is_kafka(settings: Settings) -> bool:
    """Whether facts travel over Kafka. Raises ``UnknownBus`` for neither of the two."""
    if settings.bus_url == LOG_BUS:
        return False
    if settings.bus_url.startswith(_KAFKA):
        return True
    raise UnknownBus


@asynccontextmanager
async def open_bus(settings: Settings, dsn: str, clock: Clock) -> AsyncIterator[Bus]:
    """The bus of the settings while the block runs. Raises ``UnknownBus``, ``KafkaMisconfigured``."""
    if is_kafka(settings):
        bus: Bus = kafka_bus(settings, clock)
        try:
            yield bus
        finally:
            await bus.close()
        return
    pool = await open_pool(dsn, role=BUS_ROLE, size=settings.pool_size)
    try:
        bus = LogBus(dsn, pool, clock, partitions=settings.bus_partitions)
        await bus.start()
        try:
            yield bus
        finally:
            await bus.close()
    finally:
        pool.terminate()


def kafka_bus(settings: Settings, clock: Clock) -> KafkaBus:
    """The bus on Kafka. Raises ``KafkaMisconfigured``."""
    return KafkaBus(
        KafkaConnection.from_settings(settings),
        clock,
        partitions=settings.bus_partitions,
        replication=settings.kafka_replication,
    )


@asynccontextmanager
async def relays(
    settings: Settings, dsn: str, contexts: Iterable[ServiceContext]
) -> AsyncIterator[list[Relay]]:
    """The relays these services' logs need, not yet running; none on the log bus."""
    if not is_kafka(settings):
        yield []
        return
    connection = KafkaConnection.from_settings(settings)
    wakeups = Wakeups(dsn)
    wakeups.start()
    try:
        yield [
            Relay(
                context.pool,
                context.schema,
                facts_spec(context.schema, settings.bus_partitions, settings.kafka_replication),
                connection,
                wakeups,
                context.clock,
            )
            for context in contexts
        ]
    finally:
        await wakeups.close()
