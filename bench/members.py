"""Members that come and go: consumers of every service that hears others, joining and leaving every second.

A process of its own, set up by the environment of a service (``python -m bench.members SECONDS``). Every
second one more member joins every consumer group, without a lasting name, so that each coming and each going
is a rebalance; the one that has been there for two seconds leaves. They apply what they are given with the
services' own handlers: nothing waits just because they are there. At the end it prints, as JSON, what they
did.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle
from typing import Final

import uvloop

from bench.measuring import counted
from hub_embedded.services import SERVICES
from hub_kernel import metrics
from hub_kernel.clock import monotonic_seconds
from hub_kernel.consuming import Consumer
from hub_kernel.runtime import Hub, running
from hub_kernel.service import Parts
from hub_kernel.settings import Settings
from hub_kernel.telemetry import configure_logging

EVERY_SECONDS: Final = 1.0
STAY_SECONDS: Final = 2.0
_VISITORS: Final = 8
"""Sets of members that take turns: enough that one has left for good before it comes again."""
_HEARING: Final = [service for service in SERVICES if service.hears]


def main(seconds: float) -> None:
    """Come and go for so long."""
    settings = Settings()
    configure_logging(settings.log_level)
    joined = uvloop.run(_come_and_go(settings, seconds))
    sys.stdout.write(json.dumps({"joined": joined, "applied": _applied()}) + "\n")


async def _come_and_go(settings: Settings, seconds: float) -> int:
    if settings.database_url is None:
        raise RuntimeError("HUB_DATABASE_URL says where")
    joined = 0
    # The kernel's part of each service without what the service itself would run.
    kernels = [replace(service, build=lambda _context: Parts()) for service in _HEARING]
    async with running(kernels, settings, settings.database_url.get_secret_value()) as hub:
        visitors = cycle([_members(hub) for _ in range(_VISITORS)])
        there: dict[int, asyncio.Task[None]] = {}
        began = monotonic_seconds()
        async with asyncio.TaskGroup() as visits:
            while monotonic_seconds() - began < seconds:
                members = next(visitors)
                if (before := there.get(id(members))) is None or before.done():
                    there[id(members)] = visits.create_task(_visit(members))
                    joined += 1
                await asyncio.sleep(EVERY_SECONDS)
    return joined


def _members(hub: Hub) -> Sequence[Consumer]:
    """A consumer for each group there is."""
    parts = [service.build(hub.contexts[service.name]) for service in _HEARING]
    return [consumer for part in parts for consumer in part.consumers]


async def _visit(members: Sequence[Consumer]) -> None:
    leaving = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for member in members:
            tasks.create_task(member.run(leaving))
        await asyncio.sleep(STAY_SECONDS)
        leaving.set()


def _applied() -> dict[str, int]:
    """Events these members applied, by consumer group."""
    applied = {}
    for service in _HEARING:
        for source in service.hears:
            labels = {"consumer": service.name, "source": source, "outcome": "applied"}
            applied[f"{service.name}.{source}"] = int(counted(metrics.EVENTS_CONSUMED, **labels))
    return applied


if __name__ == "__main__":
    main(float(sys.argv[1]))
