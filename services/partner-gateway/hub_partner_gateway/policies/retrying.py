"""When to try again: waits that grow, never an end; the deadline bounds a wait, not the number of tries."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

RETRY_SECONDS: Final = (1.0, 5.0, 30.0, 120.0, 300.0, 900.0, 1800.0)
JITTER: Final = 0.2
LONGEST_SECONDS: Final = 1800.0

POLL_SECONDS: Final = (0.03, 0.1, 0.3, 1.0, 5.0, 30.0)
"""How soon to ask a partner that does not call back, after it took the message and after each asking."""
CALLBACK_SECONDS: Final = (30.0, 120.0)
"""How long to wait for a partner's call before asking."""


def retry_at(
    failed_at: datetime,
    attempt: int,
    *,
    jitter: float,
    deadline_at: datetime | None,
    retry_after_seconds: float | None = None,
    schedule_seconds: Sequence[float] = RETRY_SECONDS,
) -> datetime:
    """The instant of the next try after the ``attempt``-th (from 1) failed.

    ``jitter`` is a random number from -1 to 1 and moves the wait by up to a fifth. A partner's Retry-After is
    honoured up to half an hour. A wait that would step over a deadline still ahead ends at the deadline.
    """
    wait = schedule_seconds[min(attempt, len(schedule_seconds)) - 1] * (1 + JITTER * jitter)
    wait = min(max(wait, retry_after_seconds or 0.0), LONGEST_SECONDS)
    at = failed_at + timedelta(seconds=wait)
    return deadline_at if deadline_at is not None and failed_at < deadline_at < at else at


def retry_after_seconds(header: str | None) -> float | None:
    """Read a Retry-After header given in seconds (RFC 9110, 10.2.3); a date or nonsense is ``None``."""
    if header is None or not header.strip().isdecimal():
        return None
    return float(header.strip())
