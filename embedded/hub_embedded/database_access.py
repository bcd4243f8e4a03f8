"""The database as the command line tools reach it: the configured one, or the data directory's own server."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import ClassVar

import asyncpg

from hub_embedded.data_dir import DataDir
from hub_embedded.postgres import EmbeddedPostgres
from hub_kernel.database import open_pool
from hub_kernel.errors import NotFound, Unavailable
from hub_kernel.settings import Settings

_CLUSTERS = ("postgres", "postgres.elsewhere")


class NoHubHere(NotFound):
    """The data directory holds no hub. Set HUB_DATA_DIR to the hub's own, or start one with `hub run`."""

    slug: ClassVar[str] = "no-hub-here"


class DatabaseUnreachable(Unavailable):
    """The database does not answer. See that it runs and that HUB_DATABASE_URL is right, then try again."""

    slug: ClassVar[str] = "database-unreachable"


class NotMigrated(Unavailable):
    """The database does not hold this release's tables. Run `hub migrate`, then try again."""

    slug: ClassVar[str] = "not-migrated"


@contextmanager
def database(settings: Settings, *, make: bool = False) -> Iterator[str]:
    """The DSN of the hub's database while the block runs, beside a running hub or without one.

    Without HUB_DATABASE_URL the data directory's server is used if it runs, and otherwise started and
    stopped again. Raises ``NoHubHere`` when there is none, unless it may ``make`` one, and
    ``PostgresDidNotStart``.
    """
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    path = settings.data_dir.expanduser().resolve()
    if not make and not any((path / cluster).exists() for cluster in _CLUSTERS):
        raise NoHubHere(
            f"There is no hub in {path}. Set HUB_DATA_DIR to the hub's data directory, or HUB_DATABASE_URL "
            "to its database, or start a hub with `hub run`."
        )
    with EmbeddedPostgres(DataDir.at(path)) as postgres:
        yield postgres.dsn()


@asynccontextmanager
async def pool_as(dsn: str, role: str, *, size: int = 1) -> AsyncIterator[asyncpg.Pool]:
    """Connections under one role while the block runs. Raises ``DatabaseUnreachable`` or ``NotMigrated``."""
    try:
        pool = await open_pool(dsn, role=role, size=size)
    except asyncpg.InvalidParameterValueError as error:  # there is no such role
        raise NotMigrated from error
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.ClientConfigurationError) as error:
        raise DatabaseUnreachable from error
    try:
        yield pool
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError) as error:
        raise NotMigrated from error
    except (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError) as error:
        raise DatabaseUnreachable from error
    finally:
        pool.terminate()
