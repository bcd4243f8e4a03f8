"""Fixtures around the two tiny services: a fresh database with both, and stores on it."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.component.ledger_service import LEDGER, NOON, READER

from hub_kernel.clock import FixedClock
from hub_kernel.database import open_pool
from hub_kernel.event_store import EventStore
from hub_kernel.testing import create_template, fresh_database


@pytest.fixture(scope="session")
def ledger_template(postgres_dsn: str) -> str:
    """The name of a database with the ledger and the reader migrated."""
    return asyncio.run(create_template(postgres_dsn, (LEDGER, READER), "ledger_template"))


@pytest.fixture
async def ledger_dsn(postgres_dsn: str, ledger_template: str) -> AsyncIterator[str]:
    """A fresh database with both services' schemas."""
    async with fresh_database(postgres_dsn, ledger_template) as dsn:
        yield dsn


@pytest.fixture
async def owner(ledger_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the database's owner, who may look and tamper anywhere."""
    connection = await asyncpg.connect(ledger_dsn)
    yield connection
    await connection.close()


@pytest.fixture
def clock() -> FixedClock:
    """It is noon until a test says otherwise."""
    return FixedClock(NOON)


@pytest.fixture
async def ledger(ledger_dsn: str, clock: FixedClock) -> AsyncIterator[EventStore]:
    """The ledger's own store, under the ledger's role."""
    pool = await open_pool(ledger_dsn, role=LEDGER.role, size=8)
    yield EventStore(pool, LEDGER.schema, clock)
    pool.terminate()


@pytest.fixture
async def reader_pool(ledger_dsn: str) -> AsyncIterator[asyncpg.Pool]:
    """The reader's connections."""
    pool = await open_pool(ledger_dsn, role=READER.role, size=8)
    yield pool
    pool.terminate()
