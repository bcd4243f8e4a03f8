"""Around a hub that is killed: its partners in a process of their own, its directory, and the final count."""

import asyncio
import json
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx

from hub_embedded.data_dir import DataDir
from hub_embedded.demo.dice import Dice
from hub_embedded.demo.partners import partners_setting, tenancies_for, write_tenancies
from hub_embedded.demo.progress import Watch
from hub_embedded.demo.records_system import RecordsSystem
from hub_embedded.demo.run import check, until_quiet
from hub_embedded.partner_simulators import Ledger
from hub_kernel.auth import LocalIssuer
from hub_kernel.clock import new_id
from hub_kernel.settings import Settings

HUB = str(Path(sys.executable).with_name("hub"))
SYSTEM_PATH = "/usr/bin:/bin"
BEHAVIOUR = {"mix": {"lose_answer": 0.1, "reject": 0.05}, "slow_seconds": 0.3}


async def expect_everything_once(dsn: str, records_system: RecordsSystem, directory: Path) -> None:
    watch, ledger = Watch(dsn), Ledger(directory / "partners.sqlite")
    accepted = list(records_system.posted.referrals.values())
    await until_quiet(watch, len(accepted))
    found = await check(dsn, accepted, watch.tally, ledger)
    await watch.close()
    ledger.close()
    assert found == []
    assert watch.tally.ended("acknowledged") > 0


async def expect_whole_logs(settings: Settings) -> None:
    verify = await asyncio.create_subprocess_exec(
        HUB, "audit", "verify", env={"PATH": SYSTEM_PATH, "HUB_DATA_DIR": str(settings.data_dir)}
    )
    assert await verify.wait() == 0


@asynccontextmanager
async def simulator_process(settings: Settings, issuer: LocalIssuer, hub_url: str) -> AsyncIterator[str]:
    """The partners in a process of their own; yields HUB_PARTNERS, with short waits."""
    tenancies = tenancies_for(issuer, hub_url)
    port, listed = free_port(), settings.data_dir / "tenancies.json"
    write_tenancies(tenancies, listed)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hub_embedded.partner_simulators", "--port", str(port), "--tenancies", listed,
        "--state", settings.data_dir / "partners.sqlite", "--behaviour", json.dumps(BEHAVIOUR),
        env={"PATH": SYSTEM_PATH}, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    waits = {"retry_seconds": [0.1, 0.3, 1], "poll_seconds": [0.05, 0.2, 1], "callback_seconds": [0.5, 1, 2]}
    url = f"http://127.0.0.1:{port}"
    partners = json.loads(partners_setting(tenancies, url).get_secret_value())
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            while not await is_up(client, f"{url}/control"):
                assert process.returncode is None
                await asyncio.sleep(0.05)
        yield json.dumps({name: partner | waits for name, partner in partners.items()})
    finally:
        process.kill()
        await process.wait()


async def is_up(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).is_success
    except httpx.TransportError:
        return False


@contextmanager
def data_directory() -> Iterator[Path]:
    """A data directory the database's own account can reach into, also when the tests run as root."""
    directory = DataDir.at(Path(tempfile.gettempdir()) / f"hub-chaos-{new_id()}").path
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def free_port() -> int:
    """A port nobody listens on, outside the range from which the system gives clients theirs.

    Inside it, another connection could take the port while the hub is down; even one to itself.
    """
    for port in Dice(str(new_id())).several(range(20_000, 30_000), 100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError("a hundred ports are all taken")
