"""The event store on PostgreSQL: gapless, ordered, tamper-evident, fast by group commit."""

from hub_kernel.event_store.events import (
    ANY_VERSION,
    NO_STREAM,
    AlreadyAppended,
    AlreadyAppendedAfterErasure,
    Appended,
    AppendResult,
    EventIdReused,
    Head,
    NewEvent,
    StreamAppend,
    WrongExpectedVersion,
)
from hub_kernel.event_store.store import EventStore, log_ddl

__all__ = [
    "ANY_VERSION",
    "NO_STREAM",
    "AlreadyAppended",
    "AlreadyAppendedAfterErasure",
    "AppendResult",
    "Appended",
    "EventIdReused",
    "EventStore",
    "Head",
    "NewEvent",
    "StreamAppend",
    "WrongExpectedVersion",
    "log_ddl",
]
