"""Deliveries in the log: read many at once, decided in memory, appended together."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast
from uuid import UUID, uuid5

import asyncpg
import msgspec

from hub_kernel.clock import new_id
from hub_kernel.database import Connection
from hub_kernel.event_store import EventStore, StreamAppend
from hub_kernel.handling import CommandHandler, Context, new_event
from hub_kernel.sealing import Keyring
from hub_kernel.telemetry import current_traceparent
from hub_partner_gateway.commands import DeliveryCommand
from hub_partner_gateway.domain import DECIDER
from hub_partner_gateway.domain.errors import DeliveryUnknown
from hub_partner_gateway.domain.state import Delivery
from hub_schemas.envelope import RecordedEvent
from hub_schemas.partner_gateway import REGISTRY, GatewayFact

ACTOR: Final = "partner-gateway"
_COLUMNS: Final = """position, stream_id, version, event_id, type, schema_version, occurred_at, recorded_at,
    correlation_id, causation_id, actor, traceparent, open, key_id, sealed"""


@dataclass(slots=True)
class Course:
    """One delivery in hand: what it has come to, and the facts decided but not yet appended.

    ``written`` is the event that holds the bytes to send, sealed; ``None`` before there are any.
    """

    delivery_id: UUID
    state: Delivery | None = None
    version: int = 0
    written: RecordedEvent | None = None
    facts: list[GatewayFact] = field(default_factory=list)

    def take(self, command: DeliveryCommand) -> None:
        """Decide, and go on from there. Raises what the domain refuses."""
        facts = DECIDER.decide(command, self.state)
        self.state = DECIDER.fold(facts, self.state)
        self.facts += facts

    @property
    def delivery(self) -> Delivery:
        """The state of a delivery that has been planned. Raises ``DeliveryUnknown``."""
        if self.state is None:
            raise DeliveryUnknown
        return self.state


def stream_of(delivery_id: UUID) -> str:
    """The stream of one delivery."""
    return f"delivery-{delivery_id}"


class Deliveries:
    """The deliveries of this service, as its log has them."""

    def __init__(self, pool: asyncpg.Pool, store: EventStore, keyring: Keyring) -> None:
        self.pool, self._store, self._keyring = pool, store, keyring
        self._commands: CommandHandler[DeliveryCommand, Delivery | None, GatewayFact] = CommandHandler(
            store, keyring, REGISTRY, DECIDER
        )

    async def decide(
        self, delivery_id: UUID, referral_id: UUID, command: DeliveryCommand, actor: str = ACTOR
    ) -> Delivery:
        """Decide and append, together with whatever else this process appends; the state after it.

        Raises what the domain refuses.
        """
        context = Context(referral_id, actor, command.at)
        handled = await self._commands.handle(stream_of(delivery_id), command, context)
        if handled.state is None:
            raise DeliveryUnknown
        return handled.state

    async def state(self, delivery_id: UUID) -> Delivery:
        """What a delivery has come to. Raises ``DeliveryUnknown``."""
        state, _ = await self._commands.load(stream_of(delivery_id))
        if state is None:
            raise DeliveryUnknown
        return state

    async def load(self, connection: Connection, delivery_ids: Iterable[UUID]) -> list[Course]:
        """These deliveries as they stand, in the order asked for; one that is not planned yet is empty."""
        courses = {stream_of(delivery_id): Course(delivery_id) for delivery_id in delivery_ids}
        rows = await connection.fetch(
            f"""SELECT {_COLUMNS} FROM partner_gateway.events
                 WHERE stream_id = ANY ($1) ORDER BY stream_id, version""",  # noqa: S608  constants only
            list(courses),
        )
        for row in rows:
            event = RecordedEvent(source="partner_gateway", **row)
            course = courses[event.stream_id]
            course.state = DECIDER.fold([_decode(event)], course.state)
            course.version = event.version
            if event.type == "Rendered":
                course.written = event
        return list(courses.values())

    async def append_in(
        self,
        connection: Connection,
        courses: Sequence[Course],
        contexts: Mapping[UUID, Context],
    ) -> None:
        """Append what was decided, all or none, in the caller's transaction; the log stays locked until then.

        ``contexts`` are by delivery. Raises ``WrongExpectedVersion`` when another writer was first, and
        ``KeyErased``.
        """
        moved = [course for course in courses if course.facts]
        sealing = {contexts[c.delivery_id].correlation_id for c in moved if any(map(_is_sealed, c.facts))}
        keys = dict(zip(sealing, await asyncio.gather(*(map(self._keyring.key_for, sealing))), strict=True))
        traceparent = current_traceparent()
        appends = []
        for course in moved:
            context, stream_id = contexts[course.delivery_id], stream_of(course.delivery_id)
            key = keys.get(context.correlation_id)
            events = [
                new_event(
                    fact, _event_id(context, f"{stream_id}:{course.version + n}"), context, key, traceparent
                )
                for n, fact in enumerate(course.facts, 1)
            ]
            appends.append(StreamAppend(stream_id, course.version, events))
        if appends:
            await self._store.append_in(connection, appends)

    async def facts_of(self, referral_id: UUID) -> list[list[GatewayFact]]:
        """The facts of each delivery of a referral, in the order the deliveries were planned."""
        async with self.pool.acquire() as connection:
            events: list[RecordedEvent] = []
            while page := await self._store.read.correlated(
                connection, referral_id, events[-1].position if events else 0
            ):
                events += page
        streams: dict[str, list[GatewayFact]] = {}
        for event in events:
            streams.setdefault(event.stream_id, []).append(_decode(event))
        return list(streams.values())

    async def facts_of_one(self, delivery_id: UUID) -> list[GatewayFact]:
        """The facts of one delivery; none when it is unknown."""
        async with self.pool.acquire() as connection:
            return [_decode(e) for e in await self._store.read.stream(connection, stream_of(delivery_id))]


def _is_sealed(fact: GatewayFact) -> bool:
    return getattr(fact, "sealed", msgspec.UNSET) is not msgspec.UNSET


def _event_id(context: Context, name: str) -> UUID:
    """Follows from the cause where there is one, so that the log itself refuses a doubled reaction."""
    return new_id() if context.causation_id is None else uuid5(context.causation_id, name)


def _decode(event: RecordedEvent) -> GatewayFact:
    return cast("GatewayFact", REGISTRY.decode(event.type, event.schema_version, event.open))
