"""The npm packages some tests need, put once in the checkout's cache; where they cannot be, tests fail."""

import fcntl
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "node"
CACHE = Path(__file__).parents[1] / ".cache" / "node"
NEEDED = "Node.js 18 or later with npm is needed for this test: install it, then run the test again."
NOT_INSTALLED = "npm could not install what tests/node/package.json names: check that its registry answers."
INSTALL = ("install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error")


class NodeMissing(AssertionError):
    """A test that needs Node cannot run here; the text says what to do."""


def installed() -> Path:
    """The ``node_modules`` of ``tests/node/package.json``, made at the first call. Raises ``NodeMissing``.

    Kept by the hash of that file, so a changed pin is installed anew. Processes that come together wait.
    """
    manifest = FOLDER / "package.json"
    place = CACHE / sha256(manifest.read_bytes()).hexdigest()[:16]
    done = place / "installed"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            shutil.copy(manifest, place)
            _npm(place)
            done.touch()
    return place / "node_modules"


def run(script: str, *arguments: str | Path, **options: Any) -> str:
    """What a script of ``tests/node`` prints, run with those packages; ``AssertionError`` when it fails."""
    modules = installed()
    ended = subprocess.run(
        [program("node"), FOLDER / script, *arguments],
        env={"NODE_PATH": str(modules), "PATH": str(Path(program("node")).parent)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )
    assert ended.returncode == 0, f"{script} failed: {ended.stderr[-2000:]}"
    return ended.stdout


def program(name: str) -> str:
    """Where ``node`` or ``npm`` is. Raises ``NodeMissing``."""
    found = shutil.which(name)
    if found is None:
        raise NodeMissing(NEEDED)
    return found


def _npm(place: Path) -> None:
    ended = subprocess.run(
        [program("npm"), *INSTALL], cwd=place, capture_output=True, text=True, timeout=600, check=False
    )
    if ended.returncode != 0:
        raise NodeMissing(f"{NOT_INSTALLED}\n{ended.stderr[-2000:]}")
