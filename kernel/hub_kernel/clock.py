"""Where time and new ids come from; the only place that asks the machine for either."""

import os
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import UUID


class Clock(Protocol):
    """Tells the time. ``now()`` is aware UTC and never goes back within one clock."""

    def now(self) -> datetime:
        """The present instant, aware UTC."""
        ...

    def real_seconds_until(self, instant: datetime) -> float:
        """How long to sleep, in seconds of the machine, until this clock shows ``instant`` (0 if past)."""
        ...


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        """The present instant, aware UTC."""
        return datetime.now(UTC)  # noqa: TID251  this is the one place

    def real_seconds_until(self, instant: datetime) -> float:
        """Seconds of the machine until ``instant``."""
        return max(0.0, (instant - self.now()).total_seconds())


class ScaledClock:
    """A clock that starts at a chosen instant and runs ``speed`` times as fast, for the demo day."""

    def __init__(self, start_at: datetime, speed: float) -> None:
        self._start_at, self._speed = start_at, speed
        self._started_seconds = time.monotonic()

    def now(self) -> datetime:
        """The present instant of the demo day, aware UTC."""
        return self._start_at + timedelta(seconds=(time.monotonic() - self._started_seconds) * self._speed)

    def real_seconds_until(self, instant: datetime) -> float:
        """Seconds of the machine until the demo day reaches ``instant``."""
        return max(0.0, (instant - self.now()).total_seconds() / self._speed)


class FixedClock:
    """A clock for tests: it shows what it was told until told otherwise."""

    def __init__(self, instant: datetime) -> None:
        self.instant = instant

    def now(self) -> datetime:
        """The instant it was told."""
        return self.instant

    def real_seconds_until(self, instant: datetime) -> float:
        """Zero when due; otherwise a second, so that a loop looks again."""
        return 0.0 if instant <= self.instant else 1.0


def new_id() -> UUID:
    """A new time-ordered id (RFC 9562 version 7): compact in indexes, and not to be guessed."""
    millis = time.time_ns() // 1_000_000
    value = (millis << 80) | int.from_bytes(os.urandom(10))
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return UUID(int=value)


def epoch_seconds() -> float:
    """Seconds of the machine since 1970 UTC, for what outsiders date: the times in tokens."""
    return time.time()


def monotonic_seconds() -> float:
    """Seconds of the machine from an arbitrary start, for measuring how long something took."""
    return time.monotonic()
