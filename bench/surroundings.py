"""Around a hub that is measured: its partners as a process of their own, ports, and when it answers."""

import asyncio
import contextlib
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from hub_embedded.data_dir import DataDir
from hub_embedded.demo.partners import LEDGER_FILE, partners_setting, tenancies_for, write_tenancies
from hub_kernel.auth import LocalIssuer
from hub_kernel.settings import Settings


class Partners(NamedTuple):
    """Simulated partners that run: HUB_PARTNERS as a service takes it, and the process's id."""

    setting: str
    pid: int


@contextmanager
def data_directory() -> Iterator[Path]:
    """A data directory that goes with the block; the database's own account can reach into it."""
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as directory:
        Path(directory).chmod(0o711)
        yield DataDir.at(Path(directory) / "data").path


@asynccontextmanager
async def simulated_partners(
    settings: Settings, issuer: LocalIssuer, hub_url: str
) -> AsyncIterator[Partners]:
    """Every partner the hub ships a package for, all accepting; ``hub_url`` is where they call back."""
    tenancies = tenancies_for(issuer, hub_url)
    port, listed = free_port(), settings.data_dir / "tenancies.json"
    write_tenancies(tenancies, listed)
    command = [
        sys.executable, "-m", "hub_embedded.partner_simulators", "--port", str(port),
        "--tenancies", str(listed), "--state", str(settings.data_dir / LEDGER_FILE),
    ]  # fmt: skip
    async with process(command, settings) as pid:
        await until_up(f"http://127.0.0.1:{port}/control")
        setting = partners_setting(tenancies, f"http://127.0.0.1:{port}").get_secret_value()
        yield Partners(setting, pid)


@asynccontextmanager
async def process(command: list[str], settings: Settings, **environment: str) -> AsyncIterator[int]:
    """Run a program of ours while the block runs; yields its process id."""
    environment |= {"PATH": "/usr/bin:/bin", "HUB_LOG_LEVEL": "ERROR"}
    environment |= {"HUB_DATA_DIR": str(settings.data_dir), "HUB_PORT": str(settings.port)}
    started = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        yield started.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            started.terminate()
        await started.wait()


async def until_up(url: str) -> None:
    """Wait until an address answers well. Raises ``TimeoutError`` after a minute."""
    async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(60):
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get(url)).is_success:
                    return
            await asyncio.sleep(0.1)


def program(name: str) -> str:
    """A program installed beside the interpreter that runs this."""
    return str(Path(sys.executable).with_name(name))


def free_port() -> int:
    """A port of the loopback nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
