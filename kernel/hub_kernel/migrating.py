"""Migrations: roles and schemas first, then each owner's Alembic scripts, then what each role may touch."""

import contextlib
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path

import asyncpg
from alembic import command, context, op
from alembic.config import Config
from sqlalchemy import Connection, pool
from sqlalchemy.ext.asyncio import create_async_engine

from hub_kernel.event_store import log_ddl
from hub_kernel.roles import BUS_ROLE, KEYRING_ROLE
from hub_kernel.service import Service

_LOCK = 0x48_55_42  # one migrator at a time in a database


async def migrate(dsn: str, services: Sequence[Service]) -> None:
    """Bring the database at ``dsn`` up to this release. Safe to repeat and to run twice at once.

    The login needs to create roles and schemas the first time; afterwards to own them.
    """
    guard = await asyncpg.connect(dsn, timeout=10)
    try:
        await guard.execute("SELECT pg_advisory_lock($1)", _LOCK)
        await _prepare(guard, services)
        engine = create_async_engine(_sqlalchemy_url(dsn), poolclass=pool.NullPool)
        async with engine.connect() as connection:
            await connection.run_sync(_upgrade, "hub_kernel.migrations", "keyring")
            for service in services:
                await connection.run_sync(_upgrade, service.migrations, service.schema)
        await engine.dispose()
        await _grant(guard, services)
    finally:
        await guard.close()


def run_environment() -> None:
    """The whole body of every ``migrations/env.py``: run the scripts on the connection handed over."""
    configuration = context.config
    connection: Connection = configuration.attributes["connection"]
    context.configure(
        connection=connection,
        version_table_schema=configuration.attributes["schema"],
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def execute_script(sql: str) -> None:
    """Run several statements inside the migration's transaction, exactly as written."""
    driver = op.get_bind().connection.dbapi_connection
    if driver is None:
        raise RuntimeError("a migration runs online only")
    driver.run_async(lambda connection: connection.execute(sql))


def create_logs(schema: str) -> None:
    """Create a service's event log, its access log and its consumer tables: the start of its first script."""
    for log in (schema, f"{schema}_access"):
        for statement in log_ddl(log):
            execute_script(statement)
    consumers = resources.files("hub_kernel.sql") / "consumer_tables.sql"
    execute_script(consumers.read_text().format(schema=schema))


def create_relay(schema: str) -> None:
    """Create the row of each topic a service's log is published on."""
    relay = resources.files("hub_kernel.sql") / "relay_table.sql"
    execute_script(relay.read_text().format(schema=schema))


def create_keyring() -> None:
    """Create the data keys' table and functions."""
    execute_script((resources.files("hub_kernel.sql") / "keyring.sql").read_text())


def _upgrade(connection: Connection, package: str, schema: str) -> None:
    configuration = Config()
    location = Path(str(resources.files(package)))
    configuration.set_main_option("script_location", str(location).replace("%", "%%"))
    configuration.attributes["connection"] = connection
    configuration.attributes["schema"] = schema
    command.upgrade(configuration, "head")
    connection.commit()


async def _prepare(connection: asyncpg.Connection, services: Iterable[Service]) -> None:
    schemas = ["keyring"]
    roles = [KEYRING_ROLE, BUS_ROLE]
    for service in services:
        schemas += [service.schema, service.access_schema]
        roles.append(service.role)
    for role in roles:
        # Roles belong to the whole cluster: another database's migrator may make the same one just now.
        with contextlib.suppress(asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
            await connection.execute(f"CREATE ROLE {role} NOLOGIN; GRANT {role} TO CURRENT_USER")
    for schema in schemas:
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")


async def _grant(connection: asyncpg.Connection, services: Iterable[Service]) -> None:
    """Give each role its own schemas and nothing else; nobody may change or remove an event."""
    await connection.execute(
        f"""GRANT USAGE ON SCHEMA keyring TO {KEYRING_ROLE};
            GRANT SELECT, INSERT, UPDATE ON keyring.data_keys TO {KEYRING_ROLE};"""
    )
    for service in services:
        await connection.execute(
            f"""GRANT USAGE ON SCHEMA {service.schema}, {service.access_schema} TO {service.role};
                GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE
                   ON ALL TABLES IN SCHEMA {service.schema} TO {service.role};
                REVOKE ALL ON {service.schema}.alembic_version FROM {service.role};
                GRANT USAGE ON SCHEMA {service.schema} TO {BUS_ROLE};
                GRANT SELECT ON {service.schema}.events, {service.schema}.log_head TO {BUS_ROLE};"""
        )
        for log in (service.schema, service.access_schema):
            await connection.execute(
                f"""REVOKE ALL ON {log}.events, {log}.log_head FROM {service.role};
                    GRANT SELECT, INSERT ON {log}.events TO {service.role};
                    GRANT SELECT, UPDATE ON {log}.log_head TO {service.role};"""
            )


def _sqlalchemy_url(dsn: str) -> str:
    return "postgresql+asyncpg:" + dsn.partition(":")[2]
