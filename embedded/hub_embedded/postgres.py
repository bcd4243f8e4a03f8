"""The hub's private PostgreSQL: shared with its command line tools, kept alive, stopped by its last user."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self
from urllib.parse import quote

import structlog

from hub_embedded.data_dir import DataDir
from hub_embedded.postgres_home import SUPERUSER, PostgresHome
from hub_embedded.postgres_server import PostgresDidNotStart, PostgresServer

DATABASE = "hub"
_WATCH_SECONDS = 0.2
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Use:
    """What a started user holds: the server, its socket directory and a share of the users' lock."""

    server: PostgresServer
    sockets: Path
    users_lock: int


class EmbeddedPostgres:
    """A use of the one PostgreSQL server of a data directory.

    Any number of processes and objects may use it at once: the first starts it, the last stops it, and one
    left running by a hub that was killed is taken over. Calls block (a first start about a second, a stop
    less), so an event loop runs them in a thread.
    """

    def __init__(self, data_dir: DataDir) -> None:
        self._data_dir = data_dir
        self._use: _Use | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Uses the running server, or makes the cluster and the database ``hub`` as needed and starts one.

        Returns when it answers. An object that uses the server already sees to it that it runs. Raises
        PostgresDidNotStart.
        """
        with self._gate():
            if self._use is None:
                self._use = self._begin()
            else:
                self._use = self._continued(self._use)

    def stop(self) -> None:
        """Ends this use. The last user stops the server: fast, then immediate if that takes too long."""
        if self._use is None:
            return
        with self._gate():
            use, self._use = self._use, None
            self._end(use)

    def dsn(self, database: str = DATABASE, user: str = SUPERUSER) -> str:
        """A libpq and asyncpg URL over the unix socket; the same one after the server was restarted.

        The socket's directory is the guard, so there is no password.
        """
        host = quote(str(self._started().sockets), safe="")
        return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?host={host}&port=5432"

    def ensure_database(self, name: str) -> None:
        """Makes a database of that name if it is missing. Raises PostgresDidNotStart if that fails."""
        use = self._started()
        with self._gate():
            use.server.ensure_database(name, use.sockets)

    async def keep_running(self) -> None:
        """Watches the server and starts it again when it was killed; runs until cancelled.

        Started in vain, it tries again after a pause that doubles up to half a minute.
        """
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            if await asyncio.to_thread(self._is_running):
                continue
            _log.warning("postgres_died")
            try:
                await asyncio.to_thread(self._start_again)
            except PostgresDidNotStart as error:
                _log.error("postgres_did_not_start", detail=error.detail, next_try_seconds=pause_seconds)
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)
            else:
                _log.info("postgres_started_again")
                pause_seconds = _FIRST_PAUSE_SECONDS

    @contextmanager
    def _gate(self) -> Iterator[None]:
        try:
            with self._data_dir.postgres_gate():
                yield
        except OSError as error:
            reason = f"{error.strerror or error}: {error.filename or self._data_dir.path}"
            raise PostgresDidNotStart(reason, self._data_dir.path / "postgres.log") from error

    def _begin(self) -> _Use:
        users_lock = self._data_dir.join_postgres_users()
        try:
            server = PostgresServer(PostgresHome.of(self._data_dir))
            use = _Use(server, server.attach_or_launch(None), users_lock)
        except BaseException:
            os.close(users_lock)
            raise
        try:
            server.ensure_database(DATABASE, use.sockets)
        except BaseException:
            self._end(use)
            raise
        return use

    @staticmethod
    def _continued(use: _Use) -> _Use:
        return replace(use, sockets=use.server.attach_or_launch(use.sockets))

    @staticmethod
    def _end(use: _Use) -> None:
        try:
            if DataDir.is_last_postgres_user(use.users_lock):
                use.server.stop(use.sockets)
        finally:
            os.close(use.users_lock)

    def _started(self) -> _Use:
        if self._use is None:
            raise RuntimeError("start() comes first")
        return self._use

    def _is_running(self) -> bool:
        return self._use is None or self._use.server.is_running()

    def _start_again(self) -> None:
        """As ``start``, but not after ``stop``: cancelling the watch leaves a thread already on its way."""
        with self._gate():
            if self._use is not None:
                self._use = self._continued(self._use)
