"""One embedded PostgreSQL server: finds it running, launches it, stops it."""

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from hub_embedded.postgres_home import SUPERUSER, PostgresHome
from hub_kernel.errors import Unavailable

_SETTINGS = {
    "cluster_name": "referral-hub",
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    # An answer "recorded" must outlive a power cut.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # One small machine, shared with the hub itself.
    "max_connections": "100",
    "shared_buffers": "256MB",
    "huge_pages": "try",
    "wal_compression": "on",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "autovacuum": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Statements, their parameters and the values quoted in their errors are personal data. Whoever ran the
    # statement is told what was wrong; the log keeps to the server's own affairs ("log" ranks above "error").
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_lock_waits": "off",
}
_POLL_SECONDS, _READY_SECONDS = 0.02, 300  # as long as replaying max_wal_size of WAL may take on a slow disk
_OLD_BACKENDS_POLL_SECONDS, _OLD_BACKENDS_SECONDS = 0.2, 20
_STOPS = (
    ("fast", 30),
    ("immediate", 10),
)  # the second, which replays WAL at the next start, if the first hangs


class PostgresDidNotStart(Unavailable):
    """The embedded PostgreSQL did not start. Read its log, mend what it names and start the hub again."""

    slug: ClassVar[str] = "postgres-did-not-start"

    def __init__(self, reason: str, log: Path) -> None:
        super().__init__(
            f"The embedded PostgreSQL did not start: {reason}. Its log is {log}. See that the disk has room "
            "and that the data directory belongs to the account that runs the hub, then start the hub again; "
            "or set HUB_DATABASE_URL to a PostgreSQL of your own."
        )


@dataclass(frozen=True, slots=True)
class Postmaster:
    """What postmaster.pid says: the process, where its socket is (None until opened) and if it is ready."""

    pid: int
    sockets: Path | None
    is_ready: bool


