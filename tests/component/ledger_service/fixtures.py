"""Fixtures around the two tiny services: an empty database with both, and stores on it."""

import asyncio
import functools
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.component.ledger_service import LEDGER, NOON, READER

from hub_kernel.clock import FixedClock
from hub_kernel.database import open_pool
from hub_kernel.event_store import EventStore
from hub_kernel.testing import create_template, dsn_for

_LOGS = (LEDGER.schema, LEDGER.access_schema, READER.schema, READER.access_schema)
_TABLES = (
    *(f"{log}.events" for log in _LOGS),
    "ledger.relay",
    *(f"{s.schema}.{table}" for s in (LEDGER, READER) for table in ("consumer_cursors", "inbox", "parked")),
    "reader.effects",
    "keyring.data_keys",
)


@pytest.fixture(scope="session")
def ledger_database(postgres_dsn: str) -> str:
    """The DSN of a database with the ledger and the reader migrated, for the whole run."""
    return _migrated(postgres_dsn)


@functools.cache
def _migrated(postgres_dsn: str) -> str:
    """Made once, although each conftest that shows these fixtures defines them anew."""
    return dsn_for(postgres_dsn, asyncio.run(create_template(postgres_dsn, (LEDGER, READER), "ledger_tests")))


@pytest.fixture
async def ledger_dsn(ledger_database: str) -> str:
    """That database, emptied: several times quicker than a copy of its own for each of so many tests."""
    connection = await asyncpg.connect(ledger_database)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    for table in _TABLES:
        await connection.execute(f"DELETE FROM {table}")
    for log in _LOGS:
        await connection.execute(
            f"UPDATE {log}.log_head SET position = 0, recorded_at = '-infinity', peaks = '{{}}'"
        )
    await connection.close()
    return ledger_database


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
