"""The durable timer: looks at every clock when it warns or is due, also after a restart or a jump of time."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
import structlog

from hub_kernel.clock import Clock
from hub_kernel.database import Connection
from hub_kernel.handling import Context
from hub_triage.commands import FireClock
from hub_triage.tables import Assessments, DueClock

_log = structlog.get_logger(__name__)
ACTOR: Final = "triage-timer"
PAGE_CLOCKS: Final = 50
GATHER_SECONDS: Final = 0.1
"""Under load every append would ask for a look; a clock that is due sooner is not held up by it."""
LONGEST_SLEEP_SECONDS: Final = 1.0
"""Bounds what a lost notification or a clock set forward can cost."""


class Timer:
    """Sleeps until the next clock needs it, and gives the domain a look at each that is due.

    What to say is the domain's to decide, so a look too many says nothing: no clock is claimed. When two
    timers look at once, the second finds the stream's version moved on, and looks again. (A claim by row
    locks would hold rows that other writers need while they hold the log.)
    """

    def __init__(self, assessments: Assessments, pool: asyncpg.Pool, channel: str, clock: Clock) -> None:
        self._assessments, self._pool, self._channel, self._clock = assessments, pool, channel, clock
        self._something_new = asyncio.Event()

    async def run(self) -> None:
        """Run until cancelled, on one connection: it hears every append, which may have set a nearer time."""
        async with self._pool.acquire() as connection:
            await connection.add_listener(self._channel, self._on_append)
            try:
                while True:
                    self._something_new.clear()
                    if await self.look(connection):
                        await self._sleep(connection)
                    else:
                        await asyncio.sleep(LONGEST_SLEEP_SECONDS)
            finally:
                with contextlib.suppress(asyncpg.InterfaceError):
                    await connection.remove_listener(self._channel, self._on_append)

    async def look(self, connection: Connection) -> bool:
        """Look at the clocks that are due now, a page at most. False when one of them failed."""
        now = self._clock.now()
        due = await self._assessments.due_clocks(connection, now, PAGE_CLOCKS)
        try:
            await self._fire(connection, due, now)
        except Exception:  # noqa: BLE001  one by one finds the one at fault; the others are on time
            return all([await self._fire_alone(connection, clock, now) for clock in due])
        return True

    async def _fire_alone(self, connection: Connection, clock: DueClock, now: datetime) -> bool:
        try:
            await self._fire(connection, [clock], now)
        except Exception as error:  # noqa: BLE001  whatever it is, it holds up this clock alone
            # Without the traceback: it could hold a record's values.
            _log.error(
                "timer.clock_failed",
                clock=clock.clock,
                referral_id=str(clock.referral_id),
                error=type(error).__name__,
            )
            return False
        return True

    async def _fire(self, connection: Connection, due: Sequence[DueClock], now: datetime) -> None:
        async with connection.transaction():
            for clock in due:
                command = FireClock(
                    referral_id=clock.referral_id, clock=clock.clock, epoch=clock.epoch, at=now
                )
                context = Context(clock.referral_id, ACTOR, now)
                await self._assessments.decide_in(connection, command, context)

    async def _sleep(self, connection: Connection) -> None:
        """Sleep until the next clock needs a look, unless something new comes first."""
        next_fire_at = await self._assessments.next_fire_at(connection)
        seconds = LONGEST_SLEEP_SECONDS
        if next_fire_at is not None:
            seconds = min(seconds, self._clock.real_seconds_until(next_fire_at))
        # Not wait_for: before Python 3.12 it can swallow a cancellation that meets the event.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._something_new.wait()
                await asyncio.sleep(GATHER_SECONDS)

    def _on_append(self, *_notification: Any) -> None:
        self._something_new.set()
