"""The hub is killed at named points and at any moment, its database server too; then everything is counted.

The records system, the staff and the partners live on outside and keep their own record of what was agreed.
"""

import asyncio
import os
import signal
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle

import httpx
import pytest
from tests.chaos.around import (
    HUB,
    SYSTEM_PATH,
    data_directory,
    expect_everything_once,
    expect_whole_logs,
    free_port,
    is_up,
    simulator_process,
)

from hub_embedded.database_access import database
from hub_embedded.demo.dice import Dice
from hub_embedded.demo.generator import Submission, submissions
from hub_embedded.demo.hub_staff import HubStaff, eager_pace, hub_staff_client
from hub_embedded.demo.records_system import RecordsSystem, records_system_client
from hub_kernel.clock import SystemClock
from hub_kernel.runtime import local_issuer
from hub_kernel.settings import Settings

POINTS = {
    "append.before": 4,
    "append.after": 4,
    "publish.before": 40,
    "publish.after": 12,
    "effect.before": 20,
    "effect.after": 20,
    "cursor.before": 10,
    "cursor.after": 10,
    "delivery.before_attempt": 2,
    "delivery.before_send": 3,
    "delivery.after_send": 3,
    "delivery.after_record": 3,
}
"""The named points, and among how many passes the fatal one is drawn."""
RECORDS_A_ROUND = 4
POINT_PATIENCE_SECONDS = 8.0


@dataclass
class Chaos:
    """One data directory, the processes around it, and what has been done to them."""

    settings: Settings
    partners: str
    dice: Dice
    hub: asyncio.subprocess.Process | None = None
    died_at: Counter[str] = field(default_factory=Counter)

    @property
    def hub_url(self) -> str:
        """Where the hub answers, whichever process it is."""
        return f"http://127.0.0.1:{self.settings.port}"

    async def start(self, failpoint: str | None = None) -> asyncio.subprocess.Process:
        """Start the hub on the same data directory, perhaps to die at a point."""
        environment = {
            "PATH": SYSTEM_PATH,
            "HUB_DATA_DIR": str(self.settings.data_dir),
            "HUB_PORT": str(self.settings.port),
            "HUB_PARTNERS": self.partners,
            "HUB_LOG_LEVEL": "ERROR",
        }
        if failpoint is not None:
            environment["HUB_FAILPOINT"] = failpoint
        with (self.settings.data_dir / "hub.out").open("ab") as output:
            self.hub = await asyncio.create_subprocess_exec(
                HUB, "run", env=environment, stdout=output, stderr=output
            )
        return self.hub

    async def answers(self, client: httpx.AsyncClient) -> None:
        """Wait until the hub takes requests, or is dead already."""
        assert self.hub is not None
        while self.hub.returncode is None and not await is_up(  # noqa: ASYNC110  it is another process
            client, f"{self.hub_url}/health/ready"
        ):
            await asyncio.sleep(0.05)

    async def kill_at(self, point: str, client: httpx.AsyncClient) -> None:
        """Let the hub run until it passes a named point, and die there; if it never does, kill it anyway."""
        hits = self.dice.whole(1, POINTS[point])
        hub = await self.start(f"{point}:{hits}")
        await self.answers(client)
        try:
            await asyncio.wait_for(hub.wait(), POINT_PATIENCE_SECONDS)
            self.died_at[point] += 1
        except TimeoutError:
            hub.kill()
            self.died_at["waiting for a point"] += 1
        await self.expect_killed()

    async def kill_at_any_moment(self) -> None:
        """Kill the hub while it starts, works, or catches up."""
        hub = await self.start()
        await asyncio.sleep(self.dice.whole(0, 4_000) / 1_000)
        hub.kill()
        self.died_at["any moment"] += 1
        await self.expect_killed()

    async def kill_database(self, client: httpx.AsyncClient) -> None:
        """Kill the database server under a working hub, see the hub come back, then kill the hub too."""
        hub = await self.start()
        await self.answers(client)
        await asyncio.sleep(self.dice.whole(0, 500) / 1_000)
        os.kill(self._postmaster(), signal.SIGKILL)
        await asyncio.sleep(0.3)
        await self.answers(client)
        hub.kill()
        self.died_at["database server"] += 1
        await self.expect_killed()

    async def expect_killed(self) -> None:
        """The hub died of the kill, and of nothing it met after the kills before."""
        assert self.hub is not None
        assert await self.hub.wait() == -signal.SIGKILL, self.said()

    def said(self) -> str:
        """The last the hub printed."""
        return (self.settings.data_dir / "hub.out").read_text()[-3_000:]

    def _postmaster(self) -> int:
        places = ("postgres", "postgres.elsewhere/postgres")
        [pid_file] = [
            path for place in places if (path := self.settings.data_dir / place / "postmaster.pid").exists()
        ]
        return int(pid_file.read_text().split("\n")[0])


@pytest.mark.kills
@pytest.mark.timeout(0)  # it waits for nothing without a limit of its own, and is as long as asked for
async def test_whatever_is_killed_every_referral_and_every_contact_is_there_once(
    kills: int, chaos_seed: int
) -> None:
    with data_directory() as directory:
        settings = Settings(data_dir=directory, port=free_port())
        issuer = local_issuer(settings)
        async with (
            simulator_process(settings, issuer, f"http://127.0.0.1:{settings.port}") as partners,
            httpx.AsyncClient(trust_env=False, timeout=2) as client,
            records_system_client(f"http://127.0.0.1:{settings.port}", issuer) as records_client,
            hub_staff_client(f"http://127.0.0.1:{settings.port}", issuer) as staff_client,
        ):
            chaos = Chaos(settings, partners, Dice(f"chaos:{chaos_seed}"))
            records_system = RecordsSystem(records_client)
            staff = asyncio.create_task(HubStaff(staff_client, SystemClock(), eager_pace()).work())
            try:
                posting = await kill_again_and_again(chaos, client, records_system, kills)
                hub = await chaos.start()
                await asyncio.gather(*posting)
                with database(settings) as dsn:
                    await expect_everything_once(dsn, records_system, directory)
                hub.terminate()
                assert await hub.wait() == 0
            finally:
                staff.cancel()
                if chaos.hub is not None and chaos.hub.returncode is None:
                    chaos.hub.kill()
        await expect_whole_logs(settings)
    assert chaos.died_at.total() == kills
    if kills >= 2 * len(POINTS):
        assert set(POINTS) <= set(chaos.died_at)
    assert len(records_system.posted.referrals) == kills * RECORDS_A_ROUND


async def kill_again_and_again(
    chaos: Chaos, client: httpx.AsyncClient, records_system: RecordsSystem, kills: int
) -> list["asyncio.Task[None]"]:
    """One way to die after another, each under a few new records; the posts go on until they are answered."""
    rounds: list[list[Submission]] = [[] for _ in range(kills)]
    for submission in submissions(kills * RECORDS_A_ROUND, seed=chaos.dice.whole(1, 10_000)):
        rounds[(submission.number - 1) // RECORDS_A_ROUND].append(submission)
    ways = cycle([*chaos.dice.several(list(POINTS), len(POINTS)), "any moment", "any moment", "database"])
    posting = []
    for records, way in zip(rounds, ways, strict=False):
        posting.append(asyncio.create_task(records_system.send_all(records, at_once=2)))
        if way in POINTS:
            await chaos.kill_at(way, client)
        elif way == "database":
            await chaos.kill_database(client)
        else:
            await chaos.kill_at_any_moment()
    return posting
