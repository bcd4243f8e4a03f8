"""Opens the way to each partner the settings name, over HTTP or by topic, for as long as the sender runs."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import assert_never

from hub_kernel.kafka import Publisher
from hub_kernel.service import ServiceContext
from hub_partner_gateway.adapters.http_partners import HttpPartner, client_for, trusted_authorities
from hub_partner_gateway.adapters.partner import Partner
from hub_partner_gateway.adapters.topic_partners import TopicPartner, partner_spec
from hub_partner_gateway.policies.destinations import (
    Destination,
    HttpDestination,
    PartnersMisconfigured,
    TopicDestination,
    read_destinations,
)
from hub_partner_gateway.policies.packages import PartnerPackage


class Destinations:
    """How the partners of the settings are reached. Iterating gives their packages' names."""

    def __init__(
        self,
        by_name: Mapping[str, Destination],
        publisher: Publisher | None,
        partitions: int,
        replication: int,
    ) -> None:
        on_topics = any(isinstance(destination, TopicDestination) for destination in by_name.values())
        if on_topics and publisher is None:
            raise PartnersMisconfigured(
                "HUB_PARTNERS names partners reached by topic, and only Kafka has topics. Set HUB_BUS_URL to "
                "kafka://host:port,host:port, or give each of these partners a url and a token."
            )
        self._by_name, self._publisher = by_name, publisher
        self._partitions, self._replication = partitions, replication

    @classmethod
    def of(cls, context: ServiceContext) -> "Destinations":
        """Those of the settings. Raises ``PartnersMisconfigured``, also for topics without Kafka."""
        settings = context.settings
        setting = settings.partners
        return cls(
            read_destinations(setting.get_secret_value() if setting is not None else None),
            context.publisher,
            settings.bus_partitions,
            settings.kafka_replication,
        )

    @property
    def names(self) -> frozenset[str]:
        """The packages whose partners can be reached."""
        return frozenset(self._by_name)

    @asynccontextmanager
    async def opened(self, packages: Mapping[str, PartnerPackage]) -> AsyncIterator[dict[str, Partner]]:
        """Every one of these partners, by package name, until the block ends."""
        trusted = trusted_authorities()
        async with AsyncExitStack() as stack:
            partners: dict[str, Partner] = {}
            for name, package in packages.items():
                match self._by_name[name]:
                    case HttpDestination() as destination:
                        client = await stack.enter_async_context(client_for(destination, trusted))
                        partners[name] = HttpPartner(package, destination, client)
                    case TopicDestination() as destination:
                        partners[name] = self._on_topic(package, destination)
                    case other:
                        assert_never(other)
            yield partners

    def _on_topic(self, package: PartnerPackage, destination: TopicDestination) -> TopicPartner:
        if self._publisher is None:
            raise PartnersMisconfigured
        spec = partner_spec(package.authority, package.agency, self._partitions, self._replication)
        return TopicPartner(package, destination, self._publisher, spec)
