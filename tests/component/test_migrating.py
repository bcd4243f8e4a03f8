import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest
from tests.component.ledger_service import LEDGER, READER

from hub_kernel.migrating import _prepare, migrate
from hub_kernel.testing import dsn_for

SERVICES = (LEDGER, READER)


@pytest.fixture
async def empty_databases(postgres_dsn: str) -> AsyncIterator[list[str]]:
    """Two databases of one server without anything in them."""
    names = ["migrated_one", "migrated_two"]
    connection = await asyncpg.connect(postgres_dsn)
    for name in names:
        await connection.execute(f"CREATE DATABASE {name}")
    yield [dsn_for(postgres_dsn, name) for name in names]
    for name in names:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


async def tables(dsn: str) -> list[str]:
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch(
        "SELECT schemaname || '.' || tablename AS name FROM pg_tables"
        " WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
    )
    await connection.close()
    return [row["name"] for row in rows]


LOGS = [
    f"{log}.{table}"
    for log in ("ledger", "ledger_access", "reader", "reader_access")
    for table in ("events", "log_head")
]
CONSUMERS = [
    f"{schema}.{table}"
    for schema in ("ledger", "reader")
    for table in ("consumer_cursors", "inbox", "parked")
]
VERSIONS = [f"{schema}.alembic_version" for schema in ("keyring", "ledger", "reader")]
EVERYTHING = sorted([*LOGS, *CONSUMERS, *VERSIONS, "keyring.data_keys", "ledger.relay", "reader.effects"])


async def test_an_empty_database_gets_every_schema_and_a_second_time_changes_nothing(
    empty_databases: list[str],
) -> None:
    dsn = empty_databases[0]
    await migrate(dsn, SERVICES)
    assert await tables(dsn) == EVERYTHING
    await migrate(dsn, SERVICES)
    assert await tables(dsn) == EVERYTHING


async def test_two_migrators_of_one_database_at_once_both_end_well(empty_databases: list[str]) -> None:
    dsn = empty_databases[0]
    await asyncio.gather(migrate(dsn, SERVICES), migrate(dsn, SERVICES))
    assert await tables(dsn) == EVERYTHING


async def test_two_databases_of_one_server_can_be_migrated_at_once_though_they_share_its_roles(
    empty_databases: list[str], postgres_dsn: str
) -> None:
    # A service of a name no test before has given to the server, so that its role is new to it.
    for round_number in range(3):
        fresh = f"fresh{round_number}"
        service = replace(LEDGER, name=fresh, schema=fresh, migrations=LEDGER.migrations)
        await asyncio.gather(*(prepare(dsn, service.schema) for dsn in empty_databases))
    connection = await asyncpg.connect(postgres_dsn)
    roles = await connection.fetch("SELECT rolname FROM pg_roles WHERE rolname LIKE 'hub_fresh%' ORDER BY 1")
    for row in roles:
        await connection.execute(f"DROP ROLE {row['rolname']}")
    await connection.close()
    assert [row["rolname"] for row in roles] == ["hub_fresh0", "hub_fresh1", "hub_fresh2"]


async def prepare(dsn: str, schema: str) -> None:
    """The part of a migration that touches what databases share."""
    connection = await asyncpg.connect(dsn)
    await _prepare(connection, [replace(LEDGER, schema=schema)])
    await connection.close()


async def test_a_role_made_by_a_migration_can_do_nothing_outside_its_own_schemas(
    ledger_dsn: str, owner: asyncpg.Connection
) -> None:
    del ledger_dsn
    rows = await owner.fetch(
        """SELECT r.rolname AS role, n.nspname || '.' || c.relname AS relation
             FROM pg_roles r, pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE r.rolname IN ('hub_ledger', 'hub_reader', 'hub_keyring', 'hub_bus') AND c.relkind = 'r'
              AND n.nspname NOT IN ('pg_catalog', 'information_schema')
              AND has_schema_privilege(r.rolname, n.oid, 'USAGE')
              AND has_table_privilege(r.rolname, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER')
            ORDER BY 1, 2"""
    )
    allowed: dict[str, list[str]] = {}
    for row in rows:
        allowed.setdefault(row["role"], []).append(row["relation"])
    own = {
        schema: sorted(name for name in EVERYTHING if name.startswith((f"{schema}.", f"{schema}_access.")))
        for schema in ("ledger", "reader")
    }
    assert allowed == {
        "hub_bus": ["ledger.events", "ledger.log_head", "reader.events", "reader.log_head"],
        "hub_keyring": ["keyring.data_keys"],
        "hub_ledger": [name for name in own["ledger"] if "alembic" not in name],
        "hub_reader": [name for name in own["reader"] if "alembic" not in name],
    }
