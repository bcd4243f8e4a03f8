"""The circuit breaker: while what a consumer depends on is away, it stands still and does not park the world.

    closed ── a third stream fails in a row ──> open ── an event is applied ──> closed
                                                  └── a try fails: the pause grows ──┘

One breaker a consumer and source, shared by its lanes (ADR 0023). Only errors that say that a part does not
answer are put to it (``verdicts.dependency_away``): poison never opens it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from random import random
from typing import Final

import structlog

from hub_kernel import metrics
from hub_kernel.clock import monotonic_seconds

_log = structlog.get_logger(__name__)

STREAMS_TO_OPEN: Final = 3
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """Where the breaker stands. Instants are seconds of any clock that does not go back.

    ``failing`` are the streams that failed since the last success, ``failed_tries`` the tries since it opened
    with the one that did; ``next_try_at`` is ``None`` while it is closed.
    """

    failing: frozenset[str] = frozenset()
    failed_tries: int = 0
    next_try_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether the consumer must stand still."""
        return self.next_try_at is not None

    def failed(self, stream_id: str, now: float, jitter: float) -> "CircuitBreaker":
        """A stream failed once more. ``jitter`` in [0, 1) takes up to half off the pause.

        A failure before the next try is due began before it opened, beside what opened it: it tells nothing.
        """
        if self.pause_seconds(now) > 0:
            return self
        failing = self.failing | {stream_id}
        if len(failing) < STREAMS_TO_OPEN:
            return replace(self, failing=failing)
        pause = min(FIRST_PAUSE_SECONDS * 2.0**self.failed_tries, LONGEST_PAUSE_SECONDS)
        return CircuitBreaker(failing, min(self.failed_tries + 1, 64), now + pause * (1 - jitter / 2))

    def succeeded(self) -> "CircuitBreaker":
        """An event was applied: what we depend on answers."""
        return CircuitBreaker()

    def pause_seconds(self, now: float) -> float:
        """How long to wait before the next try; 0 when it is due or the breaker is closed."""
        return 0.0 if self.next_try_at is None else max(0.0, self.next_try_at - now)


class Circuit:
    """One consumer's breaker, and the turns its lanes take while it is open."""

    def __init__(self, consumer: str, source: str) -> None:
        self._labels = {"consumer": consumer, "source": source}
        self._gauge = metrics.CIRCUIT_OPEN.labels(**self._labels)
        self._breaker = CircuitBreaker()
        self._opened_at = 0.0
        self._one_at_a_time = asyncio.Lock()
        self._closed = asyncio.Event()
        self._has_closed = False
        self._gauge.set(0)

    @property
    def is_open(self) -> bool:
        """Whether the consumer must stand still."""
        return self._breaker.is_open

    def has_closed(self) -> bool:
        """Whether it has closed since this was last asked: what it made wait is worth trying now."""
        has_closed, self._has_closed = self._has_closed, False
        return has_closed

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until an event may be tried: at once while closed, else one lane after another, after a pause.

        Lanes come in the order in which they asked, so that no single bad event can hold it open.
        """
        if not self.is_open:
            yield
            return
        async with self._one_at_a_time:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._breaker.pause_seconds(monotonic_seconds())):
                    await self._closed.wait()
            yield

    def failed(self, stream_id: str, reason: str) -> bool:
        """An event found a part we need away. Returns whether to hold it (open) and not to park it."""
        was_open = self.is_open
        now = monotonic_seconds()
        self._breaker = self._breaker.failed(stream_id, now, random())  # noqa: S311  spreads load, guards nothing
        if self.is_open and not was_open:
            self._opened_at = now
            self._closed.clear()
            self._gauge.set(1)
            _log.error("consumer.circuit_opened", **self._labels, reason=reason)
        return self.is_open

    def succeeded(self) -> None:
        """An event was applied."""
        was_open = self.is_open
        self._breaker = self._breaker.succeeded()
        if was_open:
            self._has_closed = True
            self._closed.set()
            self._gauge.set(0)
            seconds = round(monotonic_seconds() - self._opened_at, 1)
            _log.warning("consumer.circuit_closed", **self._labels, seconds=seconds)
