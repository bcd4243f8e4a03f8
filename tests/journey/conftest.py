"""For journeys: a hub that answers over real HTTP, with a simulated system behind every partner package."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from pydantic import SecretStr

from hub_embedded.demo.hub_staff import eager_pace
from hub_embedded.demo.run import Demo, demo_hub, demo_topology
from hub_embedded.partner_simulators import Behaviour
from hub_kernel.clock import SystemClock, monotonic_seconds
from hub_kernel.settings import Settings

Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]
_DEADLINE_SECONDS = 30.0


@pytest.fixture(params=["one process", "a process a service"])
async def demo(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> AsyncIterator[Demo]:
    """A whole hub on a fresh database, whose partners accept everything: embedded, and as in production.

    Under a fixed master key every referral has the same id in every run, and so all that follows from it.
    """
    key = base64.b64encode(b"a master key for the journeys!!!").decode()
    settings = Settings(data_dir=tmp_path, port=0, master_key=SecretStr(key))
    async with AsyncExitStack() as stack:
        if request.param == "one process":
            hub = demo_hub(settings, database, SystemClock(), eager_pace(), Behaviour())
            demo = await stack.enter_async_context(hub)
        else:
            # Its database would be the private one; here it is the fixture's, as a force has one of its own.
            settings = settings.model_copy(update={"database_url": SecretStr(database)})
            processes = demo_topology(settings, SystemClock(), eager_pace(), Behaviour())
            demo, _running = await stack.enter_async_context(processes)
        yield demo
        await demo.watch.close()


@pytest.fixture
def eventually() -> Eventually:
    """Wait for something to become true, and fail when it does not in half a minute."""

    async def wait(is_true: Callable[[], Awaitable[bool]]) -> None:
        deadline = monotonic_seconds() + _DEADLINE_SECONDS
        while not await is_true():
            assert monotonic_seconds() < deadline, "it did not happen in time"
            await asyncio.sleep(0.05)

    return wait
