"""``hub sign-in``: a fresh one-time link into the hub's pages."""

from typing import ClassVar

import typer

from hub_embedded.keys import own_issuer
from hub_embedded.launch import URL_FILE
from hub_kernel.errors import Unavailable
from hub_kernel.settings import Settings
from hub_kernel.sign_in import SignIn


class AddressUnknown(Unavailable):
    """No hub runs on this data directory, so its address is not known. Start one with `hub run`."""

    slug: ClassVar[str] = "address-unknown"


def sign_in() -> None:
    """Print a link that signs one browser in as operator, once, within ten minutes."""
    settings = Settings()
    links = SignIn(own_issuer(settings), settings.data_dir / "sign-in-used", settings.audience)
    typer.echo(links.link(_base_url(settings)))


def _base_url(settings: Settings) -> str:
    """Where the running hub says it is; failing that, where the settings would put it."""
    url_file = settings.data_dir / URL_FILE
    if url_file.exists():
        return url_file.read_text().strip()
    if settings.port == 0:
        raise AddressUnknown
    return f"http://{settings.host}:{settings.port}"
