"""``hub rebuild``: read models again from the logs, compared with the live ones, and put in their place."""

from typing import Annotated, Final, Literal

import typer
import uvloop

from hub_embedded.database_access import database, pool_as
from hub_kernel.carrying import open_bus
from hub_kernel.clock import SystemClock
from hub_kernel.settings import Settings
from hub_oversight.service import SERVICE as OVERSIGHT
from hub_oversight.tables.rebuilding import Rebuilt
from hub_oversight.tables.rebuilding import rebuild as rebuild_read_models

_POOL_SIZE: Final = 4
_FOUND_WRONG: Final = 1


def rebuild(
    _service: Annotated[Literal["oversight"], typer.Argument(metavar="SERVICE", help="oversight")],
    *,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put the rebuilt in the live ones' place.")
    ] = False,
) -> None:
    """Rebuild a service's read models from the logs and compare them with the live ones.

    A running hub may go on meanwhile. Ends with 1 if they differ and were not replaced.
    """
    settings = Settings()
    with database(settings) as dsn:
        rebuilt = uvloop.run(_rebuild(settings, dsn, replace=replace))
    differing = {table: rows for table, rows in rebuilt.differing_rows.items() if rows}
    typer.echo(f"{rebuilt.events:,} events folded again; {rebuilt.left_out:,} left out, being parked.")
    for table, rows in differing.items():
        typer.echo(f"{table}: {rows:,} differing")
    typer.echo(
        "The rebuilt equal the live ones." if rebuilt.equal else "The rebuilt differ from the live ones."
    )
    if rebuilt.replaced:
        typer.echo("The rebuilt are in their place.")
    elif not rebuilt.equal:
        raise typer.Exit(_FOUND_WRONG)


async def _rebuild(settings: Settings, dsn: str, *, replace: bool) -> Rebuilt:
    async with (
        pool_as(dsn, OVERSIGHT.role, size=_POOL_SIZE) as pool,
        open_bus(settings, dsn, SystemClock()) as bus,
    ):
        return await rebuild_read_models(pool, bus, partitions=settings.bus_partitions, replace=replace)
