"""What the conformance suite needs of each adapter besides the port: facts on it, outages, restarts."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Protocol
from urllib.parse import urlsplit

import asyncpg
from tests.component.ledger_service import LEDGER
from tests.contract.mock_cluster import BROKERS, MockCluster

from hub_embedded.kafka_broker import KafkaBroker
from hub_kernel.clock import Clock, new_id
from hub_kernel.database import open_pool
from hub_kernel.event_store import EventStore, StreamAppend
from hub_kernel.kafka import KafkaBus, KafkaConnection, Relay, facts_spec
from hub_kernel.log_bus import LogBus
from hub_kernel.ports import Bus
from hub_kernel.roles import BUS_ROLE
from hub_kernel.testing import dsn_for
from hub_kernel.wakeups import Wakeups
from hub_schemas.topics import facts_topic

PARTITIONS = 4


class BusHarness(Protocol):
    """What the suite needs of an adapter besides the port itself.

    ``carries_groups``: this carrier can divide partitions among members, if the adapter claims to.
    """

    carries_groups: bool

    async def publish(self, *appends: StreamAppend) -> None:
        """Record facts of the ledger and see to it that the carrier has them."""
        ...

    async def bus(self) -> Bus:
        """A started bus of ``PARTITIONS`` partitions."""
        ...

    async def restart(self) -> None:
        """Close every bus, as when all processes end; what is durable stays."""
        ...

    def away(self) -> AbstractAsyncContextManager[None]:
        """While the block lasts the carrier does not answer."""
        ...


class LogBusHarness:
    """The log bus over the ledger's own log."""

    carries_groups = True

    def __init__(self, dsn: str, ledger: EventStore, clock: Clock) -> None:
        self._dsn, self._ledger, self._clock = dsn, ledger, clock
        self._buses: list[tuple[LogBus, asyncpg.Pool]] = []

    async def publish(self, *appends: StreamAppend) -> None:
        """Append: the log is the carrier."""
        await self._ledger.append(appends)

    async def bus(self) -> Bus:
        """Another bus over the same log."""
        pool = await open_pool(self._dsn, role=BUS_ROLE, size=4)
        bus = LogBus(self._dsn, pool, self._clock, partitions=PARTITIONS)
        self._buses.append((bus, pool))
        await bus.start()
        return bus

    async def restart(self) -> None:
        """Close every bus and its connections."""
        for bus, pool in self._buses:
            await bus.close()
            pool.terminate()
        self._buses.clear()

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """The database takes no connections."""
        name = urlsplit(self._dsn).path.lstrip("/")
        elsewhere = await asyncpg.connect(dsn_for(self._dsn, "postgres"))
        await elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await elsewhere.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
        )
        yield
        await elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await elsewhere.close()


class KafkaHarness(ABC):
    """Kafka, fed from the ledger's log by the relay; each test has its own topics and groups."""

    carries_groups = True

    def __init__(self, bootstrap: str, dsn: str, ledger: EventStore, clock: Clock) -> None:
        self._ledger, self._clock = ledger, clock
        self.connection = KafkaConnection(bootstrap, prefix=f"{new_id().hex}.", session_seconds=6)
        self._buses: list[KafkaBus] = []
        self._wakeups = Wakeups(dsn)
        self._relay = Relay(
            ledger.pool,
            LEDGER.schema,
            facts_spec(LEDGER.schema, PARTITIONS, 1),
            self.connection,
            self._wakeups,
            clock,
        )
        self._relaying: asyncio.Task[None] | None = None

    async def publish(self, *appends: StreamAppend) -> None:
        """Append, and wait until the relay has brought all of it."""
        if self._relaying is None:
            self._wakeups.start()
            self._relaying = asyncio.create_task(self._relay.run())
        await self._ledger.append(appends)
        async with asyncio.timeout(30):
            while (await self._relay.lag()).events:  # noqa: ASYNC110  it is another task's work
                await asyncio.sleep(0.01)

    async def bus(self) -> Bus:
        """Another bus to the same cluster."""
        bus = KafkaBus(self.connection, self._clock, partitions=PARTITIONS)
        self._buses.append(bus)
        await bus.start()
        return bus

    async def restart(self) -> None:
        """Leave every group, stop the relay."""
        for bus in self._buses:
            await bus.close()
        self._buses.clear()
        if self._relaying is not None:
            self._relaying.cancel()
            with suppress(asyncio.CancelledError):
                await self._relaying
            self._relaying = None
            await self._wakeups.close()

    @abstractmethod
    def away(self) -> AbstractAsyncContextManager[None]:
        """While the block lasts no broker answers."""


class BrokerHarness(KafkaHarness):
    """A real broker."""

    def __init__(self, broker: KafkaBroker, dsn: str, ledger: EventStore, clock: Clock) -> None:
        super().__init__(broker.bootstrap, dsn, ledger, clock)
        self._broker = broker

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """The broker was killed; after the block it is started again on what it had."""
        await asyncio.to_thread(self._broker.kill)
        try:
            yield
        finally:
            await asyncio.to_thread(self._broker.start)


class MockHarness(KafkaHarness):
    """The small cluster of librdkafka: three brokers and every fault, but groups of one member only."""

    carries_groups = False

    def __init__(self, cluster: MockCluster, dsn: str, ledger: EventStore, clock: Clock) -> None:
        super().__init__(cluster.bootstrap, dsn, ledger, clock)
        self._cluster = cluster
        self.topic = self.connection.topic(facts_topic(LEDGER.schema))
        cluster.create_topic(self.topic, PARTITIONS)

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Every broker is down."""
        for broker in range(1, BROKERS + 1):
            self._cluster.broker_down(broker)
        try:
            yield
        finally:
            for broker in range(1, BROKERS + 1):
                self._cluster.broker_up(broker)
