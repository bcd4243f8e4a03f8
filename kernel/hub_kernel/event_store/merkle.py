"""The Merkle tree over a log: leaf hashes, the frontier of peaks, the root (RFC 9162 section 2.1)."""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec

from hub_kernel.event_store.events import NewEvent
from hub_schemas.envelope import RecordedEvent

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_encoder = msgspec.msgpack.Encoder()

EMPTY_ROOT = hashlib.sha256(b"").digest()


def content_hash(stream_id: str, event: NewEvent) -> bytes:
    """SHA-256 over everything the writer says of an event: the MessagePack array ``[stream_id, [fields]]``.

    The fields stand in the order of ``NewEvent``; ids are text, instants the MessagePack timestamp extension,
    the open part and the ciphertext binary.
    """
    return hashlib.sha256(_encoder.encode((stream_id, event))).digest()


def content_hash_of(event: RecordedEvent) -> bytes:
    """The content hash of an event as it was read back."""
    said = (
        event.event_id,
        event.type,
        event.schema_version,
        event.occurred_at,
        event.correlation_id,
        event.causation_id,
        event.actor,
        event.traceparent,
        event.open,
        event.key_id,
        event.sealed,
    )
    return hashlib.sha256(_encoder.encode((event.stream_id, said))).digest()


def leaf_hash(content: bytes, position: int, version: int, recorded_at: datetime) -> bytes:
    """SHA-256 over 0x00, the content hash and what the log adds: position, version, recorded instant.

    The three are big-endian 64-bit integers. ``append_events.sql`` computes the same inside the append.
    """
    return hashlib.sha256(
        b"\x00"
        + content
        + position.to_bytes(8, "big")
        + version.to_bytes(8, "big")
        + micros(recorded_at).to_bytes(8, "big", signed=True)
    ).digest()


def micros(instant: datetime) -> int:
    """Whole microseconds since 1970 UTC."""
    return (instant - _EPOCH) // _MICROSECOND


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The peaks of the tree over the first ``size`` leaves, left to right: all that growing it needs."""

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self.peaks = list(peaks)

    def add(self, leaf: bytes) -> None:
        """Put one more leaf at the right end."""
        self.size += 1
        remaining, node = self.size, leaf
        while remaining % 2 == 0:
            node = _node(self.peaks.pop(), node)
            remaining //= 2
        self.peaks.append(node)

    def root(self) -> bytes:
        """The tree's root hash, 32 bytes."""
        if not self.peaks:
            return EMPTY_ROOT
        node = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            node = _node(peak, node)
        return node
