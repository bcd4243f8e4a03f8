"""Intake alone in a process, against the database of HUB_DATABASE_URL: ``python -m hub_intake.app``."""

import asyncio

from hub_intake.service import SERVICE
from hub_kernel.errors import Unavailable
from hub_kernel.runtime import serve
from hub_kernel.settings import Settings
from hub_kernel.telemetry import configure_logging


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = Settings()
    if settings.database_url is None:
        raise Unavailable("A service on its own needs a database. Set HUB_DATABASE_URL to its DSN.")
    configure_logging(settings.log_level)
    asyncio.run(serve([SERVICE], settings, settings.database_url.get_secret_value()))


if __name__ == "__main__":
    main()
