"""Intake's contents page: what it takes in, what it records, what it serves."""

from hub_intake.api.by_bus.hearing import Inbound
from hub_intake.api.by_bus.taking import Taking
from hub_intake.api.identity import Identity
from hub_intake.api.reading import Reading
from hub_intake.api.receiving import Receiving
from hub_intake.api.routes import routes
from hub_intake.domain import DECIDER
from hub_kernel.handling import CommandHandler
from hub_kernel.service import Parts, Service, ServiceContext, Worker
from hub_schemas.intake import REGISTRY


def build(context: ServiceContext) -> Parts:
    """Put intake together. It hears no other service; on Kafka, records systems may post by bus too."""
    handler = CommandHandler(context.store, context.keyring, REGISTRY, DECIDER)
    receiving = Receiving(handler, Identity(context.master_key), context.clock)
    workers: dict[str, Worker] = {}
    if context.kafka is not None and context.publisher is not None:
        taking = Taking(receiving, context.verifier, context.settings.max_body_bytes)
        workers["inbound"] = Inbound(context, context.kafka, context.publisher, taking).run
    return Parts(routers=[routes(receiving, Reading(context))], workers=workers)


SERVICE = Service(
    name="intake", schema="intake", registry=REGISTRY, migrations="hub_intake.migrations", build=build
)
