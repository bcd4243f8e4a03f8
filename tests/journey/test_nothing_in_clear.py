"""Nothing a records system sent stands in clear in what the hub writes: tables, files, bus, logs."""

import asyncio
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from hub_embedded.database_access import database
from hub_embedded.demo.generator import submissions
from hub_kernel.clock import new_id
from hub_kernel.event_store.reading import Reader
from hub_kernel.settings import Settings
from hub_schemas.envelope import to_cloudevent

REFERRALS = 60
NEWEST_BIRTH = "2025"
"""A later birthday could be the day on which the test runs."""
WORDS_IN_A_RUN = 4
CODED = {"type", "rank", "team", "children_where"}
"""Fields whose words are the hub's own too, or too plain to point at anybody."""
TELLING = {
    "given", "family", "name", "lines", "postcode", "uprn", "description", "number", "phone", "email",
    "nhs_number", "upn", "record_id", "occurrence_number", "crime_number", "collar_number",
}  # fmt: skip
PRINTABLE = re.compile(rb"[\x20-\x7e]{5,}")
HUB = str(Path(sys.executable).with_name("hub"))


@pytest.fixture(scope="module", params=[(), ("--processes",)], ids=["one process", "a process a service"])
def run_of_the_hub(request: pytest.FixtureRequest) -> Iterator[tuple[Path, bytes]]:
    """A data directory after a demo with everything logged, and all that the hub printed.

    With a process for each service, what these logged and what Kafka keeps lie in the directory too.
    """
    directory = Path(tempfile.gettempdir()) / f"hub-leak-{new_id()}"
    try:
        yield directory, asyncio.run(printed_by_a_demo(directory, *request.param))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def printed_by_a_demo(directory: Path, *options: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        HUB, "demo", "--referrals", str(REFERRALS), "--data-dir", directory, *options,
        env={"PATH": "/usr/bin:/bin", "HUB_LOG_LEVEL": "DEBUG"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed[-2_000:].decode()
    return printed


@pytest.fixture(scope="module")
def personal() -> frozenset[bytes]:
    """Everything in the demo's input that points at a person."""
    found: set[str] = set()
    for sent in submissions(REFERRALS):
        found.update(personal_strings(msgspec.json.decode(sent.body)))
        found.add(sent.record_id)
    return frozenset(text.encode() for text in found)


def personal_strings(part: Any, field: str = "") -> Iterator[str]:
    """Names, places, numbers, birthdays and every run of words of free text, wherever they stand."""
    if isinstance(part, Mapping):
        for name, value in part.items():
            yield from personal_strings(value, name)
    elif isinstance(part, list):
        for value in part:
            yield from personal_strings(value, field)
    elif isinstance(part, str):
        yield from needles(part, field)


def needles(text: str, field: str) -> Iterator[str]:
    if field in TELLING or (field == "date_of_birth" and text < NEWEST_BIRTH):
        yield text
    if field in {"postcode", "number", "phone"}:
        yield text.replace(" ", "")
    words = text.split()
    if field not in CODED:
        yield from (
            " ".join(words[at : at + WORDS_IN_A_RUN]) for at in range(len(words) - WORDS_IN_A_RUN + 1)
        )


def found_in(content: bytes, personal: frozenset[bytes]) -> list[bytes]:
    """What of it stands in these bytes in clear."""
    readable = b"\n".join(PRINTABLE.findall(content))
    return sorted(needle for needle in personal if needle in readable)


def test_the_search_finds_what_it_is_for(personal: frozenset[bytes]) -> None:
    sent = [sent for sent in submissions(REFERRALS) if sent.kind == "referral"]
    assert min(len(found_in(b"\0\1" + one.body + b"\2", personal)) for one in sent) > 5
    assert len(personal) > 1_000


def test_nothing_is_in_clear_in_what_the_hub_printed(
    run_of_the_hub: tuple[Path, bytes], personal: frozenset[bytes]
) -> None:
    _, printed = run_of_the_hub
    assert b"referrals: 60 posted" in printed
    assert found_in(printed, personal) == []


def test_nothing_is_in_clear_in_any_file_of_the_data_directory(
    run_of_the_hub: tuple[Path, bytes], personal: frozenset[bytes]
) -> None:
    directory, _ = run_of_the_hub
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert any(path.parent.name == "pg_wal" for path in files)
    assert {path.name: hits for path in files if (hits := found_in(path.read_bytes(), personal))} == {}


async def test_nothing_is_in_clear_in_any_table_or_on_the_bus(
    run_of_the_hub: tuple[Path, bytes], personal: frozenset[bytes]
) -> None:
    directory, _ = run_of_the_hub
    with database(Settings(data_dir=directory)) as dsn:
        connection = await asyncpg.connect(dsn)
        try:
            tables = await every_table(connection)
            messages = await every_message(connection)
        finally:
            await connection.close()
    assert len(tables["intake.events"]) > 60 * 2_000  # the sealed documents are there
    assert {name: hits for name, rows in tables.items() if (hits := found_in(rows, personal))} == {}
    assert found_in(messages, personal) == []


async def every_table(connection: asyncpg.Connection) -> dict[str, bytes]:
    """The bytes of every table, as the database's own binary copy gives them."""
    names = await connection.fetch(
        """SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
            WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"""
    )
    return {name: await copied(connection, name) for (name,) in names}


async def copied(connection: asyncpg.Connection, table: str) -> bytes:
    content = bytearray()

    async def keep(chunk: bytes) -> None:
        content.extend(chunk)

    await connection.copy_from_query(f"SELECT * FROM {table}", output=keep, format="binary")
    return bytes(content)


async def every_message(connection: asyncpg.Connection) -> bytes:
    """Every fact as the bus carries it, headers and value."""
    written: list[bytes] = []
    for source in ("intake", "triage", "partner_gateway", "oversight"):
        async for page in Reader(source).pages(connection):
            for headers, value in map(to_cloudevent, page):
                written += [*(content for _, content in headers), value]
    return b"\n".join(written)
