"""Two tiny services for tests of the kernel: a ledger that records entries, and a reader that hears them."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid5

import msgspec

from hub_kernel.event_store import ANY_VERSION, NewEvent, StreamAppend
from hub_kernel.service import Parts, Service, ServiceContext
from hub_schemas.facts import Fact, Sealed
from hub_schemas.registry import Registry, encode_open

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
NAMESPACE = UUID("00000000-0000-7000-8000-000000000000")
RECORD = UUID("00000000-0000-7000-8000-00000000000a")


class Remark(Sealed, frozen=True, kw_only=True):
    """What must not be read without a trace."""

    text: str


class EntryMade(Fact, frozen=True, kw_only=True):
    """An amount was written down."""

    amount: int
    sealed: Remark | msgspec.UnsetType = msgspec.UNSET


REGISTRY = Registry((EntryMade,))


def nothing(_context: ServiceContext) -> Parts:
    """A service without routes or consumers."""
    return Parts()


LEDGER = Service("ledger", "ledger", REGISTRY, "tests.component.ledger_service.ledger_migrations", nothing)
READER = replace(
    LEDGER, name="reader", schema="reader", migrations="tests.component.ledger_service.reader_migrations"
)


def entry(name: str, *, amount: int = 1, correlation_id: UUID = RECORD, actor: str = "tester") -> NewEvent:
    """An event to append; the same name gives the same event id."""
    return NewEvent(
        event_id=uuid5(NAMESPACE, name),
        type="EntryMade",
        schema_version=1,
        occurred_at=NOON,
        correlation_id=correlation_id,
        causation_id=None,
        actor=actor,
        traceparent=None,
        open=encode_open(EntryMade(amount=amount)),
    )


def to(stream_id: str, *names: str, expecting: int = ANY_VERSION, amount: int = 1) -> StreamAppend:
    """Entries for one stream, all of the record that the stream's id stands for."""
    correlation_id = uuid5(NAMESPACE, stream_id)
    events = [entry(name, amount=amount, correlation_id=correlation_id) for name in names]
    return StreamAppend(stream_id, expecting, events)
