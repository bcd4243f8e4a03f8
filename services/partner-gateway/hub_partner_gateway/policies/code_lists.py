"""Code lists: a hub code to a partner's, with an explicit policy for a code the list does not know."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

Unmapped = Literal["reject", "pass", "default"]


class CodeUnmapped(Exception):
    """The list does not know this code and must not guess. The text is the canonical path of the field."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a partner writes for a code; ``lossy`` when the way back would not find the same code."""

    value: str
    lossy: bool


@dataclass(frozen=True, slots=True)
class CodeList:
    """One list of a partner package, and what to do with a code that is not in it."""

    targets: Mapping[str, Target]
    unmapped: Unmapped
    default: str | None = None

    @classmethod
    def load(cls, content: bytes, unmapped: Unmapped, default: str | None) -> Self:
        """Read ``code,target,lossy`` rows. Raises ``ValueError`` for a repeated code or a missing default."""
        if (unmapped == "default") != (default is not None):
            raise ValueError("a code list has a default exactly when that is its policy")
        targets: dict[str, Target] = {}
        for row in csv.DictReader(io.StringIO(content.decode())):
            if row["code"] in targets:
                raise ValueError(f"code {row['code']} stands twice in a list")
            targets[row["code"]] = Target(row["target"], lossy=row["lossy"] == "yes")
        return cls(targets, unmapped, default)

    def look_up(self, code: str, path: str) -> Target:
        """The partner's word for a code. Raises ``CodeUnmapped`` naming ``path``, never the code."""
        found = self.targets.get(code)
        if found is not None:
            return found
        if self.default is not None:
            return Target(self.default, lossy=True)
        if self.unmapped == "pass":
            return Target(code, lossy=False)
        raise CodeUnmapped(path)
