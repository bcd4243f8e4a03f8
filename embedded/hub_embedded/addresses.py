"""Where each service answers: one address for all in one process, one each in processes of their own."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Addresses:
    """Base URLs, without a slash at the end."""

    intake: str
    triage: str
    partner_gateway: str
    oversight: str

    @classmethod
    def of_one(cls, base_url: str) -> Self:
        """All four behind one address."""
        return cls(base_url, base_url, base_url, base_url)
