"""Files that only their owner may read, such as keys: made whole or not at all."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def read_or_make(path: Path, make: Callable[[], bytes]) -> bytes:
    """The content of a private file; where there is none, one is made with mode 0600 and kept durably.

    A crash leaves no file or a whole one, and of two processes that make it at once both read the same.
    Raises ``PermissionError`` when others can read it.
    """
    if not path.exists():
        descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(make())
                file.flush()
                os.fsync(file.fileno())
            _give_name(Path(draft), path)
        finally:
            Path(draft).unlink()
    if path.stat().st_mode & 0o077:
        raise PermissionError(f"{path.name} can be read by others than its owner")
    return path.read_bytes()


def _give_name(draft: Path, path: Path) -> None:
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        return
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
