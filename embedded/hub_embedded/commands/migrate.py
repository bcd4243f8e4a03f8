"""``hub migrate``: bring the database up to this release."""

import uvloop

from hub_embedded.database_access import database
from hub_embedded.services import SERVICES
from hub_kernel.migrating import migrate as migrate_database
from hub_kernel.settings import Settings


def migrate() -> None:
    """Bring the database up to this release. Safe to repeat, and beside a running hub."""
    with database(Settings(), make=True) as dsn:
        uvloop.run(migrate_database(dsn, SERVICES))
