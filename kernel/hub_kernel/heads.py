"""Tree heads kept outside the database: what a log's end was, signed, so that a removed tail shows."""

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub_kernel.clock import Clock
from hub_kernel.event_store import Head
from hub_kernel.sealing import MasterKey

_FIELDS: Final = ("log", "position", "root", "at")


@dataclass(frozen=True, slots=True)
class SignedHead:
    """The end of one log at one instant: last position, root (hex), and an Ed25519 signature over both."""

    log: str
    position: int
    root: str
    at: str
    signature: str

    @property
    def statement(self) -> bytes:
        """The bytes that are signed: JSON of the other fields, keys sorted."""
        return json.dumps({name: getattr(self, name) for name in _FIELDS}, sort_keys=True).encode()


class HeadFile:
    """A file of signed heads, one JSON object a line, only ever added to. Copy it somewhere safer too."""

    def __init__(self, path: Path, master: MasterKey) -> None:
        self._path = path
        self._key = Ed25519PrivateKey.from_private_bytes(master.derive("sign tree heads"))

    def add(self, log: str, head: Head, clock: Clock) -> None:
        """Sign a head and put it at the end, durably."""
        draft = SignedHead(log, head.position, head.root.hex(), clock.now().isoformat(), "")
        signed = SignedHead(**{**asdict(draft), "signature": self._key.sign(draft.statement).hex()})
        descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # services of their own may share the file; closing lets go
            # A line cut short by a crash was never a head; left there, it would spoil the next one.
            file.seek(file.read().rfind(b"\n") + 1)
            file.truncate()
            file.write(json.dumps(asdict(signed)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def read(self, log: str) -> Iterator[SignedHead]:
        """The heads of one log in the order written.

        Raises ``ValueError`` with the line number for a line that is not a head or whose signature is not
        ours. A last line cut short by a crash is passed over.
        """
        content = self._path.read_bytes() if self._path.exists() else b""
        for number, line in enumerate(content.split(b"\n")[:-1], 1):
            try:
                head = SignedHead(**json.loads(line))
                self._key.public_key().verify(bytes.fromhex(head.signature), head.statement)
            except (ValueError, TypeError, InvalidSignature) as error:
                raise ValueError(f"line {number} of {self._path.name} is not a head signed here") from error
            if head.log == log:
                yield head
