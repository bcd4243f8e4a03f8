"""Intake's contents page: what it takes in, what it records, what it serves."""

from hub_intake.api.identity import Identity
from hub_intake.api.reading import Reading
from hub_intake.api.receiving import Receiving
from hub_intake.api.routes import routes
from hub_intake.domain import DECIDER
from hub_kernel.handling import CommandHandler
from hub_kernel.service import Parts, Service, ServiceContext
from hub_schemas.intake import REGISTRY


def build(context: ServiceContext) -> Parts:
    """Put intake together. It hears no other service: everything comes in over HTTP."""
    handler = CommandHandler(context.store, context.keyring, REGISTRY, DECIDER)
    receiving = Receiving(handler, Identity(context.master_key), context.clock)
    return Parts(routers=[routes(receiving, Reading(context))])


SERVICE = Service(
    name="intake", schema="intake", registry=REGISTRY, migrations="hub_intake.migrations", build=build
)
