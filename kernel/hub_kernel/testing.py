"""For tests of services: a migrated database in a blink, a running hub on it, clients with a role."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx

from hub_kernel.auth import Role
from hub_kernel.clock import Clock, new_id
from hub_kernel.migrating import migrate
from hub_kernel.runtime import Hub, running
from hub_kernel.service import Service
from hub_kernel.settings import Settings


def dsn_for(dsn: str, database: str) -> str:
    """The same server, another database."""
    parts = urlsplit(dsn)
    return urlunsplit(parts._replace(path=f"/{database}"))


async def create_template(dsn: str, services: Sequence[Service], name: str) -> str:
    """Make a database with all migrations applied, to be copied by ``fresh_database``. Returns its name."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    await migrate(dsn_for(dsn, name), services)
    return name


@asynccontextmanager
async def fresh_database(dsn: str, template: str) -> AsyncIterator[str]:
    """A copy of the template for one test, dropped afterwards. Yields its DSN."""
    name = f"test_{new_id().hex}"
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield dsn_for(dsn, name)
        finally:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


@dataclass(frozen=True)
class RunningHub:
    """A hub under test."""

    hub: Hub
    dsn: str

    def client(self, role: Role | None, *, subject: str = "tester", **claims: Any) -> httpx.AsyncClient:
        """An HTTP client straight into the application, with a token for ``role`` (``None``: no token).

        ``claims`` are ``authority``, ``agency`` and ``system``.
        """
        headers = {}
        if role is not None:
            token = self.hub.issuer.token(role, subject=subject, **claims)
            headers["Authorization"] = f"Bearer {token}"
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.hub.app), base_url="http://hub.test", headers=headers
        )


@asynccontextmanager
async def run_hub(
    services: Sequence[Service], dsn: str, data_dir: Path, *, clock: Clock | None = None, **settings: Any
) -> AsyncIterator[RunningHub]:
    """Run services in this process against a migrated database, with keys in ``data_dir``."""
    chosen = Settings(data_dir=data_dir, **settings)
    async with running(services, chosen, dsn, clock=clock) as hub:
        yield RunningHub(hub, dsn)
