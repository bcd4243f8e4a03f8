"""One service, or a few, as a process of their own: what every service's ``app`` calls."""

import sys
from typing import ClassVar

import uvloop

from hub_kernel.errors import HubError, Unavailable
from hub_kernel.runtime import serve
from hub_kernel.service import Service
from hub_kernel.settings import Settings
from hub_kernel.telemetry import configure_logging


class NoDatabase(Unavailable):
    """A service on its own needs a migrated database. Set HUB_DATABASE_URL and run `hub migrate` first."""

    slug: ClassVar[str] = "no-database"


def run(*services: Service) -> None:
    """Serve until SIGTERM or SIGINT; a fault of the set-up ends the process with one line of advice."""
    settings = Settings()
    configure_logging(settings.log_level)
    try:
        if settings.database_url is None:
            raise NoDatabase
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        uvloop.run(serve(services, settings, settings.database_url.get_secret_value()))
    except HubError as error:
        sys.exit(error.detail)
