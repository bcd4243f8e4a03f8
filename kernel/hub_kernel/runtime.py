"""The runtime: brings services up in one process, in order, and down again, in order."""

import asyncio
import functools
import gc
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, Final

import asyncpg
import structlog
import uvicorn
from fastapi import FastAPI

from hub_kernel import failpoints, metrics, parking_routes
from hub_kernel.access_log import AccessLog
from hub_kernel.auth import LOCAL_ISSUER, LocalIssuer, TokenVerifier, read_issuer_keys
from hub_kernel.carrying import open_bus, relays
from hub_kernel.clock import Clock, SystemClock
from hub_kernel.database import open_pool
from hub_kernel.errors import Forbidden
from hub_kernel.event_store import EventStore
from hub_kernel.heads import HeadFile
from hub_kernel.http_protocol import BoundedHttpProtocol
from hub_kernel.kafka import KafkaBus, Publisher, Relay
from hub_kernel.operations import operations
from hub_kernel.roles import KEYRING_ROLE
from hub_kernel.sealing import Keyring, MasterKey
from hub_kernel.service import Parts, Service, ServiceContext, Worker
from hub_kernel.settings import Settings
from hub_kernel.sign_in import SignIn
from hub_kernel.telemetry import configure_tracing
from hub_kernel.web import create_api, include_closed

_log = structlog.get_logger(__name__)
_FIRST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 10.0
_BATCH_PATH: Final = "/v1/referrals/batch"


class NotBeyondLoopback(Forbidden):
    """Without an identity provider (HUB_ISSUER and HUB_ISSUER_JWKS_FILE) the hub listens on loopback only."""

    slug: ClassVar[str] = "not-beyond-loopback"


@dataclass(frozen=True)
class Hub:
    """A running set of services. ``sign_in`` is ``None`` with a real identity provider."""

    app: FastAPI
    contexts: dict[str, ServiceContext]
    parts: dict[str, Parts]
    issuer: LocalIssuer
    sign_in: SignIn | None
    heads: HeadFile


def master_key(settings: Settings) -> MasterKey:
    """The master key from settings, or from its file, made at the first run."""
    if settings.master_key is not None:
        return MasterKey.from_text(settings.master_key.get_secret_value())
    return MasterKey.from_file(settings.master_key_file or settings.data_dir / "master.key")


def local_issuer(settings: Settings) -> LocalIssuer:
    """The embedded hub's own issuer, its key in the data directory."""
    return LocalIssuer(settings.data_dir / "issuer.key", settings.audience)


def own_sign_in(settings: Settings) -> SignIn | None:
    """One-time links into the pages; none where people sign in at a real identity provider."""
    if settings.has_real_issuer:
        return None
    return SignIn(local_issuer(settings), settings.data_dir / "sign-in-used", settings.audience)


def token_verifier(settings: Settings) -> TokenVerifier:
    """Checks tokens of the configured identity provider, or of the local issuer."""
    if settings.issuer_jwks_file is not None and settings.issuer is not None:
        keys = read_issuer_keys(settings.issuer_jwks_file)
        return TokenVerifier(keys, settings.issuer, settings.audience)
    return TokenVerifier(local_issuer(settings).keys, LOCAL_ISSUER, settings.audience)


@asynccontextmanager
async def running(
    services: Sequence[Service], settings: Settings, dsn: str, *, clock: Clock | None = None
) -> AsyncIterator[Hub]:
    """Run services against a migrated database until the block ends; then stop, drain and close in order."""
    clock = clock or SystemClock()
    if settings.failpoint:
        name, _, hits = settings.failpoint.partition(":")
        failpoints.arm(name, int(hits or 1))
    configure_tracing("referral-hub", settings.otlp_endpoint)
    async with AsyncExitStack() as stack:
        contexts = await _contexts(services, settings, dsn, clock, stack)
        relaying = await stack.enter_async_context(relays(settings, dsn, contexts.values()))
        parts = {service.name: service.build(contexts[service.name]) for service in services}
        heads = HeadFile(settings.data_dir / "heads.jsonl", master_key(settings))
        hub = _assemble(services, settings, contexts, parts, relaying, heads)
        await _write_heads(hub, services)
        loops = _start(parts, relaying)
        try:
            yield hub
        finally:
            await _stop(loops, settings.shutdown_seconds)
            await _write_heads(hub, services)


