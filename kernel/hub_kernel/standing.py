"""How a consumer or a relay stands with the bus, for readiness; and how its loop is told to stop."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from hub_kernel.ports import Lag

BEHIND_SECONDS: Final = 60.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether the bus was ever reached, whether it is away now, and how far behind this part is."""

    is_reached: bool = False
    is_away: bool = False
    lag: Lag = field(default=Lag(0, 0.0))

    @property
    def is_behind(self) -> bool:
        """Whether somebody should look: the bus is away, or more than a minute is waiting."""
        return self.is_away or self.lag.seconds > BEHIND_SECONDS

    def as_json(self) -> dict[str, Any]:
        """For the readiness answer."""
        state = "away" if self.is_away else "up" if self.is_reached else "joining"
        return {"state": state, "events": self.lag.events, "seconds": round(self.lag.seconds, 1)}


async def unless(stopping: asyncio.Event | None, work: Coroutine[Any, Any, T]) -> T | None:
    """The work's result; ``None``, with the work cancelled, when the loop is to stop first."""
    if stopping is None:
        return await work
    working, stop = asyncio.ensure_future(work), asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({working, stop}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        stop.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait({working})
