"""The name, version and content hash by which a decision says which policy file it followed."""

import hashlib
import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stamp:
    """Identity of a policy file. ``hash`` is SHA-256 (hex) of its canonical content."""

    name: str
    version: int
    hash: str

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


def stamp_of(content: bytes) -> Stamp:
    """Read the stamp of a policy file: JSON with ``name`` and ``version`` at the top."""
    policy = json.loads(content)
    canonical = json.dumps(policy, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return Stamp(policy["name"], policy["version"], hashlib.sha256(canonical.encode()).hexdigest())
