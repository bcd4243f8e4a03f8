"""Every topic the hub of these settings needs: services' facts, posting by bus, partners on topics."""

from hub_embedded.services import SERVICES
from hub_intake.api.by_bus.topics import inbound_spec, replies_spec
from hub_kernel.kafka import TopicSpec, facts_spec
from hub_kernel.settings import Settings
from hub_partner_gateway.adapters.package_files import shipped_packages
from hub_partner_gateway.adapters.topic_partners import partner_spec
from hub_partner_gateway.policies.destinations import Destination, TopicDestination, read_destinations


def destinations(settings: Settings) -> dict[str, Destination]:
    """The partners of the settings. Raises ``PartnersMisconfigured``."""
    return read_destinations(settings.partners.get_secret_value() if settings.partners is not None else None)


def needed_topics(settings: Settings) -> list[TopicSpec]:
    """The topics, as the hub would make them. Raises ``PartnersMisconfigured``."""
    sizes = settings.bus_partitions, settings.kafka_replication
    reached = destinations(settings)
    on_topics = [package for package in shipped_packages() if package.name in reached]
    return [
        *(facts_spec(service.schema, *sizes) for service in SERVICES),
        inbound_spec(*sizes),
        replies_spec(*sizes),
        *(
            partner_spec(package.authority, package.agency, *sizes)
            for package in on_topics
            if isinstance(reached[package.name], TopicDestination)
        ),
    ]
