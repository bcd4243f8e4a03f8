"""``hub up``: the hub as in production on this machine, each service a process, joined by a real Kafka."""

import asyncio
from contextlib import suppress
from typing import Annotated

import typer
from rich.console import Console

from hub_embedded.demo.generator import submissions
from hub_embedded.demo.hub_staff import eager_pace
from hub_embedded.demo.progress import progress_line, watching
from hub_embedded.demo.run import announce, demo_topology
from hub_embedded.launch import start
from hub_embedded.topology import Topology, topology
from hub_kernel.clock import SystemClock
from hub_kernel.settings import Settings

_AT_ONCE = 16


def up(
    *,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=1_000, help="Post so many invented referrals a second, with staff and partners."
        ),
    ] = None,
) -> None:
    """Run Kafka, PostgreSQL and the four services as processes until Ctrl-C; what dies is started again."""
    settings = Settings()
    start(_run(settings) if rate is None else _run_demo(settings, rate))


async def _run(settings: Settings) -> None:
    async with topology(settings) as running:
        await running.start()
        _announce(settings, running)
        async with running.kept():
            await _until_stopped()


async def _run_demo(settings: Settings, rate: float) -> None:
    clock = SystemClock()
    async with demo_topology(settings, clock, eager_pace()) as (demo, running):
        _announce(settings, running)
        posted, tally = demo.records_system.posted, demo.watch.tally
        staff = asyncio.create_task(demo.staff.work())
        async with watching(demo.watch, lambda: progress_line(posted, tally, clock)):
            posting = demo.records_system.send_all(submissions(), at_once=_AT_ONCE, per_second=rate)
            with suppress(asyncio.CancelledError):
                await posting
        staff.cancel()


async def _until_stopped() -> None:
    """Until a signal cancels this task, which is then not cancelled any more: the rest is an orderly stop."""
    with suppress(asyncio.CancelledError):
        await asyncio.get_running_loop().create_future()


def _announce(settings: Settings, running: Topology) -> None:
    console = Console(highlight=False)
    for name, service in running.services.items():
        console.print(f"{name:<16} {service.url:<24} log {service.log}", soft_wrap=True)
    console.print(f"{'kafka':<16} {running.broker.bootstrap}", soft_wrap=True)
    console.print(f"Other commands reach it with HUB_BUS_URL={running.settings.bus_url}", soft_wrap=True)
    announce(settings, running.addresses.oversight, "Ctrl-C stops all of it.")
