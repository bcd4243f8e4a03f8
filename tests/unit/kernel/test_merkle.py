import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from hub_kernel.event_store import NewEvent
from hub_kernel.event_store.merkle import (
    EMPTY_ROOT,
    Frontier,
    content_hash,
    content_hash_of,
    leaf_hash,
    micros,
)
from hub_schemas.envelope import RecordedEvent

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
EVENT = NewEvent(
    event_id=UUID(int=1),
    type="EntryMade",
    schema_version=1,
    occurred_at=NOON,
    correlation_id=UUID(int=2),
    causation_id=None,
    actor="tester",
    traceparent=None,
    open=b"{}",
)


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 9162 section 2.1.1, over leaves already hashed."""
    if len(leaves) <= 1:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + merkle_root(leaves[:k]) + merkle_root(leaves[k:])).digest()


def leaf(number: int) -> bytes:
    return hashlib.sha256(b"\x00" + number.to_bytes(8, "big")).digest()


@given(st.integers(min_value=0, max_value=300))
def test_the_frontier_has_the_root_the_rfc_defines(size: int) -> None:
    frontier = Frontier()
    for number in range(size):
        frontier.add(leaf(number))
    assert frontier.root() == merkle_root([leaf(number) for number in range(size)])
    assert len(frontier.peaks) == size.bit_count()


@given(st.integers(0, 200), st.integers(0, 200))
def test_a_frontier_that_was_stored_grows_on_as_if_it_never_was(before: int, after: int) -> None:
    frontier = Frontier()
    for number in range(before):
        frontier.add(leaf(number))
    restored = Frontier(frontier.size, frontier.peaks)
    for number in range(before, before + after):
        restored.add(leaf(number))
    assert restored.root() == merkle_root([leaf(number) for number in range(before + after)])


def test_the_root_of_nothing_is_the_hash_of_nothing() -> None:
    assert Frontier().root() == EMPTY_ROOT == hashlib.sha256().digest()


def test_looking_at_the_root_changes_nothing() -> None:
    frontier = Frontier()
    for number in range(7):
        frontier.add(leaf(number))
    assert frontier.root() == frontier.root() == merkle_root([leaf(n) for n in range(7)])


def test_a_leaf_is_hashed_as_written_down_here() -> None:
    content = bytes(32)
    told = b"\x00" + content + b"\0\0\0\0\0\0\x01\0" + b"\0\0\0\0\0\0\0\x02"
    instant = (1_772_452_800 * 1_000_000).to_bytes(8, "big")
    assert leaf_hash(content, 256, 2, NOON) == hashlib.sha256(told + instant).digest()


def test_instants_are_whole_microseconds_also_before_1970_and_in_any_zone() -> None:
    assert micros(datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)) == -1
    assert micros(NOON.astimezone(timezone(timedelta(hours=5)))) == micros(NOON)


def recorded(**changes: object) -> RecordedEvent:
    fields = {**msgspec.structs.asdict(EVENT), **changes}
    return RecordedEvent(
        source="ledger", position=1, stream_id="entry-a", version=1, recorded_at=NOON, **fields
    )


def test_an_event_read_back_has_the_content_hash_it_was_written_with() -> None:
    written = content_hash("entry-a", EVENT)
    assert content_hash_of(recorded()) == written
    assert content_hash_of(recorded(occurred_at=NOON.astimezone(timezone(timedelta(hours=1))))) == written


def test_the_content_hash_is_that_of_the_bytes_written_down_here() -> None:
    def text(value: str) -> bytes:
        head = bytes([0xA0 | len(value)]) if len(value) < 32 else bytes([0xD9, len(value)])
        return head + value.encode()

    message_pack = (
        b"\x92" + text("entry-a")
        + b"\x9b" + text("00000000-0000-0000-0000-000000000001") + text("EntryMade") + b"\x01"
        + b"\xd6\xff" + (1_772_452_800).to_bytes(4, "big")
        + text("00000000-0000-0000-0000-000000000002") + b"\xc0" + text("tester") + b"\xc0"
        + b"\xc4\x02{}" + b"\xc0\xc0"
    )  # fmt: skip
    assert content_hash("entry-a", EVENT) == hashlib.sha256(message_pack).digest()


def test_moving_a_word_from_one_field_to_the_next_changes_the_hash() -> None:
    hashes = {
        content_hash("ab", EVENT),
        content_hash("a", msgspec.structs.replace(EVENT, type="bEntryMade")),
        content_hash("ab", msgspec.structs.replace(EVENT, actor="", traceparent="tester")),
        content_hash("ab", msgspec.structs.replace(EVENT, open=b"", sealed=b"{}")),
        content_hash("ab", msgspec.structs.replace(EVENT, causation_id=EVENT.correlation_id)),
        content_hash("ab", msgspec.structs.replace(EVENT, key_id=EVENT.correlation_id)),
    }
    assert len(hashes) == 6
