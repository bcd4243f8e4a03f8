"""How a simulated partner behaves: one mode for everything, or a seeded mix decided by each message's id."""

from hashlib import sha256
from typing import Literal

import msgspec

Mode = Literal["accept", "reject", "slow", "lose_answer", "down"]


class Behaviour(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``mode`` holds unless ``mix`` gives shares (0 to 1) of other modes; the same seed, the same fate.

    ``lose_answer`` takes the message in and gives no answer, the first time. ``slow_seconds`` is how long a
    slow answer takes, ``decide_seconds`` how long until the partner has decided.
    """

    mode: Mode = "accept"
    mix: dict[Mode, float] = {}
    seed: int = 0
    slow_seconds: float = 1.5
    decide_seconds: float = 0.01

    def mode_for(self, message_id: str) -> Mode:
        """The fate of one message."""
        drawn = int.from_bytes(sha256(f"{self.seed}:{message_id}".encode()).digest()[:8]) / 2**64
        for mode, share in self.mix.items():
            drawn -= share
            if drawn < 0:
                return mode
        return self.mode
