"""A real Kafka broker on loopback without containers: one per folder, kept alive, gone with its starter."""

import asyncio
import os
import signal
import threading
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Final, Self

import structlog

from hub_embedded.kafka.broker_home import BrokerHome, Identity, KafkaDidNotStart
from hub_embedded.kafka.broker_process import BrokerProcess, end_leftover
from hub_embedded.kafka.certificates import Certificates
from hub_embedded.kafka.jars import default_jars
from hub_embedded.kafka.properties import Door, OAuth
from hub_kernel.errors import Unavailable

_SERVES: Final = b"Kafka Server started"
_POLL_SECONDS, _START_SECONDS = 0.02, 180.0  # as long as going over a large log after a SIGKILL may take
_STOP_SECONDS: Final = 30.0
_WATCH_SECONDS: Final = 0.2
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0

_log = structlog.get_logger(__name__)


class KafkaBroker:
    """Apache Kafka, broker and controller in one process, serving 127.0.0.1 from the folder ``home``.

    The folder keeps the log, the ports and the certificates, so that a broker started again answers at the
    same address with what it was given. One process may use a folder at a time; when that process is killed,
    the broker dies with it. ``port`` is drawn when None. ``sasl`` maps users to passwords (SCRAM-SHA-512) and
    ``oauth`` lets bearers of tokens in; with either, only ``admin`` may do anything before ACLs allow more.
    The users are fixed by the first start. ``jars`` is where Kafka's jars are kept; None is a cache folder of
    this account. For tests and for the hub on one machine: a single copy, and passwords on a command line.

    Calls block (a first start a few seconds, more when the jars are fetched), so an event loop runs them in a
    thread.
    """

    def __init__(
        self,
        home: Path,
        *,
        port: int | None = None,
        sasl: Mapping[str, str] | None = None,
        oauth: OAuth | None = None,
        tls: bool = False,
        jars: Path | None = None,
    ) -> None:
        door = Door(dict(sasl or {}), oauth, tls)
        self._home = BrokerHome(home.expanduser().resolve(), door, jars or default_jars())
        self._chosen_port = port
        self._gate = threading.Lock()
        self._held: int | None = None
        self._process: BrokerProcess | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def bootstrap(self) -> str:
        """Where clients find it, ``127.0.0.1:PORT``; the same from the first call on."""
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The broker's process, also when it has died since. Raises RuntimeError before a start."""
        if self._process is None:
            raise RuntimeError("start() comes first")
        return self._process.pid

    @property
    def ca_file(self) -> Path:
        """The certificate by which clients know a broker with TLS."""
        return Certificates.of(self._home.path).ca_file

    def client_certificate(self, name: str) -> tuple[Path, Path]:
        """A certificate and its key for a client of a broker with TLS, known there as ``User:CN=<name>``."""
        return Certificates.of(self._home.path).client(name)

    def start(self) -> None:
        """Sees to it that the broker runs and serves, whether it never ran, was stopped or was killed.

        Raises JavaMissing, MavenMissing, JarsNotFetched, KafkaHomeInUse, KafkaDidNotStart.
        """
        with self._gate:
            self._start()

    def stop(self) -> None:
        """Stops it cleanly, by SIGKILL if that takes too long, and lets go of the folder."""
        with self._gate:
            if self._process is not None:
                self._process.signal(signal.SIGTERM)
                if not self._process.ended_within(_STOP_SECONDS):
                    self._process.kill()
            self._process = None
            self._let_go()

    def kill(self) -> None:
        """SIGKILL, as a fault would; ``start`` or a watch (``keep_running``) brings it back."""
        with self._gate:
            if self._process is not None:
                self._process.kill()

    def restart(self) -> None:
        """A clean stop and a start, at the same address."""
        self.stop()
        self.start()

    async def keep_running(self) -> None:
        """Watches the broker and starts it again when it was killed; runs until cancelled.

        Started in vain, it tries again after a pause that doubles up to half a minute. A broker that was
        stopped stays so.
        """
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            if self._process is None or self._process.is_running():
                continue
            _log.warning("kafka_died")
            try:
                await asyncio.to_thread(self._start_again)
            except Unavailable as error:
                _log.error("kafka_did_not_start", detail=error.detail, next_try_seconds=pause_seconds)
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)
            else:
                _log.info("kafka_started_again")
                pause_seconds = _FIRST_PAUSE_SECONDS

    @cached_property
    def _identity(self) -> Identity:
        return Identity.of(self._home.path)

    @property
    def _port(self) -> int:
        return self._chosen_port or self._identity.port

    def _start_again(self) -> None:
        """As ``start``, but not after ``stop``: cancelling the watch leaves a thread already on its way."""
        with self._gate:
            if self._process is not None:
                self._start()

    def _start(self) -> None:
        if self._process is not None and self._process.is_running():
            return
        try:
            identity = self._identity
            if self._held is None:
                self._held = self._home.hold()
            end_leftover(self._home.path)
            self._process = self._launched(self._home.made_ready(identity, self._port))
        except BaseException as error:
            if self._process is None:
                self._let_go()
            if isinstance(error, OSError):
                reason = f"{error.strerror or error}: {error.filename or self._home.path}"
                raise KafkaDidNotStart(reason, self._home.log) from error
            raise

    def _launched(self, command: list[str]) -> BrokerProcess:
        """Starts the process and waits until it says that it serves."""
        said_before_bytes = self._home.log.stat().st_size
        process = BrokerProcess.launch(command, self._home.path, self._home.log)
        try:
            self._await_service(process, said_before_bytes)
        except BaseException:
            process.kill()
            raise
        return process

    def _await_service(self, process: BrokerProcess, said_before_bytes: int) -> None:
        for _ in range(round(_START_SECONDS / _POLL_SECONDS)):
            if _SERVES in self._said_since(said_before_bytes):
                return
            if process.ended_within(_POLL_SECONDS):
                raise KafkaDidNotStart(self._complaint(said_before_bytes), self._home.log)
        raise KafkaDidNotStart(f"it does not serve after {_START_SECONDS:.0f} s", self._home.log)

    def _said_since(self, start_bytes: int) -> bytes:
        with self._home.log.open("rb") as log:
            log.seek(start_bytes)
            return log.read()

    def _complaint(self, start_bytes: int) -> str:
        """The first exception named in the log, which tells what the rest follows from."""
        said = self._said_since(start_bytes).decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in said if "Exception: " in line), "it ended at once")

    def _let_go(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None
