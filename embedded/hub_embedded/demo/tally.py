"""The demo's own count of what happened, folded from the three logs; it shares no code with the services."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from uuid import UUID

import asyncpg

from hub_kernel.event_store.reading import Reader
from hub_schemas import intake, partner_gateway, triage
from hub_schemas.facts import Fact
from hub_schemas.registry import Registry
from hub_schemas.triage import Recipient

SOURCES: Final[Mapping[str, Registry]] = {
    "intake": intake.REGISTRY,
    "triage": triage.REGISTRY,
    "partner_gateway": partner_gateway.REGISTRY,
}
_NOBODY: Final = UUID(int=0)
Ending = Literal["acknowledged", "rejected", "cancelled", "unroutable"]


@dataclass
class DeliveryTally:
    """One delivery as the log tells it."""

    referral_id: UUID
    to: Recipient
    message_id: UUID
    body_hash: str | None = None
    acknowledgements: int = 0
    is_taken_in: bool = False
    ending: Ending | None = None


@dataclass
class Tally:
    """Counts over the logs up to ``positions``."""

    positions: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SOURCES, 0))
    events: Counter[str] = field(default_factory=Counter)
    received: Counter[UUID] = field(default_factory=Counter)
    graded: Counter[UUID] = field(default_factory=Counter)
    decided: set[UUID] = field(default_factory=set)
    withdrawn: set[UUID] = field(default_factory=set)
    wanted: set[tuple[UUID, Recipient]] = field(default_factory=set)
    planned: Counter[tuple[UUID, Recipient]] = field(default_factory=Counter)
    deliveries: dict[UUID, DeliveryTally] = field(default_factory=dict)
    breached: int = 0

    @property
    def open_deliveries(self) -> int:
        """Deliveries asked for or planned that have not ended."""
        unplanned = sum(
            1 for pair in self.wanted if pair not in self.planned and pair[0] not in self.withdrawn
        )
        return unplanned + sum(delivery.ending is None for delivery in self.deliveries.values())

    @property
    def waiting(self) -> int:
        """Referrals received and not decided yet."""
        return sum(1 for referral_id in self.received if referral_id not in self.decided)

    def ended(self, *endings: Ending) -> int:
        """How many deliveries have ended so."""
        return sum(delivery.ending in endings for delivery in self.deliveries.values())

    @property
    def taken_in(self) -> int:
        """How many deliveries a partner's system has taken in."""
        return sum(delivery.is_taken_in for delivery in self.deliveries.values())


async def follow(connection: asyncpg.Connection, tally: Tally) -> None:
    """Read on in every log to its present end."""
    for source, registry in SOURCES.items():
        async for page in Reader(source).pages(connection, tally.positions[source]):
            for event in page:
                fact = registry.decode(event.type, event.schema_version, event.open)
                note(tally, source, event.position, fact)


def note(tally: Tally, source: str, position: int, fact: Fact) -> None:
    """Fold the next fact of one log."""
    tally.positions[source] = position
    tally.events[source] += 1
    match fact:
        case intake.ReferralReceived():
            tally.received[fact.referral_id] += 1
        case intake.ReferralWithdrawn():
            tally.withdrawn.add(fact.referral_id)
        case triage.RiskGraded(trigger="received"):
            tally.graded[fact.referral_id] += 1
        case triage.NotShared() | triage.AssessmentClosed():
            tally.decided.add(fact.referral_id)
        case triage.ShareDecided():
            tally.decided.add(fact.referral_id)
            tally.wanted.update((fact.referral_id, recipient) for recipient in fact.recipients)
        case triage.ClockBreached():
            tally.breached += 1
        case partner_gateway.DeliveryPlanned():
            _plan(tally, fact)
        case _:
            delivery = tally.deliveries.get(getattr(fact, "delivery_id", _NOBODY))
            if delivery is not None:
                _deliver(delivery, fact)


def _plan(tally: Tally, fact: partner_gateway.DeliveryPlanned) -> None:
    to = Recipient(subject_id=fact.subject_id, authority=fact.authority, agency=fact.agency)
    tally.planned[fact.referral_id, to] += 1
    ending: Ending | None = "unroutable" if fact.package is None else None
    tally.deliveries[fact.delivery_id] = DeliveryTally(fact.referral_id, to, fact.message_id, ending=ending)


def _deliver(delivery: DeliveryTally, fact: Fact) -> None:
    match fact:
        case partner_gateway.Rendered():
            delivery.body_hash = fact.body_hash
        case partner_gateway.TransportAccepted():
            delivery.is_taken_in = True
        case partner_gateway.Acknowledged():
            delivery.is_taken_in = True
            delivery.acknowledgements += 1
            delivery.ending = delivery.ending or "acknowledged"
        case partner_gateway.Rejected():
            delivery.ending = delivery.ending or "rejected"
        case partner_gateway.HumanFallbackRaised(reason="cannot_render"):
            delivery.ending = delivery.ending or "unroutable"
        case partner_gateway.Cancelled():
            delivery.ending = "cancelled"
        case _:
            pass
