"""The folder a broker lives in: its ports and names, its formatted log, its settings, and who holds it."""

import base64
import fcntl
import json
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Self

from hub_embedded.kafka.certificates import Certificates
from hub_embedded.kafka.jars import ensure_jars, java
from hub_embedded.kafka.properties import BROKER_USER, Door, server_properties
from hub_kernel.clock import new_id
from hub_kernel.errors import Unavailable
from hub_kernel.private_files import read_or_make

_LOGGING: Final = Path(__file__).parent / "log4j2.properties"
_FORMAT_HEAP, _HEAP = "-Xmx64m", "-Xmx384m"
_QUICK_TO_START: Final = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
# Below the range from which the system gives clients theirs: one of those could take ours while it is down.
_PORTS: Final = range(20_000, 30_000)
_FORMAT_SECONDS: Final = 120


class KafkaDidNotStart(Unavailable):
    """The Kafka broker did not start. Read its log, mend what it names and start again."""

    slug: ClassVar[str] = "kafka-did-not-start"

    def __init__(self, reason: str, log: Path) -> None:
        super().__init__(
            f"The Kafka broker did not start: {reason}. Its log is {log}. See that the disk has room, that "
            "the folder belongs to the account that runs the hub and that its ports are free, then start "
            "again; or set HUB_BUS_URL to a broker of your own."
        )


class KafkaHomeInUse(Unavailable):
    """Another process runs a Kafka broker in this folder. Stop it first, or choose another folder."""

    slug: ClassVar[str] = "kafka-home-in-use"

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"Another process runs a Kafka broker in {path}. Stop it first, or choose another folder."
        )


@dataclass(frozen=True, slots=True)
class Identity:
    """What a broker keeps from its first start on: ports, cluster id, its password towards itself."""

    port: int
    controller_port: int
    cluster_id: str
    broker_password: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """The one kept in ``kafka.json`` of the folder; drawn on the first call. Raises OSError."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(**json.loads(read_or_make(path / "kafka.json", _new_identity)))


@dataclass(frozen=True, slots=True)
class BrokerHome:
    """A broker's folder. Everything but ``hold`` is called by whoever holds it."""

    path: Path
    door: Door
    jars: Path

    @property
    def log(self) -> Path:
        """Where the broker's own log lines go: warnings and errors."""
        return self.path / "kafka.log"

    def hold(self) -> int:
        """Takes the folder for one process, until the descriptor this returns is closed.

        A process that is killed lets go of it. Raises KafkaHomeInUse at once if another holds it.
        """
        descriptor = os.open(self.path / "kafka.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise KafkaHomeInUse(self.path) from error
        return descriptor

    def made_ready(self, identity: Identity, port: int) -> list[str]:
        """Fetches the jars, formats the log and writes the settings, as needed; the command that serves.

        Raises JavaMissing, MavenMissing, JarsNotFetched, KafkaDidNotStart, OSError.
        """
        program = java()
        ensure_jars(self.jars)
        if self.door.tls:
            Certificates.of(self.path)
        self.log.touch(mode=0o600)
        self._write_settings(identity, port)
        if not (self.path / "log").exists():
            self._format(program, identity)
        return [*self._java(program, _HEAP), "kafka.Kafka", "server.properties"]

    def _write_settings(self, identity: Identity, port: int) -> None:
        settings = self.path / "server.properties"
        settings.touch(mode=0o600)
        settings.write_text(
            server_properties(port, identity.controller_port, self.door, identity.broker_password)
        )

    def _format(self, program: str, identity: Identity) -> None:
        """Under another name first: the log is formatted or not there, whatever was killed when."""
        unfinished = self.path / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        shutil.copy(self.path / "server.properties", unfinished)
        users = {**self.door.users, BROKER_USER: identity.broker_password} if self.door.asks_who else {}
        command = [
            *self._java(program, _FORMAT_HEAP), "kafka.tools.StorageTool", "format", "--standalone",
            "--cluster-id", identity.cluster_id, "--config", "server.properties",
        ]  # fmt: skip
        for name, password in users.items():
            command += ["--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]"]
        with self.log.open("ab") as output:
            try:
                subprocess.run(  # noqa: S603  our own programs; Door has looked at the names
                    command,
                    check=True,
                    cwd=unfinished,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    timeout=_FORMAT_SECONDS,
                )
            except subprocess.SubprocessError as error:
                # Without its cause, which would show the passwords of the command.
                reason = f"its log could not be formatted ({type(error).__name__})"
                raise KafkaDidNotStart(reason, self.log) from None
        (unfinished / "log").rename(self.path / "log")
        shutil.rmtree(unfinished)

    def _java(self, program: str, heap: str) -> Sequence[str]:
        options = [heap, *_QUICK_TO_START, f"-Dlog4j2.configurationFile={_LOGGING}"]
        if self.door.oauth is not None:
            options.append(f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self.door.oauth.jwks_url}")
        return [program, *options, "-cp", f"{self.jars}/*"]


def _new_identity() -> bytes:
    port, controller_port = _free_ports(2)
    cluster_id = base64.urlsafe_b64encode(new_id().bytes).decode().rstrip("=")
    identity = Identity(port, controller_port, cluster_id, secrets.token_hex(16))
    return json.dumps({name: getattr(identity, name) for name in Identity.__slots__}).encode()


def _free_ports(count: int) -> Sequence[int]:
    """Ports of the loopback that nobody listens on."""
    found: list[int] = []
    for port in secrets.SystemRandom().sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            break
    return found