class PostgresServer:
    """The server of one home. Call everything but ``is_running`` behind the gate.

    The server is nobody's child: it is found, watched and stopped in one and the same way whether this
    process started it, another did, or one that was killed since.
    """

    def __init__(self, home: PostgresHome) -> None:
        self.home = home

    def is_running(self) -> bool:
        """Whether the postmaster is alive. Cheap; asks the system, not the server."""
        found = self._read_pid_file()
        return found is not None and self._is_alive(found.pid)

    def attach_or_launch(self, former_sockets: Path | None) -> Path:
        """Finds the server running or starts it, and returns the directory of its socket, answering.

        A server being started again takes its former socket directory. Raises PostgresDidNotStart.
        """
        log_bytes = self.home.log.stat().st_size
        if not self.home.make_cluster():
            raise self._failure("initdb failed", since_bytes=log_bytes)
        found = self._read_pid_file()
        ready = self._ready(found.pid) if found and self._is_alive(found.pid) else None
        if ready is None:
            self._drop_misleading_pid_file(found)
            ready = self._launch(former_sockets or (found.sockets if found else None))
        if self._run("pg_isready", *_as_superuser(ready), "--quiet", "--timeout=10") != 0:
            raise PostgresDidNotStart("its process is there but answers no connection", self.home.log)
        return ready

    def ensure_database(self, name: str, sockets: Path) -> None:
        """Makes the database if it is missing. Raises PostgresDidNotStart if that fails."""
        made = self.home.run(
            self.home.program("psql"), *_as_superuser(sockets), "--no-psqlrc", "--quiet",
            "--no-password", "--set", "ON_ERROR_STOP=1", "--set", f"name={name}",
            stdin="select format('create database %I', :'name') "
            "where not exists (select from pg_database where datname = :'name') \\gexec\n",
        )  # fmt: skip
        if made.returncode != 0:
            raise PostgresDidNotStart(f"the database {name} could not be made", self.home.log)

    def stop(self, sockets: Path) -> None:
        """Stops the server, breaking off what its clients are doing, and clears its socket directory away."""
        for mode, seconds in _STOPS:
            if self.is_running():
                cluster = str(self.home.cluster)
                self._run("pg_ctl", "stop", "-s", "-D", cluster, "-m", mode, "-t", str(seconds))
        shutil.rmtree(sockets, ignore_errors=True)

    def _launch(self, former_sockets: Path | None) -> Path:
        """Tries again while a backend of a killed server lives on: no new server starts beside it."""
        sockets = self.home.socket_dir(former_sockets)
        for _ in range(round(_OLD_BACKENDS_SECONDS / _OLD_BACKENDS_POLL_SECONDS)):
            log_bytes = self.home.log.stat().st_size
            ready = self._ready(self._spawn(sockets))
            if ready is not None:
                return ready
            failure = self._failure("it ended at once", since_bytes=log_bytes)
            if "still in use" not in failure.detail:
                break
            time.sleep(_OLD_BACKENDS_POLL_SECONDS)
        shutil.rmtree(sockets, ignore_errors=True)
        raise failure

    def _spawn(self, sockets: Path) -> int:
        """Starts the postmaster through a shell that leaves at once, and returns its pid.

        As a child of the hub it would become a zombie when killed, which looks alive to PostgreSQL.
        """
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        quoted = '"' + str(sockets).replace('"', '""') + '"'
        answer = self.home.run(
            "/bin/sh", "-c", '"$@" </dev/null >&2 & echo $!', "sh",
            self.home.program("postgres"), "-D", str(self.home.cluster), "-k", quoted, *settings,
        )  # fmt: skip
        if answer.returncode != 0:
            raise PostgresDidNotStart("the system would not start another process", self.home.log)
        return int(answer.stdout)

    def _ready(self, pid: int) -> Path | None:
        """Waits until the postmaster takes connections; its socket directory, or None if it ends instead."""
        for _ in range(round(_READY_SECONDS / _POLL_SECONDS)):
            if not self._is_alive(pid):
                return None
            found = self._read_pid_file()
            if found and found.pid == pid and found.is_ready:
                return found.sockets
            time.sleep(_POLL_SECONDS)
        raise PostgresDidNotStart(f"it was not ready after {_READY_SECONDS} s", self.home.log)

    def _read_pid_file(self) -> Postmaster | None:
        """None if there is no such file, or one cut short before the pid (a full disk does that)."""
        try:
            lines = os.fsdecode((self.home.cluster / "postmaster.pid").read_bytes()).split("\n")
        except FileNotFoundError:
            return None
        if not lines[0].isdigit():
            return None
        # pid, data directory, start time, port, socket directory, listen address, shared memory, status
        sockets = Path(lines[4]) if any(lines[4:5]) else None
        return Postmaster(
            int(lines[0]), sockets, is_ready=any(line.strip() == "ready" for line in lines[7:8])
        )

    def _is_alive(self, pid: int) -> bool:
        """Whether ``pid`` is this cluster's postmaster, and no zombie nor another program with that pid."""
        if not _exists(pid):
            return False
        if not Path("/proc/self/cmdline").exists():  # not Linux: the pid is all there is to go by
            return True
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            return False
        return os.fsencode(self.home.cluster) in command

    def _drop_misleading_pid_file(self, found: Postmaster | None) -> None:
        """Removes a pid file that is cut short or names a live process; PostgreSQL does not start beside one.

        It is a leftover: the gate is held, and that process is known to be another program. Old
        backends still count, as PostgreSQL looks for their shared memory by the cluster's inode as well.
        """
        if found is None or _exists(found.pid):
            (self.home.cluster / "postmaster.pid").unlink(missing_ok=True)

    def _run(self, program: str, *arguments: str) -> int:
        return self.home.run(self.home.program(program), *arguments).returncode

    def _failure(self, reason: str, *, since_bytes: int) -> PostgresDidNotStart:
        """With the first complaint in the log, which holds no personal data."""
        with self.home.log.open("rb") as log:
            log.seek(since_bytes)
            said = log.read().decode("utf-8", "replace").split("\n")
        complaints = [line.strip() for line in said if line.strip() and " LOG: " not in line]
        return PostgresDidNotStart(": ".join([reason, *complaints[:1]]), self.home.log)


def _as_superuser(sockets: Path) -> tuple[str, ...]:
    return ("--host", str(sockets), "--username", SUPERUSER, "--dbname", "postgres")


def _exists(pid: int) -> bool:
    """Whether ``pid`` is a process, or a zombie, of an account this one may signal."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