async def serve(
    services: Sequence[Service],
    settings: Settings,
    dsn: str,
    *,
    clock: Clock | None = None,
    started: Callable[[Hub, str], Awaitable[None]] | None = None,
) -> None:
    """Run services behind uvicorn until SIGTERM or SIGINT. ``started`` is called with the base URL.

    Raises ``NotBeyondLoopback``.
    """
    if not settings.has_real_issuer and not _is_loopback(settings.host):
        raise NotBeyondLoopback
    async with running(services, settings, dsn, clock=clock) as hub:
        server = uvicorn.Server(
            uvicorn.Config(
                hub.app,
                host=settings.host,
                port=settings.port,
                http=BoundedHttpProtocol,
                ws="none",
                lifespan="off",
                proxy_headers=False,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=int(settings.shutdown_seconds),
            )
        )
        _calm_collector()
        announce = asyncio.create_task(_announce(server, hub, started))
        await server.serve()
        announce.cancel()


def _calm_collector() -> None:
    """Take what start-up made out of the garbage collector's rounds, and let it go round less often.

    A round over everything loaded costs tens of milliseconds, paid by whichever request it meets.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _announce(
    server: uvicorn.Server, hub: Hub, started: Callable[[Hub, str], Awaitable[None]] | None
) -> None:
    while not server.started:  # noqa: ASYNC110  uvicorn offers no event to await
        await asyncio.sleep(0.02)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    if started is not None:
        await started(hub, f"http://{host}:{port}")


async def _contexts(
    services: Sequence[Service], settings: Settings, dsn: str, clock: Clock, stack: AsyncExitStack
) -> dict[str, ServiceContext]:
    master = master_key(settings)
    keyring = Keyring(await _pool(dsn, KEYRING_ROLE, settings, stack), master)
    verifier = token_verifier(settings)
    bus = await stack.enter_async_context(open_bus(settings, dsn, clock))
    kafka = bus if isinstance(bus, KafkaBus) else None
    publisher = None
    if kafka is not None:
        publisher = Publisher(kafka.connection)
        stack.push_async_callback(publisher.close)
    contexts = {}
    for service in services:
        pool = await _pool(dsn, service.role, settings, stack)
        access_log = AccessLog(EventStore(pool, service.access_schema, clock), keyring, clock, service.name)
        contexts[service.name] = ServiceContext(
            name=service.name,
            schema=service.schema,
            settings=settings,
            clock=clock,
            pool=pool,
            store=EventStore(pool, service.schema, clock),
            access_log=access_log,
            keyring=keyring,
            master_key=master,
            verifier=verifier,
            bus=bus,
            kafka=kafka,
            publisher=publisher,
        )
    return contexts


async def _pool(dsn: str, role: str, settings: Settings, stack: AsyncExitStack) -> asyncpg.Pool:
    pool = await open_pool(dsn, role=role, size=settings.pool_size)
    stack.push_async_callback(_close_pool, pool)
    return pool


async def _close_pool(pool: asyncpg.Pool) -> None:
    try:
        async with asyncio.timeout(2):
            await pool.close()
    except TimeoutError:
        pool.terminate()


def _assemble(
    services: Sequence[Service],
    settings: Settings,
    contexts: dict[str, ServiceContext],
    parts: dict[str, Parts],
    relaying: Sequence[Relay],
    heads: HeadFile,
) -> Hub:
    issuer, sign_in = local_issuer(settings), own_sign_in(settings)
    verifier = next(context.verifier for context in contexts.values())
    limits = {_BATCH_PATH: settings.max_batch_body_bytes}
    app = create_api("Referral hub", verifier, limits, settings.max_body_bytes)
    for service in services:
        for router in parts[service.name].routers:
            include_closed(app, router, [service.name])
    if sign_in is not None:
        include_closed(app, sign_in.router(), [])
    include_closed(app, parking_routes.routes(contexts), ["operations"])
    include_closed(app, operations(app, contexts, parts, relaying), [])
    return Hub(app, contexts, parts, issuer, sign_in, heads)


@dataclass(frozen=True)
class _Loops:
    """Loops that are told to stop together."""

    stopping: asyncio.Event
    tasks: list["asyncio.Task[None]"]

    @classmethod
    def started(cls, loops: Mapping[str, Callable[[asyncio.Event], Awaitable[None]]]) -> "_Loops":
        """Set them going, by name."""
        stopping = asyncio.Event()
        kept = [
            asyncio.create_task(_keep_running(name, run, stopping), name=name) for name, run in loops.items()
        ]
        return cls(stopping, kept)


def _start(parts: dict[str, Parts], relaying: Sequence[Relay]) -> list[_Loops]:
    """Set everything going; in the order in which it is to stop: consumers, their facts' relays, workers."""
    consumers = {
        f"{name}<-{consumer.source}": consumer.run
        for name, part in parts.items()
        for consumer in part.consumers
    }
    relays_by_name = {f"{relay.source}.relay": relay.run for relay in relaying}
    workers = {
        f"{name}.{worker}": functools.partial(_run_worker, run)
        for name, part in parts.items()
        for worker, run in part.workers.items()
    }
    return [_Loops.started(consumers), _Loops.started(relays_by_name), _Loops.started(workers)]


