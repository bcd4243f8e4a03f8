"""How the commands reach the database: the data directory's own server, or the configured one."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from hub_embedded.data_dir import DataDir
from hub_embedded.postgres import EmbeddedPostgres

HUB = Path(sys.executable).with_name("hub")


async def hub(*arguments: str, **settings: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        HUB, *arguments, env={"LC_ALL": "C.UTF-8", **settings}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, error = await process.communicate()
    return process.returncode or 0, out.decode(), error.decode()


@pytest.fixture(scope="module")
async def migrated(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    """A data directory with its own server at rest, migrated by the command."""
    path = tmp_path_factory.mktemp("data")
    assert await hub("migrate", HUB_DATA_DIR=str(path)) == (0, "", "")
    yield path
    with EmbeddedPostgres(DataDir.at(path)):
        pass


def runs(data_dir: Path) -> bool:
    elsewhere = data_dir / "postgres.elsewhere"
    home = elsewhere if elsewhere.is_symlink() else data_dir
    return (home / "postgres" / "postmaster.pid").exists()


async def test_a_command_starts_the_server_of_the_data_directory_and_stops_it_again(migrated: Path) -> None:
    code, out, error = await hub("audit", "verify", HUB_DATA_DIR=str(migrated))
    assert (code, error) == (0, "")
    assert out.splitlines()[-1].startswith("Every log is as it was recorded: 0 events verified")
    assert not runs(migrated)


async def test_a_command_works_beside_a_running_hub_and_leaves_its_server_running(migrated: Path) -> None:
    data_dir = DataDir.at(migrated)
    with data_dir.lock(), EmbeddedPostgres(data_dir):
        code, _, error = await hub("log", HUB_DATA_DIR=str(migrated))
        assert (code, error, runs(migrated)) == (0, "", True)
    assert not runs(migrated)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_ends_following_and_the_server_started_for_it(
    number: signal.Signals, migrated: Path
) -> None:
    process = await asyncio.create_subprocess_exec(
        HUB, "log", "--follow", env={"HUB_DATA_DIR": str(migrated)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        while not await listens(migrated):  # noqa: ASYNC110  another process gives no event to await
            await asyncio.sleep(0.05)
    process.send_signal(number)
    _, error = await process.communicate()
    assert (error, process.returncode, runs(migrated)) == (b"", 128 + number, False)


async def listens(data_dir: Path) -> bool:
    """Whether the command has got as far as waiting for events."""
    if not runs(data_dir):
        return False
    with EmbeddedPostgres(DataDir.at(data_dir)) as postgres:
        connection = await asyncpg.connect(postgres.dsn())
        found = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND state = 'idle'"
        )
        await connection.close()
        return bool(found >= 4)


async def test_where_there_is_no_hub_none_is_made(tmp_path: Path) -> None:
    code, out, error = await hub("audit", "verify", HUB_DATA_DIR=str(tmp_path / "data"))
    assert (code, out) == (1, "")
    assert error.startswith(f"There is no hub in {tmp_path / 'data'}.")
    assert not (tmp_path / "data").exists()


async def test_a_database_that_does_not_answer_is_told_in_one_line(tmp_path: Path) -> None:
    code, out, error = await hub(
        "log", HUB_DATA_DIR=str(tmp_path), HUB_DATABASE_URL="postgresql://hub:s3cret@127.0.0.1:1/hub"
    )
    assert (code, out) == (1, "")
    assert error == (
        "The database does not answer. See that it runs and that HUB_DATABASE_URL is right, then try again.\n"
    )


async def test_a_database_without_the_hubs_tables_is_told_in_one_line(
    postgres_dsn: str, tmp_path: Path
) -> None:
    code, out, error = await hub("log", HUB_DATA_DIR=str(tmp_path), HUB_DATABASE_URL=postgres_dsn)
    assert (code, out) == (1, "")
    assert error == "The database does not hold this release's tables. Run `hub migrate`, then try again.\n"
