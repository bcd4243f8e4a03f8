"""One service, or a few, as a process of their own: what every service's ``app`` calls."""

import asyncio
import sys
from collections.abc import Sequence
from typing import ClassVar

import uvloop

from hub_kernel.errors import HubError, Unavailable
from hub_kernel.runtime import Hub, serve
from hub_kernel.service import Service
from hub_kernel.settings import Settings
from hub_kernel.signals import INTERRUPTED, cancelled_by_signals
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
        uvloop.run(_serve(services, settings, settings.database_url.get_secret_value()))
    except HubError as error:
        sys.exit(error.detail)
    except asyncio.CancelledError:
        sys.exit(INTERRUPTED)


async def _serve(services: Sequence[Service], settings: Settings, dsn: str) -> None:
    """Serve; the server hears the signals once it listens, and what it took it hands on when it has ended."""
    is_listening = asyncio.Event()

    async def started(_hub: Hub, _base_url: str) -> None:
        is_listening.set()

    with cancelled_by_signals(is_listening.is_set):
        await serve(services, settings, dsn, started=started)