async def _run_worker(run: Worker, _stopping: asyncio.Event) -> None:
    """A worker is not told to stop: it is ended, and finds what was under way when it runs again."""
    await run()


async def _keep_running(
    name: str, run: Callable[[asyncio.Event], Awaitable[None]], stopping: asyncio.Event
) -> None:
    """Run a loop until it is to stop; when it fails, say so and start it again after a growing pause."""
    pause = _FIRST_PAUSE_SECONDS
    while True:
        started = asyncio.get_running_loop().time()
        try:
            await run(stopping)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Not ours: client libraries raise cancellations of their own, and a loop must not end of them.
            metrics.WORKER_FAILURES.labels(name).inc()
            _log.error("worker.failed", worker=name, error="CancelledError")
        except Exception:  # noqa: BLE001  a worker that stays down would be worse than any error it met
            metrics.WORKER_FAILURES.labels(name).inc()
            _log.exception("worker.failed", worker=name)
        if stopping.is_set():
            return
        if asyncio.get_running_loop().time() - started > _LONGEST_PAUSE_SECONDS:
            pause = _FIRST_PAUSE_SECONDS
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


async def _stop(loops: Sequence[_Loops], seconds: float) -> None:
    """Let consumers finish what they hold and relays what those recorded; end workers, and who takes long."""
    *finishing, workers = loops
    for some in finishing:
        some.stopping.set()
        if some.tasks:
            await asyncio.wait(some.tasks, timeout=seconds / 3)
    workers.stopping.set()
    tasks = [task for some in loops for task in some.tasks]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=seconds / 3)


async def _write_heads(hub: Hub, services: Sequence[Service]) -> None:
    """Sign where each log ends and keep it outside the database, at every start and stop."""
    for service in services:
        context = hub.contexts[service.name]
        try:
            async with context.pool.acquire() as connection:
                for store in (context.store, context.access_log.store):
                    hub.heads.add(store.schema, await store.head(connection), context.clock)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            _log.warning("heads.not_written", service=service.name, error=type(error).__name__)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
