"""Kafka's published jars, fetched once through Maven's own settings, and the Java that runs them."""

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path
from typing import ClassVar, Final

from hub_kernel.errors import Unavailable

_HERE: Final = Path(__file__).parent
POM: Final = _HERE / "pom.xml"
_CHECKSUMS: Final = _HERE / "jars.sha256"
_LEAST_JAVA: Final = 17
_FETCH_SECONDS: Final = 600


class JavaMissing(Unavailable):
    """Kafka needs Java 17 or later, and none is on the PATH. Install a Java runtime or set HUB_BUS_URL.

    On Debian the package is openjdk-17-jre-headless. HUB_BUS_URL leads to a broker of your own.
    """

    slug: ClassVar[str] = "java-missing"


class MavenMissing(Unavailable):
    """Kafka's jars come through Maven, and no mvn is on the PATH. Install Maven or set HUB_BUS_URL.

    On Debian the package is maven. It is needed once: the jars are then kept in a cache folder. HUB_BUS_URL
    leads to a broker of your own.
    """

    slug: ClassVar[str] = "maven-missing"


class JarsNotFetched(Unavailable):
    """Kafka's jars could not be fetched. Mend what is named and start again, or set HUB_BUS_URL."""

    slug: ClassVar[str] = "jars-not-fetched"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"Kafka's jars could not be fetched: {reason} Then start again; or set HUB_BUS_URL to a broker "
            "of your own."
        )


def kafka_version() -> str:
    """The version of Kafka that is run, from the one place that pins it."""
    [version] = re.findall("<kafka.version>(.+)</kafka.version>", POM.read_text())
    return str(version)


def default_jars() -> Path:
    """Where the jars are kept for every hub of this account."""
    return Path.home() / ".cache" / "referral-hub" / f"kafka-{kafka_version()}"


def java() -> str:
    """The path of a Java that is new enough. Raises JavaMissing."""
    program = shutil.which("java")
    if program is None:
        raise JavaMissing
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=False)  # noqa: S603  a fixed question
    version = re.search(r'version "(\d+)', said.stderr)
    if version is None or int(version[1]) < _LEAST_JAVA:
        raise JavaMissing
    return program


def ensure_jars(folder: Path) -> None:
    """Sees to it that ``folder`` holds every jar of ``pom.xml``; fetches and checks them if it is not there.

    A folder is whole or missing, whatever was killed when, and processes that come at once wait for one to
    fetch. Raises MavenMissing, JarsNotFetched.
    """
    if folder.exists():
        return
    try:
        with _only_one(folder):
            if not folder.exists():
                _fetch(folder)
    except OSError as error:
        raise JarsNotFetched(f"{error.strerror or error}: see to {error.filename or folder}.") from error


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(f"{folder}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _fetch(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise MavenMissing
    unfinished, log = Path(f"{folder}.unfinished"), Path(f"{folder}.log")
    shutil.rmtree(unfinished, ignore_errors=True)
    command = [maven, "--batch-mode", "--file", str(POM), "dependency:copy-dependencies"]
    with log.open("wb") as output:
        try:
            fetched = subprocess.run(  # noqa: S603  a fixed command
                [*command, f"-DoutputDirectory={unfinished}"],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=_FETCH_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise JarsNotFetched(
                f"Maven took over {_FETCH_SECONDS} s. See to its network and its settings (log: {log})."
            ) from error
    if fetched.returncode != 0:
        raise JarsNotFetched(f"Maven failed. Mend what its log says: {log}.")
    _check(unfinished)
    unfinished.rename(folder)


def _check(folder: Path) -> None:
    expected = {name: digest for digest, name in map(str.split, _CHECKSUMS.read_text().splitlines())}
    found = {path.name: _sha256(path) for path in folder.iterdir()}
    wrong = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    if wrong:
        raise JarsNotFetched(
            f"{', '.join(wrong)} missing, extra or not what {_CHECKSUMS.name} says. Distrust where "
            "Maven took it from, and clear it from Maven's local repository."
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
