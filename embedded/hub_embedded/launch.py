"""Launching the embedded hub: its data directory, its database, its four services, and a clean end."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import uvloop

from hub_embedded.data_dir import DataDir
from hub_embedded.postgres import EmbeddedPostgres
from hub_embedded.services import SERVICES
from hub_kernel.clock import Clock
from hub_kernel.errors import Unavailable
from hub_kernel.migrating import migrate
from hub_kernel.runtime import Hub, serve
from hub_kernel.settings import Settings
from hub_kernel.signals import INTERRUPTED, cancelled_by_signals

URL_FILE: Final = "hub.url"
"""Where a running hub says at which address it answers, for the command line tools on the same machine."""
T = TypeVar("T")


class PortTaken(Unavailable):
    """Something listens on the hub's address already. Stop it, or set HUB_PORT to another port (0: any)."""

    slug: ClassVar[str] = "port-taken"


@dataclass(frozen=True, slots=True)
class Launched:
    """A hub that answers at ``base_url``; ``ended`` is done when somebody stopped it."""

    hub: Hub
    base_url: str
    ended: "asyncio.Task[None]"


def start(main: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine in a fresh event loop; a signal during its launch exits with 130."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(main)
    except asyncio.CancelledError:
        raise SystemExit(INTERRUPTED) from None


async def run(settings: Settings) -> None:
    """Run the hub until SIGINT or SIGTERM. Raises ``DataDirInUse``, ``PostgresDidNotStart``."""
    async with embedded_database(settings) as dsn, launched(settings, dsn) as hub:
        await hub.ended


@asynccontextmanager
async def embedded_database(settings: Settings) -> AsyncIterator[str]:
    """The DSN of a migrated database, for as long as the block runs, with the data directory held.

    The one of HUB_DATABASE_URL, or the data directory's own, which is started again whenever it dies. Raises
    ``DataDirInUse``, ``PostgresDidNotStart``.
    """
    data_dir = DataDir.at(settings.data_dir)
    with data_dir.lock(), cancelled_by_signals(lambda: False):
        if settings.database_url is not None:
            dsn = settings.database_url.get_secret_value()
            await migrate(dsn, SERVICES)
            yield dsn
            return
        postgres = EmbeddedPostgres(data_dir)
        try:
            await asyncio.to_thread(postgres.start)
            await migrate(postgres.dsn(), SERVICES)
            keeper = asyncio.create_task(postgres.keep_running(), name="postgres-keeper")
            try:
                yield postgres.dsn()
            finally:
                await _cancelled(keeper)
        finally:
            await asyncio.to_thread(postgres.stop)


@asynccontextmanager
async def launched(settings: Settings, dsn: str, *, clock: Clock | None = None) -> AsyncIterator[Launched]:
    """Serve the four services while the block runs. SIGINT and SIGTERM end ``ended``; a second one, all.

    Leaving the block stops the hub as cleanly as a signal would: requests finish, consumers stop, heads are
    written. Raises ``PortTaken``, and what ``serve`` raises.
    """
    answering: asyncio.Future[tuple[Hub, str]] = asyncio.get_running_loop().create_future()

    async def started(hub: Hub, base_url: str) -> None:
        answering.set_result((hub, base_url))

    _require_free(settings.host, settings.port)
    with cancelled_by_signals(answering.done):
        ended = asyncio.create_task(
            serve(SERVICES, settings, dsn, clock=clock, started=started), name="hub-server"
        )
        try:
            hub, base_url = await _first(answering, ended)
        except asyncio.CancelledError:
            await _cancelled(ended)
            raise
        url_file = settings.data_dir / URL_FILE
        _write_private(url_file, base_url)
        try:
            yield Launched(hub, base_url, ended)
        finally:
            url_file.unlink(missing_ok=True)
            if not ended.done():
                signal.raise_signal(signal.SIGTERM)  # the way in uvicorn offers to end it and wait
            await ended


def _require_free(host: str, port: int) -> None:
    """Say so before the server does: it could only end the process."""
    try:
        [(family, *_, address), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise PortTaken from error


async def _first(answering: "asyncio.Future[T]", ended: "asyncio.Task[None]") -> T:
    """The answer; or the error with which the server ended before it gave one."""
    waited: set[asyncio.Future[Any]] = {ended, answering}
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    if ended.done():
        ended.result()
    return await answering


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _write_private(path: Path, text: str) -> None:
    """Put a file in place whole, readable by its owner alone."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(text)
    unfinished.replace(path)
