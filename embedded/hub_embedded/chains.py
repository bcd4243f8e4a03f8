"""Everything the four services recorded about one referral, and what it comes to."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final
from uuid import UUID

from hub_embedded.database_access import pool_as
from hub_embedded.services import SERVICES
from hub_intake.domain import DECIDER as REFERRAL
from hub_kernel.errors import NotFound, Unavailable
from hub_kernel.event_store.reading import PAGE_EVENTS, Reader
from hub_kernel.roles import BUS_ROLE
from hub_partner_gateway.domain import DECIDER as DELIVERY
from hub_schemas import intake, partner_gateway, triage
from hub_schemas.envelope import RecordedEvent
from hub_schemas.registry import Registry, UnknownFact
from hub_triage.domain.state import evolve as evolve_assessment

_ORDER: Final = {service.schema: index for index, service in enumerate(SERVICES)}


class ReferralUnknown(NotFound):
    """No service has recorded anything about a referral with this id. Check the id; `hub log` shows them."""

    slug: ClassVar[str] = "referral-unknown"


class NotKnownYet(NotFound):
    """Nothing was known of this referral at that instant. Ask for a later one."""

    slug: ClassVar[str] = "not-known-yet"


class RecordedByLaterRelease(Unavailable):
    """A fact here is of a later release than this command. Use the release that recorded it."""

    slug: ClassVar[str] = "recorded-by-later-release"


@dataclass(frozen=True, slots=True)
class Fold:
    """How one kind of stream is read and folded."""

    registry: Registry
    initial: Any
    evolve: Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One stream, folded: its version and state after the events given."""

    stream_id: str
    version: int
    state: Any


FOLDS: Final[Mapping[str, Fold]] = {
    "referral": Fold(intake.REGISTRY, REFERRAL.initial, REFERRAL.evolve),
    "assessment": Fold(triage.REGISTRY, None, evolve_assessment),
    "delivery": Fold(partner_gateway.REGISTRY, DELIVERY.initial, DELIVERY.evolve),
}
"""By stream category; the kinds that follow a referral."""


async def chain_of(dsn: str, referral_id: UUID) -> list[RecordedEvent]:
    """The events of all services about one referral, by the instant recorded, then service, then position.

    Raises ``ReferralUnknown``.
    """
    events: list[RecordedEvent] = []
    async with pool_as(dsn, BUS_ROLE) as pool, pool.acquire() as connection:
        for service in SERVICES:
            reader, after = Reader(service.schema), 0
            while page := await reader.correlated(connection, referral_id, after):
                events += page
                after = page[-1].position
                if len(page) < PAGE_EVENTS:
                    break
    if not events:
        raise ReferralUnknown
    return sorted(events, key=lambda event: (event.recorded_at, _ORDER[event.source], event.position))


def as_of(events: Sequence[RecordedEvent], instant: datetime) -> list[RecordedEvent]:
    """Those recorded by then. Raises ``NotKnownYet`` when that is none."""
    known = [event for event in events if event.recorded_at <= instant]
    if not known:
        raise NotKnownYet
    return known


def fold_streams(events: Iterable[RecordedEvent]) -> list[Aggregate]:
    """The state of every stream that has a fold, from these events alone, in order of first appearance.

    Raises ``RecordedByLaterRelease``.
    """
    folded: dict[str, Aggregate] = {}
    for event in events:
        fold = FOLDS.get(event.stream_id.partition("-")[0])
        if fold is None:
            continue
        before = folded.get(event.stream_id)
        try:
            fact = fold.registry.decode(event.type, event.schema_version, event.open)
        except UnknownFact as error:
            raise RecordedByLaterRelease from error
        state = fold.evolve(before.state if before else fold.initial, fact)
        folded[event.stream_id] = Aggregate(event.stream_id, event.version, state)
    return list(folded.values())
