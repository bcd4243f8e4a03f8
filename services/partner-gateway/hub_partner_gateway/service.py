"""The partner gateway's contents page: what it hears, sends, serves and keeps trying."""

from hub_kernel.service import Parts, Service, ServiceContext
from hub_partner_gateway.adapters.destinations import Destinations
from hub_partner_gateway.adapters.hearing import hear_intake, hear_triage
from hub_partner_gateway.adapters.package_files import shipped_packages
from hub_partner_gateway.adapters.preparing import Preparing
from hub_partner_gateway.adapters.sender import Sender
from hub_partner_gateway.api import routes
from hub_partner_gateway.tables.deliveries import Deliveries
from hub_partner_gateway.tables.worklist import Worklist
from hub_schemas.partner_gateway import REGISTRY


def _build(context: ServiceContext) -> Parts:
    destinations = Destinations.of(context)
    packages = shipped_packages().only(destinations.names)
    by_name = {package.name: package for package in packages}
    deliveries = Deliveries(context.pool, context.store, context.keyring)
    worklist = Worklist(context.pool)
    contact_key = context.master_key.derive("partner contact ids")
    sender = Sender(
        deliveries,
        worklist,
        Preparing(deliveries, worklist, context.access_log, by_name, context.clock),
        by_name,
        destinations,
        channel=context.schema,
        contact_key=contact_key,
        clock=context.clock,
    )
    return Parts(
        routers=[routes(deliveries, worklist, packages, contact_key, context.clock)],
        consumers=[
            context.consumer("intake", hear_intake(deliveries, worklist, context.clock)),
            context.consumer("triage", hear_triage(deliveries, worklist, packages, context.clock)),
        ],
        workers={"sender": sender.run},
    )


SERVICE = Service(
    name="partner-gateway",
    schema="partner_gateway",
    registry=REGISTRY,
    migrations="hub_partner_gateway.migrations",
    build=_build,
    hears=("intake", "triage"),
)
