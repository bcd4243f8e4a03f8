"""``hub walk``: a referral's way through the services, hop by hop, as text."""

import sys
from typing import Annotated
from uuid import UUID

import typer
import uvloop

from hub_embedded.chains import chain_of
from hub_embedded.database_access import database
from hub_embedded.output import reader_may_leave
from hub_embedded.walk_text import walk_text
from hub_kernel.settings import Settings


def walk(
    referral_id: Annotated[UUID, typer.Argument(metavar="ID", help="The referral's id.")],
    *,
    plain: Annotated[
        bool, typer.Option("--plain", help="Leave out ids and instants: the same text for every run.")
    ] = False,
) -> None:
    """Print a referral's way through the services: a line for each fact, under the fact that led to it."""
    with database(Settings()) as dsn:
        events = uvloop.run(chain_of(dsn, referral_id))
    with reader_may_leave():
        sys.stdout.write(walk_text(events, plain=plain))
