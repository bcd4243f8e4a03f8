"""What a service hands to the runtime: its contents page in one value."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from fastapi import APIRouter

from hub_kernel.access_log import AccessLog
from hub_kernel.auth import TokenVerifier
from hub_kernel.clock import Clock
from hub_kernel.consuming import BatchHandler, Consumer, Handler, one_by_one
from hub_kernel.event_store import EventStore
from hub_kernel.kafka import KafkaBus, Publisher
from hub_kernel.ports import Bus
from hub_kernel.sealing import Keyring, MasterKey
from hub_kernel.settings import Settings
from hub_schemas.registry import Registry

Worker = Callable[[], Coroutine[Any, Any, None]]
"""A background loop; it runs until cancelled, and is started again when it fails."""


@dataclass(frozen=True)
class Parts:
    """What runs and answers in a service."""

    routers: Sequence[APIRouter] = ()
    consumers: Sequence[Consumer] = ()
    workers: dict[str, Worker] = field(default_factory=dict)


@dataclass(frozen=True)
class ServiceContext:
    """What the kernel gives a service: its own pool, log, access log, and the shared ports."""

    name: str
    schema: str
    settings: Settings
    clock: Clock
    pool: asyncpg.Pool
    store: EventStore
    access_log: AccessLog
    keyring: Keyring
    master_key: MasterKey
    verifier: TokenVerifier
    bus: Bus
    kafka: KafkaBus | None
    """For topics beside the facts'; ``None`` on the log bus."""
    publisher: Publisher | None
    """Sends single records to topics; ``None`` on the log bus."""

    def consumer(self, source: str, handler: Handler) -> Consumer:
        """A consumer of a service's facts (``source`` is its schema) in this service's database."""
        return self.batch_consumer(source, one_by_one(handler))

    def batch_consumer(self, source: str, handler: BatchHandler, *, linger_seconds: float = 0.0) -> Consumer:
        """As ``consumer``, for effects that are made faster for several events together.

        ``linger_seconds`` is how long the effects may wait for more to come.
        """
        return Consumer(
            self.name,
            source,
            schema=self.schema,
            pool=self.pool,
            bus=self.bus,
            handler=handler,
            clock=self.clock,
            linger_seconds=linger_seconds,
        )


@dataclass(frozen=True)
class Service:
    """A service: its names, its facts, its migrations, and how it is put together.

    ``schema`` is its database schema, its name on the bus, and (as ``hub_<schema>``) its role. ``migrations``
    is the package that holds its Alembic scripts. ``hears`` names the services whose facts it hears, by
    schema, for whoever asks without building it.
    """

    name: str
    schema: str
    registry: Registry
    migrations: str
    build: Callable[[ServiceContext], Parts]
    hears: tuple[str, ...] = ()

    @property
    def role(self) -> str:
        """The database role its sessions run as."""
        return f"hub_{self.schema}"

    @property
    def access_schema(self) -> str:
        """The schema of its access log."""
        return f"{self.schema}_access"
