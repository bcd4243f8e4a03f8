"""The hub as in production on this machine, under load: Kafka, a process a service, partners, staff, senders.

The senders and the staff are this process; everything else is a process of its own.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import httpx

from bench.surroundings import Partners, data_directory, simulated_partners
from hub_embedded.demo.checking import Checked, check_topology
from hub_embedded.demo.generator import Submission, submissions
from hub_embedded.demo.hub_staff import HubStaff, eager_pace, hub_staff_client
from hub_embedded.demo.partners import LEDGER_FILE
from hub_embedded.demo.records_system import RecordsSystem, records_system_client
from hub_embedded.topology import Topology, service_ports, topology
from hub_kernel.clock import SystemClock
from hub_kernel.runtime import local_issuer
from hub_kernel.settings import Settings

AT_ONCE: Final = 64
"""Posts under way at most: enough that the rate holds while answers take half a second."""
_LOOK_SECONDS: Final = 0.1


class Sender(RecordsSystem):
    """A records system that can be told to stop; what it has begun to post is answered first."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        super().__init__(client)
        self._under_way = 0
        self._answered = asyncio.Condition()
        self._is_stopped = False

    async def send(self, submission: Submission) -> None:
        """Post one submission until it is answered; once stopped, none, and never return."""
        if self._is_stopped:
            await asyncio.get_running_loop().create_future()
        self._under_way += 1
        try:
            await super().send(submission)
        finally:
            self._under_way -= 1
            async with self._answered:
                self._answered.notify_all()

    async def stop(self) -> None:
        """Begin nothing more, and wait until what is under way is answered."""
        self._is_stopped = True
        async with self._answered:
            await self._answered.wait_for(lambda: self._under_way == 0)


@dataclass(frozen=True, slots=True)
class Production:
    """What runs, and who posts to it."""

    hub: Topology
    records_system: Sender
    partners: Partners
    directory: Path

    @property
    def accepted(self) -> int:
        """How many referrals the hub has answered for."""
        return len(self.records_system.posted.referrals)

    async def post(self, rate: float, stream: Iterable[Submission]) -> None:
        """Post so many records a second, each with what is sent after it."""
        await self.records_system.send_all(stream, at_once=AT_ONCE, per_second=rate)

    @asynccontextmanager
    async def posting(self, rate: float) -> AsyncIterator["asyncio.Task[None]"]:
        """Post steadily while the block runs; everything begun is answered at its end.

        The task yielded never ends, except by an error, which is the caller's to look for.
        """
        task = asyncio.create_task(self.post(rate, submissions(seed=1)))
        try:
            yield task
            await self.records_system.stop()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def checked(self) -> Checked:
        """Wait until everything has come to rest, and compare everybody's record of it."""
        accepted = list(self.records_system.posted.referrals.values())
        return await check_topology(self.hub, accepted, self.directory / LEDGER_FILE)

    def ended(self) -> list[str]:
        """The services whose process is gone; nobody starts them again."""
        return [name for name, service in self.hub.services.items() if not service.is_running]


@asynccontextmanager
async def production() -> AsyncIterator[Production]:
    """All of it started and ready, with staff who decide at once; stopped in order at the end."""
    with data_directory() as directory:
        ports = service_ports(0)
        settings = Settings(data_dir=directory, log_level="ERROR")
        issuer = local_issuer(settings)
        gateway = f"http://127.0.0.1:{ports['partner-gateway']}"
        async with (
            simulated_partners(settings, issuer, gateway) as partners,
            topology(settings, ports=ports, HUB_PARTNERS=partners.setting) as hub,
            records_system_client(hub.addresses.intake, issuer) as records,
            hub_staff_client(hub.addresses.triage, issuer) as staff,
        ):
            await hub.start()
            pace = replace(eager_pace(), look_seconds=_LOOK_SECONDS)
            working = asyncio.create_task(HubStaff(staff, SystemClock(), pace).work())
            try:
                yield Production(hub, Sender(records), partners, directory)
                if working.done():
                    working.result()
            finally:
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)
