"""Fixtures every test may use: one real PostgreSQL for the run, a fresh migrated database for each test."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.kafka_cluster import kafka

from hub_embedded.data_dir import DataDir
from hub_embedded.postgres import EmbeddedPostgres
from hub_embedded.services import SERVICES
from hub_kernel.testing import RunningHub, create_template, fresh_database, run_hub

__all__ = ["kafka"]

StartHub = Callable[..., AbstractAsyncContextManager[RunningHub]]


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """The DSN of a private PostgreSQL that lives as long as the test run."""
    with tempfile.TemporaryDirectory(prefix="hub-tests-") as directory:
        # As root, the server's own account must reach in; pytest's folders are closed to it.
        Path(directory).chmod(0o711)
        with EmbeddedPostgres(DataDir.at(Path(directory) / "data")) as postgres:
            yield postgres.dsn("postgres")


@pytest.fixture(scope="session")
def template(postgres_dsn: str) -> str:
    """The name of a database with every migration applied."""
    return asyncio.run(create_template(postgres_dsn, SERVICES, "hub_template"))


@pytest.fixture
async def database(postgres_dsn: str, template: str) -> AsyncIterator[str]:
    """The DSN of a fresh, migrated database."""
    async with fresh_database(postgres_dsn, template) as dsn:
        yield dsn


@pytest.fixture
async def start_hub(database: str, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Starts services on this test's database and stops them after it."""
    async with AsyncExitStack() as stack:

        async def start(services: Any = SERVICES, **options: Any) -> RunningHub:
            return await stack.enter_async_context(run_hub(services, database, tmp_path, **options))

        yield start
