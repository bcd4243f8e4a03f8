"""The hub as in production, a process a service over a real Kafka: whatever is killed, all is there once.

In every round one process is killed at any moment and started again so that it dies at a named point; or the
broker or the database server is killed under all of them. The others work on.
"""

import asyncio
import os
import signal
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle

import pytest
from tests.chaos.around import data_directory, expect_whole_logs, simulator_process

from hub_embedded.demo.checking import check_topology
from hub_embedded.demo.dice import Dice
from hub_embedded.demo.generator import submissions
from hub_embedded.demo.hub_staff import HubStaff, eager_pace, hub_staff_client
from hub_embedded.demo.records_system import RecordsSystem, records_system_client
from hub_embedded.topology import ServiceProcess, Topology, service_ports, topology
from hub_kernel.clock import SystemClock
from hub_kernel.runtime import local_issuer
from hub_kernel.settings import Settings

RELAY = ("relay.before_send", "relay.after_send", "relay.acknowledged", "relay.saved")
CONSUMER = ("effect.before", "effect.after", "cursor.before", "cursor.after")
SENDER = ("delivery.before_attempt", "delivery.before_send", "delivery.after_send", "delivery.after_record")
POINTS = {
    "intake": ("append.before", "append.after", *RELAY),
    "triage": (*CONSUMER, *RELAY),
    "partner-gateway": (*CONSUMER, *RELAY, *SENDER),
    "oversight": CONSUMER,
}
MATRIX = [(name, point) for name, points in POINTS.items() for point in points]
RATE = 3.0
"""Records a second."""
POINT_PATIENCE_SECONDS = 15.0
HITS = 3
READY_SECONDS = 60.0


@dataclass
class Chaos:
    """What runs, and what has been done to it."""

    hub: Topology
    dice: Dice
    died_at: Counter[str] = field(default_factory=Counter)

    async def kill_service(self, name: str, point: str) -> None:
        """Kill a service at any moment, then at a named point; if it never passes that, kill it anyway."""
        service = self.hub.services[name]
        await self.at_any_moment()
        await self.expect_killed(service, await service.kill())
        self.died_at[f"{name} at any moment"] += 1
        await service.start(HUB_FAILPOINT=f"{point}:{self.dice.whole(1, HITS)}")
        assert service.process is not None
        try:
            async with asyncio.timeout(POINT_PATIENCE_SECONDS):
                code = await service.process.wait()
            self.died_at[f"{name} at {point}"] += 1
        except TimeoutError:
            code = await service.kill()
            self.died_at[f"{name} waiting for a point"] += 1
        await self.expect_killed(service, code)
        await service.start()

    async def kill_broker(self) -> None:
        """Kill Kafka under all of them, twice."""
        for _ in range(2):
            await self.at_any_moment()
            await asyncio.to_thread(self.hub.broker.kill)
            await self.at_any_moment()
            await asyncio.to_thread(self.hub.broker.start)
            self.died_at["broker"] += 1

    async def kill_database(self) -> None:
        """Kill the database server under all of them, twice; its keeper starts it again."""
        for _ in range(2):
            await self.at_any_moment()
            os.kill(self._postmaster(), signal.SIGKILL)
            self.died_at["database server"] += 1
            await asyncio.sleep(1.5)

    async def at_any_moment(self) -> None:
        """Wait as long as the dice say."""
        await asyncio.sleep(self.dice.whole(0, 1_500) / 1_000)

    async def expect_killed(self, service: ServiceProcess, code: int) -> None:
        """The service died of the kill, and of nothing it met after the kills before."""
        assert code == -signal.SIGKILL, service.log.read_text()[-3_000:]

    def _postmaster(self) -> int:
        directory = self.hub.settings.data_dir
        places = (directory / "postgres", directory / "postgres.elsewhere" / "postgres")
        [pid_file] = [path for place in places if (path := place / "postmaster.pid").exists()]
        return int(pid_file.read_text().split("\n")[0])


@pytest.mark.kills
@pytest.mark.timeout(0)  # it waits for nothing without a limit of its own, and is as long as asked for
async def test_whatever_process_is_killed_every_referral_and_every_contact_is_there_once(
    topology_kills: int, chaos_seed: int
) -> None:
    with data_directory() as directory:
        ports = service_ports(0)
        settings = Settings(data_dir=directory, log_level="ERROR", kafka_session_seconds=3)
        issuer = local_issuer(settings)
        gateway = f"http://127.0.0.1:{ports['partner-gateway']}"
        async with (
            simulator_process(settings, issuer, gateway) as partners,
            topology(settings, ports=ports, HUB_PARTNERS=partners) as hub,
            records_system_client(hub.addresses.intake, issuer) as records_client,
            hub_staff_client(hub.addresses.triage, issuer) as staff_client,
        ):
            await hub.start()
            chaos = Chaos(hub, Dice(f"topology:{chaos_seed}"))
            records_system = RecordsSystem(records_client)
            staff = asyncio.create_task(HubStaff(staff_client, SystemClock(), eager_pace()).work())
            try:
                await kill_again_and_again(chaos, records_system, topology_kills)
                await asyncio.gather(*(s.ready(hub.client, READY_SECONDS) for s in hub.services.values()))
                accepted = list(records_system.posted.referrals.values())
                checked = await check_topology(hub, accepted, directory / "partners.sqlite")
                assert checked.faults == []
                assert checked.tally.ended("acknowledged") > 0
                assert [await hub.services[name].stop(20) for name in POINTS] == [0, 0, 0, 0]
            finally:
                staff.cancel()
        await expect_whole_logs(settings)
    assert chaos.died_at.total() >= topology_kills
    assert {"broker", "database server"} <= set(chaos.died_at)
    assert at_points(chaos) >= min(len(MATRIX), topology_kills // 4)


async def kill_again_and_again(chaos: Chaos, records_system: RecordsSystem, kills: int) -> None:
    """One way to die after another, under a steady trickle of records posted until they are answered."""
    stopping, stream = asyncio.Event(), submissions(seed=chaos.dice.whole(1, 10_000))
    trickle = asyncio.create_task(
        records_system.send_all(stream, at_once=8, per_second=RATE, stopping=stopping)
    )
    matrix = chaos.dice.several(MATRIX, len(MATRIX))
    half = len(matrix) // 4
    for way in cycle([*matrix[:half], None, *matrix[half:]]):
        if chaos.died_at.total() >= kills:
            break
        assert not trickle.done(), trickle.result()
        if way is not None:
            await chaos.kill_service(*way)
        else:
            await chaos.kill_broker()
            await chaos.kill_database()
    stopping.set()
    await trickle


def at_points(chaos: Chaos) -> int:
    return sum(f"{name} at {point}" in chaos.died_at for name, point in MATRIX)
