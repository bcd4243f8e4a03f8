"""Command handling: load a stream, decide, seal, append. One command, one stream, one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar
from uuid import UUID, uuid5

import msgspec

from hub_kernel.clock import new_id
from hub_kernel.database import Connection
from hub_kernel.decider import Decider
from hub_kernel.event_store import Appended, EventStore, NewEvent, StreamAppend, WrongExpectedVersion
from hub_kernel.event_store.reading import PAGE_EVENTS
from hub_kernel.sealing import DataKey, Keyring
from hub_kernel.telemetry import current_traceparent
from hub_schemas.envelope import RecordedEvent
from hub_schemas.facts import Fact
from hub_schemas.registry import Registry, encode_open

Command = TypeVar("Command")
State = TypeVar("State")
F = TypeVar("F", bound=Fact)

_MAX_TRIES: Final = 8
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Context:
    """Who does this, when it was true, and what led to it.

    ``correlation_id`` is the record the whole chain is about; its data key seals whatever is personal.
    """

    correlation_id: UUID
    actor: str
    occurred_at: datetime
    causation_id: UUID | None = None

    @classmethod
    def caused_by(cls, event: RecordedEvent, actor: str, occurred_at: datetime) -> "Context":
        """The context of a reaction to an event."""
        return cls(event.correlation_id, actor, occurred_at, event.event_id)


@dataclass(frozen=True, slots=True)
class Handled(Generic[State, F]):
    """What a command led to: the state after it, the facts added (none: a repeat), the version."""

    state: State
    facts: Sequence[F]
    version: int


class CommandHandler(Generic[Command, State, F]):
    """Runs the commands of one kind of aggregate against one service's store."""

    def __init__(
        self, store: EventStore, keyring: Keyring, registry: Registry, decider: Decider[Command, State, F]
    ) -> None:
        self._store, self._keyring, self._registry, self._decider = store, keyring, registry, decider

    async def handle(
        self, stream_id: str, command: Command, context: Context, *, presume_new: bool = False
    ) -> Handled[State, F]:
        """Decide and append durably; decides again when another writer was first.

        ``presume_new`` tries an empty stream first, without reading: right for commands that usually begin
        one. Raises what ``decide`` raises; ``WrongExpectedVersion`` after many lost races; ``KeyErased``.
        """
        state, version = self._decider.initial, 0
        if not presume_new:
            state, version = await self.load(stream_id)
        for _ in range(_MAX_TRIES):
            facts = self._decider.decide(command, state)
            if not facts:
                return Handled(state, facts, version)
            append = await self._append(stream_id, version, facts, context)
            try:
                await self._store.append([append])
            except WrongExpectedVersion:
                state, version = await self.load(stream_id)
            else:
                return Handled(self._decider.fold(facts, state), facts, version + len(facts))
        raise WrongExpectedVersion

    async def handle_in(
        self, connection: Connection, stream_id: str, command: Command, context: Context
    ) -> Handled[State, F]:
        """Decide and append in the caller's transaction; the log stays locked until it ends, so do it last.

        Event ids follow from the cause, so the log itself refuses a doubled reaction: with the same content
        it adds nothing, with other content it raises ``EventIdReused``. Raises ``WrongExpectedVersion`` when
        another writer was first; the caller rolls back and comes again.
        """
        state, version = await self.load(stream_id, connection)
        facts = self._decider.decide(command, state)
        if facts:
            append = await self._append(stream_id, version, facts, context)
            answer = await self._store.append_in(connection, [append])
            if not isinstance(answer, Appended):
                return Handled(state, (), version)
        return Handled(self._decider.fold(facts, state), facts, version + len(facts))

    async def load(self, stream_id: str, connection: Connection | None = None) -> tuple[State, int]:
        """Fold a stream from its beginning: its state and version. Sealed parts stay closed."""
        if connection is None:
            async with self._store.pool.acquire() as own:
                return await self.load(stream_id, own)
        state, version = self._decider.initial, 0
        while page := await self._store.read.stream(connection, stream_id, version):
            state = self._decider.fold((self._decode(event) for event in page), state)
            version = page[-1].version
            if len(page) < PAGE_EVENTS:
                break
        return state, version

    def _decode(self, event: RecordedEvent) -> Any:
        return self._registry.decode(event.type, event.schema_version, event.open)

    async def _append(
        self, stream_id: str, version: int, facts: Sequence[F], context: Context
    ) -> StreamAppend:
        sealed = any(getattr(fact, "sealed", msgspec.UNSET) is not msgspec.UNSET for fact in facts)
        key = await self._keyring.key_for(context.correlation_id) if sealed else None
        traceparent = current_traceparent()
        events = [
            new_event(fact, _event_id(context, stream_id, n), context, key, traceparent)
            for n, fact in enumerate(facts, 1)
        ]
        return StreamAppend(stream_id, version, events)


def new_event(
    fact: Fact, event_id: UUID, context: Context, key: DataKey | None, traceparent: str | None
) -> NewEvent:
    """Write a fact as an event to append: the open part in clear, the sealed part under ``key``."""
    type_name = type(fact).__name__
    sealed_part = getattr(fact, "sealed", msgspec.UNSET)
    sealed = None
    if sealed_part is not msgspec.UNSET and key is not None:
        sealed = key.seal(event_id, type_name, _encoder.encode(sealed_part))
    return NewEvent(
        event_id=event_id,
        type=type_name,
        schema_version=fact.schema_version,
        occurred_at=context.occurred_at,
        correlation_id=context.correlation_id,
        causation_id=context.causation_id,
        actor=context.actor,
        traceparent=traceparent,
        open=encode_open(fact),
        key_id=key.key_id if key is not None and sealed is not None else None,
        sealed=sealed,
    )


def _event_id(context: Context, stream_id: str, ordinal: int) -> UUID:
    """A reaction's ids follow from its cause alone, whatever the stream's version is when it is handled."""
    if context.causation_id is None:
        return new_id()
    return uuid5(context.causation_id, f"{stream_id}:{ordinal}")
