"""The hub as in production, on this machine: a real Kafka, a PostgreSQL, one process a service."""

import asyncio
import contextlib
import ctypes
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

import httpx
import structlog
from pydantic import SecretStr

from hub_embedded.addresses import Addresses
from hub_embedded.data_dir import DataDir
from hub_embedded.kafka_broker import KafkaBroker
from hub_embedded.launch import embedded_database
from hub_embedded.services import SERVICES
from hub_kernel.errors import Unavailable
from hub_kernel.runtime import local_issuer, master_key
from hub_kernel.settings import Settings

_log = structlog.get_logger(__name__)
_MODULES: Final = {
    "intake": "hub_intake.app",
    "triage": "hub_triage.app",
    "partner-gateway": "hub_partner_gateway.app",
    "oversight": "hub_oversight.app",
}
NAMES: Final = tuple(_MODULES)
READY_SECONDS: Final = 90.0
_LOOK_SECONDS: Final = 0.1
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 10.0
_STOP_MARGIN_SECONDS: Final = 5.0
_PATH: Final = "/usr/bin:/bin"
_PR_SET_PDEATHSIG: Final = 1


class ServiceDidNotStart(Unavailable):
    """A service did not become ready. The end of its log, in the data directory, says why."""

    slug: ClassVar[str] = "service-did-not-start"


@dataclass
class ServiceProcess:
    """One service's process, started again under the same name and address as often as need be."""

    name: str
    url: str
    environment: dict[str, str]
    log: Path
    process: asyncio.subprocess.Process | None = None
    restarts: int = field(default=0, init=False)

    @property
    def is_running(self) -> bool:
        """Whether there is a process that has not ended."""
        return self.process is not None and self.process.returncode is None

    async def start(self, **environment: str) -> None:
        """Start it, without waiting for it; more environment for this run only."""
        with self.log.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                _MODULES[self.name],
                env=self.environment | environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    async def ready(self, client: httpx.AsyncClient, seconds: float = READY_SECONDS) -> None:
        """Wait until it answers that it is ready. Raises ``ServiceDidNotStart``, at once if it ended."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.is_running:
                    with contextlib.suppress(httpx.TransportError):
                        if (await client.get(f"{self.url}/health/ready")).is_success:
                            return
                    await asyncio.sleep(_LOOK_SECONDS)
        raise ServiceDidNotStart(f"{self.name} did not become ready. {self.log} says why.")

    async def stop(self, seconds: float) -> int:
        """SIGTERM, and SIGKILL when that takes too long; returns the exit code."""
        if self.process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            async with asyncio.timeout(seconds):
                return await self.process.wait()
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int:
        """SIGKILL, as a fault would."""
        if self.process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        return await self.process.wait()

    async def keep_running(self) -> None:
        """Start it again whenever it ends, as an orchestrator does, until cancelled."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            if self.process is not None:
                await self.process.wait()
                self.restarts += 1
                _log.warning("service.ended", service=self.name, code=self.process.returncode)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            await self.start()


@dataclass(frozen=True)
class Topology:
    """What runs: the processes by service name, the broker, the database, and how they are reached."""

    settings: Settings
    dsn: str
    broker: KafkaBroker
    services: dict[str, ServiceProcess]
    addresses: Addresses
    client: httpx.AsyncClient

    async def start(self) -> None:
        """Start every service and wait until all are ready."""
        await asyncio.gather(*(service.start() for service in self.services.values()))
        await asyncio.gather(*(service.ready(self.client) for service in self.services.values()))

    async def stop(self) -> None:
        """Stop every service that runs, as an orchestrator does."""
        await asyncio.gather(
            *(service.stop(self.stop_seconds) for service in self.services.values() if service.is_running)
        )

    async def restart(self, name: str) -> int:
        """Stop one service in order and start it again; returns the code it stopped with."""
        code = await self.services[name].stop(self.stop_seconds)
        await self.services[name].start()
        await self.services[name].ready(self.client)
        return code

    @property
    def stop_seconds(self) -> float:
        """How long a service may take to stop before it is killed."""
        return self.settings.shutdown_seconds + _STOP_MARGIN_SECONDS

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """While the block runs, what dies is started again: services and broker."""
        keepers = [asyncio.create_task(self.broker.keep_running())]
        keepers += [asyncio.create_task(service.keep_running()) for service in self.services.values()]
        try:
            yield
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)


@asynccontextmanager
async def topology(
    settings: Settings, *, ports: Mapping[str, int] | None = None, **more: str
) -> AsyncIterator[Topology]:
    """Broker and database running, services not yet started; everything is stopped in order at the end.

    The services answer at the ``ports`` given by name, or as ``service_ports`` says; ``more`` is environment
    for every service. Raises ``DataDirInUse``, ``PostgresDidNotStart`` and what ``KafkaBroker.start`` does.
    """
    data_dir = DataDir.at(settings.data_dir)
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(embedded_database(settings))
        broker = KafkaBroker(data_dir.path / "kafka")
        await asyncio.to_thread(broker.start)
        stack.push_async_callback(asyncio.to_thread, broker.stop)
        # Made once here, not by whichever of four processes is first.
        master_key(settings)
        local_issuer(settings)
        ports = ports or service_ports(settings.port)
        environment = {
            "PATH": _PATH,
            **settings.as_environment(),
            "HUB_DATABASE_URL": dsn,
            "HUB_BUS_URL": f"kafka://{broker.bootstrap}",
            **more,
        }
        services = {
            name: ServiceProcess(
                name,
                f"http://{settings.host}:{port}",
                environment | {"HUB_PORT": str(port), "HUB_INSTANCE": f"{name}-0"},
                data_dir.path / f"{name}.log",
            )
            for name, port in ports.items()
        }
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=2))
        urls = {name.replace("-", "_"): service.url for name, service in services.items()}
        own = {"database_url": SecretStr(dsn), "bus_url": f"kafka://{broker.bootstrap}"}
        running = Topology(settings.model_copy(update=own), dsn, broker, services, Addresses(**urls), client)
        stack.push_async_callback(running.stop)
        yield running


def _die_with_parent() -> None:
    """Have Linux stop this process when the one that started it is gone, however it ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def service_ports(first: int) -> dict[str, int]:
    """A port a service: from ``first`` on in the order of the services, or free ones for 0."""
    if first:
        return {service.name: first + number for number, service in enumerate(SERVICES)}
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in SERVICES]
        return {service.name: probe.getsockname()[1] for service, probe in zip(SERVICES, probes, strict=True)}
