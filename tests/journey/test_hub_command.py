"""The commands ``hub run`` and ``hub demo`` as a person meets them: real processes on a data directory."""

import asyncio
import re
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import msgspec
import pytest

from hub_embedded.data_dir import DataDir
from hub_embedded.database_access import database
from hub_embedded.demo.tally import Tally, follow
from hub_kernel.clock import new_id
from hub_kernel.settings import Settings

HUB = str(Path(sys.executable).with_name("hub"))
PATIENCE_SECONDS = 60.0


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Where a hub may make its data directory; the database's own account can reach inside."""
    directory = Path(tempfile.gettempdir()) / f"hub-journey-{new_id()}"
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@asynccontextmanager
async def hub(data_dir: Path, *arguments: str, port: int = 0) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the command ``hub``; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        HUB, *arguments,
        env={"PATH": "/usr/bin:/bin", "HUB_DATA_DIR": str(data_dir), "HUB_PORT": str(port)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def line_with(process: asyncio.subprocess.Process, pattern: str) -> re.Match[str]:
    """The first line printed from here on that matches."""
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for line in process.stdout:
            if found := re.search(pattern, line.decode()):
                return found
    raise AssertionError(f"the hub ended without printing {pattern}")


async def posted_beyond(process: asyncio.subprocess.Process, referrals: int) -> None:
    """Wait until the demo day says it has posted more than so many referrals."""
    while int((await line_with(process, r"referrals: (\d+) posted"))[1]) <= referrals:
        pass


async def stopped(process: asyncio.subprocess.Process, number: int = signal.SIGINT) -> int:
    """Stop it as a person does, and give its exit code."""
    process.send_signal(number)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await process.communicate()
    assert process.returncode is not None
    return process.returncode


async def counted(data_dir: Path) -> Tally:
    tally = Tally()
    with database(Settings(data_dir=data_dir)) as dsn:
        connection = await asyncpg.connect(dsn)
        await follow(connection, tally)
        await connection.close()
    return tally


async def test_the_hub_says_where_it_is_lets_one_browser_in_once_and_stops_on_ctrl_c(data_dir: Path) -> None:
    async with hub(data_dir, "run") as process:
        base_url = (await line_with(process, r"answers at (http://127\.0\.0\.1:\d+)"))[1]
        link = (await line_with(process, r"(http://\S+/sign-in\?code=\S+)"))[1]
        url_file = data_dir / "hub.url"
        assert (url_file.read_text(), url_file.stat().st_mode & 0o777) == (base_url, 0o600)
        async with httpx.AsyncClient(trust_env=False) as browser:
            assert (await browser.get(link)).headers["location"] == "/"
            assert (await browser.get(f"{base_url}/")).status_code == httpx.codes.OK
            assert (await browser.get(link)).status_code == httpx.codes.UNAUTHORIZED
        assert await stopped(process) == 0
    assert not url_file.exists()
    assert not (data_dir / "postgres" / "postmaster.pid").exists()


async def test_a_second_hub_on_one_data_directory_says_so_and_stops(data_dir: Path) -> None:
    async with hub(data_dir, "run") as first:
        await line_with(first, "answers at")
        async with hub(data_dir, "run") as second:
            _, complaint = await second.communicate()
        assert (second.returncode, b"Another hub (process" in complaint) == (1, True)
        assert await stopped(first, signal.SIGTERM) == 0


async def test_a_taken_port_is_named_before_anything_else_goes_wrong(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with hub(data_dir, "run", port=taken.getsockname()[1]) as process:
            _, complaint = await process.communicate()
    assert (process.returncode, b"HUB_PORT" in complaint) == (1, True)


async def test_the_demo_day_goes_on_where_it_was_stopped_and_doubles_nothing(data_dir: Path) -> None:
    async with hub(data_dir, "run", "--demo", "--speed", "3000") as process:
        await posted_beyond(process, 0)
        assert await stopped(process) == 0
    before = await counted(data_dir)
    async with hub(data_dir, "run", "--demo", "--speed", "3000") as process:
        await posted_beyond(process, len(before.received))
        assert await stopped(process) == 0
    after = await counted(data_dir)
    assert before.received.keys() < after.received.keys()
    assert set(after.received.values()) == {1}


async def test_the_demo_prints_one_object_and_its_logs_verify(data_dir: Path) -> None:
    async with hub(data_dir, "demo", "--referrals", "25", "--json", "--data-dir", str(data_dir)) as process:
        printed, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    report = msgspec.json.decode(printed)
    assert list(report) == [
        "posted", "graded", "delivered", "acknowledged", "rejected", "breached", "lost", "duplicated",
        "seconds",
    ]  # fmt: skip
    assert [report[name] for name in ("posted", "graded", "lost", "duplicated")] == [25, 25, 0, 0]
    assert report["acknowledged"] > 0
    async with hub(data_dir, "audit", "verify") as process:
        await process.communicate()
    assert process.returncode == 0


async def test_a_demo_refuses_a_directory_that_holds_something(data_dir: Path) -> None:
    DataDir.at(data_dir).path.joinpath("file").touch()
    async with hub(data_dir, "demo", "--data-dir", str(data_dir)) as process:
        _, complaint = await process.communicate()
    assert (process.returncode, b"empty or not there yet" in complaint) == (1, True)
