"""Partners that read Kafka: each has a topic of its own, with its own contacts on it and nothing else."""

import asyncio
from collections.abc import Sequence
from typing import Final, Literal
from uuid import UUID

from hub_kernel.errors import Unavailable
from hub_kernel.kafka import Publisher, RecordTooLarge, SendUnknown, TopicSpec
from hub_kernel.kafka.topics import sizes
from hub_partner_gateway.adapters.partner import Contact, Failed, Lost, Refused, Sent, Taken
from hub_partner_gateway.policies.destinations import TopicDestination
from hub_partner_gateway.policies.packages import PartnerPackage
from hub_schemas.codes import Agency, Authority
from hub_schemas.envelope import SPEC_VERSION, Header
from hub_schemas.topics import partner_topic

CONTACT_TYPE: Final = "referral-hub.partner-contact.v1"
SOURCE: Final = "/partner_gateway"
RETENTION_MS: Final = 14 * 24 * 60 * 60 * 1_000
SEND_SECONDS: Final = 25.0
"""Less than a claim on the worklist holds, so that nobody else sends the same meanwhile."""


def partner_spec(authority: Authority, agency: Agency, partitions: int, replication: int) -> TopicSpec:
    """The topic of one agency's contacts. They are personal data in clear, so kept for two weeks only."""
    return TopicSpec(
        partner_topic(authority, agency),
        partitions,
        replication,
        {"retention.ms": str(RETENTION_MS), "retention.bytes": "-1", **sizes(replication)},
    )


class TopicPartner:
    """One partner's topic. It takes messages in and says nothing: the partner itself calls."""

    is_polled: Final = False
    can_be_asked: Final = False

    def __init__(
        self, package: PartnerPackage, destination: TopicDestination, publisher: Publisher, spec: TopicSpec
    ) -> None:
        self.package, self._destination = package, destination
        self._publisher, self._spec = publisher, spec

    @property
    def retry_seconds(self) -> Sequence[float]:
        """The waits after sendings that came to nothing."""
        return self._destination.retry_seconds

    def answer_seconds(self, *, transport_accepted: bool) -> Sequence[float]:
        """How long to wait for the partner's call before each looking whether it is late."""
        del transport_accepted
        return self._destination.callback_seconds

    async def send(self, contact: Contact) -> Sent:
        """Put the message on the topic, a referral's in order; taken once every in-sync replica has it."""
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._publisher.publish(
                    self._spec,
                    key=str(contact.referral_id),
                    headers=_headers(contact, self.package.content_type),
                    value=contact.body.encode(),
                )
        except (SendUnknown, TimeoutError):
            return Lost()
        except RecordTooLarge:
            return Refused("too_large")
        except Unavailable:  # the brokers are away, or the topic is not there
            return Failed("refused_connection")
        return Taken()

    async def ask(self, message_id: UUID) -> Literal["unknown"]:
        """A topic cannot be asked: what may have been lost is sent again, and the partner drops repeats."""
        del message_id
        return "unknown"


def _headers(contact: Contact, content_type: str) -> list[Header]:
    """CloudEvents 1.0 in binary mode; nothing personal stands in it."""
    attributes = {
        "ce_specversion": SPEC_VERSION,
        "ce_id": str(contact.message_id),
        "ce_source": SOURCE,
        "ce_type": CONTACT_TYPE,
        "ce_subject": str(contact.delivery_id),
        "ce_time": contact.at.isoformat(),
        "ce_partitionkey": str(contact.referral_id),
        "content-type": content_type,
    }
    return [(name, value.encode()) for name, value in attributes.items()]
