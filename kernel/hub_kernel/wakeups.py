"""Wake-ups: who waits for a log to grow is told by PostgreSQL's NOTIFY. Polling stays the truth."""

import asyncio
import contextlib
import functools
from collections.abc import Callable
from typing import Final

import asyncpg
import structlog

from hub_kernel.database import Connection

_log = structlog.get_logger(__name__)
POLL_SECONDS: Final = 0.5
"""How long a reader may sleep through a lost notification."""
DATABASE_AWAY: Final = (
    OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError,
)  # fmt: skip
"""What a database that is away, or was just now, raises at a reader."""


class Wakeups:
    """One connection that listens for every log anybody waits for."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._asked = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen."""
        self._listener = asyncio.create_task(self._listen(), name="wakeups")

    def on(self, log: str) -> tuple[asyncio.Event, Callable[[], None]]:
        """An event that is set whenever the log has grown, and how to say that nobody waits any more."""
        wakeup = asyncio.Event()
        self._waiting.setdefault(log, set()).add(wakeup)
        self._asked.set()
        return wakeup, functools.partial(self._waiting[log].discard, wakeup)

    async def close(self) -> None:
        """Stop listening. Safe to repeat."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait([self._listener])
            self._listener = None

    async def _listen(self) -> None:
        """Keep one connection listening for every log; while it is down, readers poll."""
        while True:
            try:
                await self._listen_once()
            except DATABASE_AWAY as error:
                _log.warning("wakeups.listener_lost", error=type(error).__name__)
            await asyncio.sleep(POLL_SECONDS)

    async def _listen_once(self) -> None:
        connection = await asyncpg.connect(self._dsn, timeout=10)
        try:
            heard: set[str] = set()
            while not connection.is_closed():
                self._asked.clear()
                for log in set(self._waiting) - heard:
                    await connection.add_listener(log, self._wake)
                    heard.add(log)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._asked.wait()
        finally:
            # Not asked to close: a server that hangs would answer with an error in place of a cancellation.
            connection.terminate()

    def _wake(self, _connection: Connection, _pid: int, log: str, _payload: str) -> None:
        for wakeup in self._waiting.get(log, ()):
            wakeup.set()
