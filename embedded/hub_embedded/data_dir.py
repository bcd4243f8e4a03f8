"""The hub's data directory, and who may use it at the same time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from hub_kernel.errors import Unavailable


class DataDirInUse(Unavailable):
    """Another hub is running on this data directory. Stop it first, or set HUB_DATA_DIR to another one."""

    slug: ClassVar[str] = "data-dir-in-use"

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(
            f"Another hub (process {holder}) is running on the data directory {path}. "
            "Stop it first, or set HUB_DATA_DIR to another one."
        )


@dataclass(frozen=True, slots=True)
class DataDir:
    """HUB_DATA_DIR: absolute, links resolved, and there.

    Three lock files keep its users apart. All are advisory locks of the kernel (flock), so a process that is
    killed lets go of them and none is ever stale.
    """

    path: Path

    @classmethod
    def at(cls, path: Path) -> Self:
        """The data directory at ``path``, made (with its parents) if it is not there.

        A new one is closed to every other account (0700). Made by root it may be passed through but not
        listed (0711): PostgreSQL refuses to run as root, and its account has to reach its files inside.
        One that is already there keeps its mode. Raises OSError if it cannot be made.
        """
        path = path.expanduser().resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            return cls(path)
        if os.geteuid() == 0:
            path.chmod(0o711)
        return cls(path)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the directory for one running hub. Raises DataDirInUse at once if another hub holds it."""
        descriptor = self._open("hub.lock")
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
                raise DataDirInUse(self.path, holder or "unknown") from error
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def postgres_gate(self) -> Iterator[None]:
        """Lets one process or thread at a time start or stop the server; the others wait their turn."""
        descriptor = self._open("postgres.gate.lock")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def join_postgres_users(self) -> int:
        """Counts the caller among the server's users until it closes the file descriptor this returns.

        Call it behind the gate, where nobody holds the users' lock alone.
        """
        descriptor = self._open("postgres.lock")
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        return descriptor

    @staticmethod
    def is_last_postgres_user(descriptor: int) -> bool:
        """Whether nobody but the holder of ``descriptor`` uses the server.

        Call it behind the gate, and only on leaving: an upgrade that fails may lose the shared lock.
        """
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _open(self, name: str) -> int:
        return os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
