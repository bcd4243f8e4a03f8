"""What may be shown of parked events: streams, groups, chains; envelopes and open parts, nothing sealed."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import asyncpg
import msgspec

from hub_kernel.errors import Malformed
from hub_schemas.envelope import CONTENT_TYPE, RecordedEvent, from_cloudevent


class CursorUnusable(Malformed):
    """This cursor is not one the list gave. Begin again without it."""

    slug: ClassVar[str] = "cursor-unusable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which parked streams are meant: all that agree with whatever is named."""

    source: str | None = None
    reason: str | None = None
    stream_id: str | None = None


@dataclass(frozen=True, slots=True)
class ParkedStream:
    """A stream that waits. The event at the head of its chain says why; ``events`` counts the whole chain.

    ``next_try_at`` is when it is tried by itself, ``None`` when that takes a person; in the past: due.
    """

    consumer: str
    source: str
    stream_id: str
    version: int
    reason: str
    attempts: int
    parked_at: datetime
    next_try_at: datetime | None
    events: int


@dataclass(frozen=True, slots=True)
class ParkedStreams:
    """Parked streams, that parked longest first. ``next_cursor`` asks for those after them, if any."""

    streams: list[ParkedStream]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class ParkedGroup:
    """Streams of one consumer and source whose chains are held up for the same reason.

    ``retries_itself`` counts those that will be tried again without anybody asking, or were asked for.
    """

    consumer: str
    source: str
    reason: str
    streams: int
    events: int
    retries_itself: int
    oldest_parked_at: datetime


@dataclass(frozen=True, slots=True)
class OpenEvent:
    """The envelope and open part of an event. ``has_sealed``: there is more, which is not shown here."""

    event_id: UUID
    type: str
    schema_version: int
    occurred_at: datetime
    recorded_at: datetime
    correlation_id: UUID
    causation_id: UUID | None
    actor: str
    open: Any
    has_sealed: bool


@dataclass(frozen=True, slots=True)
class ParkedLink:
    """One event of a chain. ``event`` is ``None`` when the message is none that can be shown safely."""

    consumer: str
    version: int
    reason: str
    attempts: int
    parked_at: datetime
    next_try_at: datetime | None
    partition: int
    offset: int
    size_bytes: int
    event: OpenEvent | None


@dataclass(frozen=True, slots=True)
class ParkedChain:
    """A stream's parked events in the order they will be applied. ``next_after`` asks for more, if any."""

    source: str
    stream_id: str
    links: list[ParkedLink]
    next_after: int | None


def link_of(row: asyncpg.Record) -> ParkedLink:
    """One row of a chain, as it may be shown."""
    event = _event(row)
    return ParkedLink(
        row["consumer"],
        row["version"],
        row["reason"],
        row["attempts"],
        row["parked_at"],
        row["next_try_at"],
        row["partition"],
        row["position"],
        len(row["value"]),
        None if event is None else _open(event),
    )


def _event(row: asyncpg.Record) -> RecordedEvent | None:
    """The event in a parked message; ``None`` for what is no fact of ours: all of it might be personal."""
    headers = tuple(zip(row["header_names"], row["header_values"], strict=True))
    if row["reason"] == "unreadable" or ("content-type", CONTENT_TYPE.encode()) not in headers:
        return None
    try:
        return from_cloudevent(headers, row["value"])
    except ValueError:
        return None


def _open(event: RecordedEvent) -> OpenEvent:
    return OpenEvent(
        event.event_id,
        event.type,
        event.schema_version,
        event.occurred_at,
        event.recorded_at,
        event.correlation_id,
        event.causation_id,
        event.actor,
        msgspec.json.decode(event.open),
        event.sealed is not None,
    )


def record_of(rows: Sequence[asyncpg.Record]) -> UUID | None:
    """The record these events are about, if one can be read."""
    return next((event.correlation_id for row in rows if (event := _event(row)) is not None), None)


def cursor_after(last: ParkedStream) -> str:
    """The cursor of what comes after this stream."""
    place = (last.parked_at, last.consumer, last.source, last.stream_id)
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[datetime, str, str, str]:
    """Where a cursor points. Raises ``CursorUnusable``."""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        place = msgspec.json.decode(raw, type=tuple[datetime, str, str, str])
    except ValueError as error:
        raise CursorUnusable from error
    if place[0].tzinfo is None or any("\x00" in text for text in place[1:]):
        raise CursorUnusable
    return place
