"""Oversight's contents page: what it hears, keeps and serves. It records no facts of its own yet."""

from typing import Final

from hub_kernel.service import Parts, Service, ServiceContext
from hub_oversight import api, pages
from hub_oversight.tables import rebuilding
from hub_oversight.tables.read_models import ReadModels
from hub_oversight.tables.reading import Readings
from hub_oversight.tables.rebuilding import Rebuilt
from hub_oversight.views.timeline import SOURCES
from hub_schemas.registry import Registry

LINGER_SECONDS: Final = 0.4
"""How much later a page may show a fact; the pages ask every two seconds."""


def _build(context: ServiceContext) -> Parts:
    models = ReadModels(lock_stripes=context.settings.bus_partitions)
    readings = Readings(context.pool)
    return Parts(
        routers=[api.routes(readings, context.clock), pages.routes(readings, context.clock)],
        consumers=[
            context.batch_consumer(source, models.hear, linger_seconds=LINGER_SECONDS) for source in SOURCES
        ],
    )


async def rebuild(context: ServiceContext, *, replace: bool = False) -> Rebuilt:
    """Rebuild every read model from the logs, say whether it equals the live one, and replace it if asked."""
    return await rebuilding.rebuild(
        context.pool, context.bus, partitions=context.settings.bus_partitions, replace=replace
    )


SERVICE = Service(
    name="oversight",
    schema="oversight",
    registry=Registry(()),
    migrations="hub_oversight.migrations",
    build=_build,
    hears=tuple(SOURCES),
)
