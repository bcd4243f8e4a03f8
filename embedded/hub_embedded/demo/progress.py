"""How a run shows how far it has come: one line that changes on a terminal, plain lines elsewhere."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
from rich.console import Console
from rich.status import Status

from hub_embedded.demo.records_system import Posted
from hub_embedded.demo.referrals import LONDON
from hub_embedded.demo.tally import Tally, follow
from hub_kernel.clock import Clock

_LOOK_SECONDS: Final = 0.5
_PLAIN_SECONDS: Final = 5.0
_OUTAGE: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


def progress_line(posted: Posted, tally: Tally, clock: Clock) -> str:
    """The day's time and the counts; referrals up to ``waiting``, then deliveries."""
    local = clock.now().astimezone(LONDON)
    return (
        f"{local:%a} {local.day} {local:%b %H:%M}  "
        f"referrals: {len(posted.referrals)} posted, {len(tally.graded)} graded, {tally.waiting} waiting  "
        f"deliveries: {tally.taken_in} delivered, {tally.ended('acknowledged')} acknowledged"
    )


class Watch:
    """Follows the logs on a connection of its own, through outages of the database."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: asyncpg.Connection | None = None
        self._looking = asyncio.Lock()
        self.tally = Tally()

    async def look(self) -> bool:
        """Read on to the end of the logs. False when the database does not answer."""
        try:
            # One look at a time: two would count a page twice.
            async with self._looking:
                if self._connection is None or self._connection.is_closed():
                    self._connection = await asyncpg.connect(self._dsn, timeout=10)
                await follow(self._connection, self.tally)
        except _OUTAGE:
            return False
        return True

    async def close(self) -> None:
        """Let the connection go."""
        if self._connection is not None:
            self._connection.terminate()


@asynccontextmanager
async def watching(watch: Watch, line: Callable[[], str], *, to_errors: bool = False) -> AsyncIterator[None]:
    """Show the line while the block runs and once at its end, on standard output, or error ``to_errors``."""
    console = Console(stderr=to_errors, highlight=False)
    task = asyncio.create_task(_show(console, watch, line))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await watch.look()
        console.print(line(), soft_wrap=True)
        await watch.close()


async def _show(console: Console, watch: Watch, line: Callable[[], str]) -> None:
    if console.is_terminal:
        with Status(line(), console=console, spinner="dots") as status:
            while True:
                await watch.look()
                status.update(line())
                await asyncio.sleep(_LOOK_SECONDS)
    said = ""
    while True:
        await watch.look()
        if (now := line()) != said:
            console.print(now, soft_wrap=True)
            said = now
        await asyncio.sleep(_PLAIN_SECONDS)
