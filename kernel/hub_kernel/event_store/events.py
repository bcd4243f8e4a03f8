"""What goes into an event log and what comes back from an append."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final
from uuid import UUID

import msgspec

from hub_kernel.errors import Conflict

ANY_VERSION: Final = -1
"""Append whatever the stream's version is."""
NO_STREAM: Final = 0
"""Append only if the stream has no events."""


class NewEvent(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One event to append, in the bytes that will be stored. ``sealed`` is ciphertext under ``key_id``.

    The order of the fields is part of the content hash and must never change.
    """

    event_id: UUID
    type: str
    schema_version: int
    occurred_at: datetime
    correlation_id: UUID
    causation_id: UUID | None
    actor: str
    traceparent: str | None
    open: bytes
    key_id: UUID | None = None
    sealed: bytes | None = None


@dataclass(frozen=True, slots=True)
class StreamAppend:
    """Events for one stream, in order, on condition of its version before them.

    ``key_erased`` marks a repeat whose data key is gone: its sealed parts cannot be made again, so it is only
    compared by its open parts and never written.
    """

    stream_id: str
    expected_version: int
    events: Sequence[NewEvent]
    key_erased: bool = False


@dataclass(frozen=True, slots=True)
class Appended:
    """Written now. ``positions`` and ``versions`` follow the events in the order given."""

    positions: tuple[int, ...]
    versions: tuple[int, ...]
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class AlreadyAppended:
    """The same events (same ids, same content) were already there; nothing was written."""

    positions: tuple[int, ...]
    versions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AlreadyAppendedAfterErasure:
    """The same event ids were there, their data key erased since; nothing was written."""

    positions: tuple[int, ...]
    versions: tuple[int, ...]


AppendResult = Appended | AlreadyAppended | AlreadyAppendedAfterErasure


@dataclass(frozen=True, slots=True)
class Head:
    """Where a log ends: its last position, when that was recorded, and the root over all of it."""

    position: int
    recorded_at: datetime | None
    root: bytes


class WrongExpectedVersion(Conflict):
    """Another writer was first. Read the stream again and decide on what it says now."""

    slug: ClassVar[str] = "wrong-expected-version"


class EventIdReused(Conflict):
    """This event id is already in the log with other content. Send the same content, or use a new id."""

    slug: ClassVar[str] = "event-id-reused"
