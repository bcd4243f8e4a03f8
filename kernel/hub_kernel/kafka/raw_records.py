"""Reading the records aiokafka cannot: one whose header has a name that is not UTF-8 stops it for ever.

Brokers keep such a name as it was sent, so whoever may write to a topic could block a partition of it. Here
the same bytes are fetched and taken apart once more (Kafka's record batch, version 2), and names are made
readable by replacing what is not text.
"""

import gzip
import struct
from collections.abc import Iterator
from typing import Final

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.structs import ConsumerRecord, TopicPartition

_BATCH: Final = struct.Struct(">qiibIhiqqqhii")
"""Base offset, length, leader epoch, magic, CRC, attributes, last offset delta, first and latest timestamp,
producer id and epoch, base sequence, count of records."""
_OUTSIDE_LENGTH: Final = struct.calcsize(">qi")
_MAGIC: Final = 2
_CODEC, _APPEND_TIME, _CONTROL = 0x07, 0x08, 0x20
_NONE, _GZIP = 0, 1
_WAIT_MS: Final = 500
_READ_UNCOMMITTED: Final = 0
_VARINT_BITS: Final = 70


async def fetch_raw(
    client: AIOKafkaClient, tp: TopicPartition, at: int, *, limit: int, max_bytes: int
) -> list[ConsumerRecord]:
    """At most ``limit`` records of a partition from an offset on. Raises ``KafkaError``."""
    await client.set_topics([tp.topic])
    leader = client.cluster.leader_for_partition(tp)
    asked = [(tp.topic, [(tp.partition, at, max_bytes)])]
    answer = await client.send(leader, FetchRequest(_WAIT_MS, 1, max_bytes, _READ_UNCOMMITTED, asked))
    [(_topic, [(_partition, code, *_, batches)])] = answer.topics
    if code:
        raise for_code(code)
    found: list[ConsumerRecord] = []
    for record in records_of(batches, tp):
        if record.offset >= at:
            found.append(record)
        if len(found) == limit:
            break
    return found


def records_of(batches: bytes, tp: TopicPartition) -> Iterator[ConsumerRecord]:
    """The records in the whole batches of a fetch; the last batch of one may be cut off, and is left.

    Raises ``CorruptRecordException``, ``UnsupportedCodecError``.
    """
    start = 0
    while start + _BATCH.size <= len(batches):
        base, length, _epoch, magic, _crc, attributes, *_, count = _BATCH.unpack_from(batches, start)
        end = start + _OUTSIDE_LENGTH + length
        if magic != _MAGIC or end <= start:
            raise CorruptRecordException
        if end > len(batches):
            return
        if not attributes & _CONTROL:
            first, latest = struct.unpack_from(">qq", batches, start + struct.calcsize(">qiibIhi"))
            stamp = latest if attributes & _APPEND_TIME else None
            reader = _Reader(_unpacked(batches[start + _BATCH.size : end], attributes & _CODEC))
            for _ in range(count):
                yield reader.record(tp, base, first, stamp)
        start = end


def _unpacked(data: bytes, codec: int) -> bytes:
    if codec == _NONE:
        return data
    if codec == _GZIP:
        return gzip.decompress(data)
    raise UnsupportedCodecError


class _Reader:
    """Reads the records of one batch, in their order."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def record(self, tp: TopicPartition, base: int, first: int, stamp: int | None) -> ConsumerRecord:
        """The next one. ``stamp`` is the broker's time where the broker gives it."""
        length = self._varint()
        end = self._at + length
        self._at += 1  # attributes, of which there are none
        timestamp = first + self._varint()
        offset = base + self._varint()
        key, value = self._bytes(), self._bytes()
        headers = tuple(
            ((self._bytes() or b"").decode(errors="replace"), self._bytes()) for _ in range(self._varint())
        )
        if self._at != end:
            raise CorruptRecordException
        return ConsumerRecord(
            tp.topic,
            tp.partition,
            offset,
            timestamp if stamp is None else stamp,
            0 if stamp is None else 1,
            key,
            value,
            None,
            -1 if key is None else len(key),
            -1 if value is None else len(value),
            headers,
        )

    def _bytes(self) -> bytes | None:
        length = self._varint()
        if length < 0:
            return None
        start, self._at = self._at, self._at + length
        if self._at > len(self._data):
            raise CorruptRecordException
        return self._data[start : self._at]

    def _varint(self) -> int:
        """A zigzag number of up to 64 bits, seven to a byte, the lowest first."""
        value = 0
        for shift in range(0, _VARINT_BITS, 7):
            if self._at >= len(self._data):
                break
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004  the highest bit says that more follow
                return (value >> 1) ^ -(value & 1)
        raise CorruptRecordException
