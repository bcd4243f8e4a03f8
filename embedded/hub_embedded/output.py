"""What the commands print: lines for machines on standard output, and a quiet end when nobody reads on."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import msgspec

from hub_schemas.envelope import RecordedEvent

_encoder = msgspec.json.Encoder()


class EventLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event as a line of JSON: the envelope and the open part; the sealed part in clear where opened.

    ``erased``: there was a sealed part, and its key was destroyed.
    """

    source: str
    position: int
    stream_id: str
    version: int
    event_id: str
    type: str
    schema_version: int
    occurred_at: str
    recorded_at: str
    correlation_id: str
    causation_id: str | None = None
    actor: str
    traceparent: str | None = None
    open: msgspec.Raw
    sealed: msgspec.Raw | None = None
    erased: bool = False


def event_line(event: RecordedEvent, opened: bytes | None = None, *, erased: bool = False) -> EventLine:
    """The line of an event; ``opened`` is its sealed part in clear, as JSON."""
    return EventLine(
        source=event.source,
        position=event.position,
        stream_id=event.stream_id,
        version=event.version,
        event_id=str(event.event_id),
        type=event.type,
        schema_version=event.schema_version,
        occurred_at=event.occurred_at.isoformat(),
        recorded_at=event.recorded_at.isoformat(),
        correlation_id=str(event.correlation_id),
        causation_id=str(event.causation_id) if event.causation_id else None,
        actor=event.actor,
        traceparent=event.traceparent,
        open=msgspec.Raw(event.open),
        sealed=None if opened is None else msgspec.Raw(opened),
        erased=erased,
    )


def write_json_lines(values: Iterable[object]) -> None:
    """One JSON document a line, out at once."""
    sys.stdout.buffer.write(b"".join(_encoder.encode(value) + b"\n" for value in values))
    sys.stdout.buffer.flush()


def write_json(value: object) -> None:
    """One JSON document for a machine, laid out so that a person can read it too."""
    sys.stdout.buffer.write(msgspec.json.format(_encoder.encode(value), indent=2) + b"\n")
    sys.stdout.buffer.flush()


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """End quietly, and as a success, when whoever reads standard output has seen enough (``| head``)."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered has nowhere to go; without this the interpreter complains on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
