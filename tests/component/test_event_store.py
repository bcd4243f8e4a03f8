import asyncio
import hashlib
import random
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

import asyncpg
import msgspec
import pytest
from tests.component.ledger_service import NAMESPACE, NOON, RECORD, entry, to
from tests.component.ledger_service.waiting import until, until_waiting_for_a_lock

from hub_kernel.clock import FixedClock
from hub_kernel.event_store import (
    NO_STREAM,
    AlreadyAppended,
    AlreadyAppendedAfterErasure,
    Appended,
    EventIdReused,
    EventStore,
    StreamAppend,
    WrongExpectedVersion,
)
from hub_kernel.event_store.appending import MIN_BATCH_EVENTS
from hub_kernel.event_store.merkle import Frontier, content_hash_of, leaf_hash
from hub_kernel.sealing import KeyErased
from hub_schemas.envelope import RecordedEvent

ROOT = Path(__file__).parents[2]


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The Merkle tree hash exactly as RFC 9162 section 2.1.1 defines it, over leaves already hashed."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + merkle_root(leaves[:k]) + merkle_root(leaves[k:])).digest()


async def whole_log(store: EventStore) -> list[RecordedEvent]:
    async with store.pool.acquire() as connection:
        return [event async for page in store.read.pages(connection) for event in page]


async def positions(store: EventStore) -> list[int]:
    return [event.position for event in await whole_log(store)]


async def names(store: EventStore) -> list[tuple[str, int]]:
    return [(event.stream_id, event.version) for event in await whole_log(store)]


def changed(append: StreamAppend, **changes: object) -> StreamAppend:
    """The same append with other values in its events."""
    events = [msgspec.structs.replace(event, **changes) for event in append.events]
    return StreamAppend(append.stream_id, append.expected_version, events)


@asynccontextmanager
async def the_log_held(owner: asyncpg.Connection) -> AsyncIterator[None]:
    """Every append waits until the block ends."""
    async with owner.transaction():
        await owner.execute("SELECT 1 FROM ledger.log_head FOR UPDATE")
        yield


async def batches(owner: asyncpg.Connection) -> int:
    """How many transactions wrote the log."""
    return int(await owner.fetchval("SELECT count(DISTINCT xmin::text) FROM ledger.events"))


# --- order -----------------------------------------------------------------------------------------------


async def test_positions_are_gapless_and_versions_count_inside_each_stream(ledger: EventStore) -> None:
    first = await ledger.append([to("entry-a", "1", "2"), to("entry-b", "3")])
    second = await ledger.append([to("entry-a", "4")])
    assert (first, second) == (Appended((1, 2, 3), (1, 2, 1), NOON), Appended((4,), (3,), NOON))
    assert await names(ledger) == [("entry-a", 1), ("entry-a", 2), ("entry-b", 1), ("entry-a", 3)]


async def test_a_follower_misses_nothing_while_a_slow_transaction_holds_an_append_open(
    ledger: EventStore, owner: asyncpg.Connection
) -> None:
    seen: list[int] = []

    async def follow() -> None:
        async with ledger.pool.acquire() as connection:
            page = await ledger.read.log(connection, seen[-1] if seen else 0)
        seen.extend(event.position for event in page)

    async with ledger.pool.acquire() as slow, slow.transaction():
        await ledger.append_in(slow, [to("entry-slow", "slow")])
        quick = asyncio.create_task(ledger.append([to("entry-quick", "quick")]))
        await until_waiting_for_a_lock(owner)
        await follow()
        assert (seen, quick.done()) == ([], False)
    await quick
    await follow()
    assert seen == [1, 2]
    assert await names(ledger) == [("entry-slow", 1), ("entry-quick", 1)]


async def test_a_live_follower_of_two_processes_of_several_writers_sees_each_event_once_in_order(
    ledger: EventStore, ledger_dsn: str, owner: asyncpg.Connection
) -> None:
    writers, events = 8, 1_300
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.component.ledger_service.append_many",
            ledger_dsn, name, str(writers), str(events), cwd=ROOT,
        )
        for name in ("left", "right")
    ]  # fmt: skip
    seen: list[RecordedEvent] = []

    async def everything_seen() -> bool:
        async with ledger.pool.acquire() as connection:
            seen.extend(await ledger.read.log(connection, seen[-1].position if seen else 0, 97))
        return len(seen) >= 2 * writers * events

    await until(everything_seen, seconds=60)
    assert [await process.wait() for process in processes] == [0, 0]
    assert [event.position for event in seen] == list(range(1, 2 * writers * events + 1))
    assert len({event.event_id for event in seen}) == len(seen)
    versions: dict[str, int] = {}
    for event in seen:
        versions[event.stream_id] = versions.get(event.stream_id, 0) + 1
        assert event.version == versions[event.stream_id]
    frontier = Frontier()
    for event in seen:
        frontier.add(leaf_hash(content_hash_of(event), event.position, event.version, event.recorded_at))
    assert (await ledger.head(owner)).root == frontier.root()


async def test_writers_that_race_for_one_stream_never_swap_its_versions(ledger: EventStore) -> None:
    results = await asyncio.gather(*(ledger.append([to("entry-a", f"{n}")]) for n in range(60)))
    assert sorted((result.positions, result.versions) for result in results) == [
        ((n,), (n,)) for n in range(1, 61)
    ]
    assert await names(ledger) == [("entry-a", n) for n in range(1, 61)]


async def test_recorded_instants_never_go_back_even_if_the_clock_does(
    ledger: EventStore, clock: FixedClock
) -> None:
    for n, hours in enumerate((0, -5, 1, -1)):
        clock.instant = NOON + timedelta(hours=hours)
        await ledger.append([to("entry-a", f"{n}")])
    later = NOON + timedelta(hours=1)
    assert [event.recorded_at for event in await whole_log(ledger)] == [NOON, NOON, later, later]


# --- conditions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expecting", "accepted"), [(-1, True), (0, False), (1, False), (2, True), (3, False)]
)
async def test_an_append_to_a_stream_of_two_is_accepted_only_at_any_version_or_two(
    ledger: EventStore,
    expecting: int,
    accepted: bool,  # noqa: FBT001  a case
) -> None:
    await ledger.append([to("entry-a", "1", "2", expecting=NO_STREAM)])
    if accepted:
        assert await ledger.append([to("entry-a", "3", expecting=expecting)]) == Appended((3,), (3,), NOON)
    else:
        with pytest.raises(WrongExpectedVersion):
            await ledger.append([to("entry-a", "3", expecting=expecting)])
        assert await positions(ledger) == [1, 2]


async def test_a_conflict_inside_a_coalesced_batch_is_refused_on_its_own(
    ledger: EventStore, owner: asyncpg.Connection
) -> None:
    await ledger.append([to("entry-taken", "taken")])
    appends = [to(f"entry-{n}", f"{n}", expecting=NO_STREAM) for n in range(MIN_BATCH_EVENTS)]
    appends[7] = to("entry-taken", "7", expecting=NO_STREAM)
    appends[13] = to("entry-taken-too", "taken")
    answers = await asyncio.gather(*(ledger.append([one]) for one in appends), return_exceptions=True)
    refused = {n: type(answer) for n, answer in enumerate(answers) if isinstance(answer, Exception)}
    assert refused == {7: WrongExpectedVersion, 13: EventIdReused}
    assert await positions(ledger) == list(range(1, MIN_BATCH_EVENTS))
    assert await batches(owner) == 2


async def test_what_the_database_cannot_hold_is_refused_without_harm_to_the_rest_of_its_batch(
    ledger: EventStore,
) -> None:
    appends = [to(f"entry-{n}", f"{n}") for n in range(5)]
    appends[2] = StreamAppend("entry-2", -1, [entry("2", actor="nul \x00")])
    answers = await asyncio.gather(*(ledger.append([one]) for one in appends), return_exceptions=True)
    assert [isinstance(answer, Appended) for answer in answers] == [True, True, False, True, True]
    assert await positions(ledger) == [1, 2, 3, 4]


async def test_a_request_over_several_streams_is_written_whole_or_not_at_all(ledger: EventStore) -> None:
    await ledger.append([to("entry-b", "b1")])
    with pytest.raises(WrongExpectedVersion):
        await ledger.append(
            [to("entry-a", "a1"), to("entry-b", "b2", expecting=NO_STREAM), to("entry-c", "c1")]
        )
    assert await names(ledger) == [("entry-b", 1)]
    await ledger.append([to("entry-a", "a1"), to("entry-b", "b2", expecting=1), to("entry-c", "c1")])
    assert await names(ledger) == [("entry-b", 1), ("entry-a", 1), ("entry-b", 2), ("entry-c", 1)]


@pytest.mark.parametrize(
    "appends",
    [
        [],
        [StreamAppend("entry-a", -1, [])],
        [to("entry-a", "1"), to("entry-a", "2")],
        [to("entry-a", "1"), to("entry-b", "1")],
        [changed(to("entry-a", "1"), occurred_at=NOON.replace(tzinfo=None))],
    ],
    ids=["nothing", "no events", "a stream twice", "an event id twice", "an instant without a zone"],
)  # fmt: skip
async def test_an_append_that_makes_no_sense_is_a_mistake_of_the_caller(
    ledger: EventStore, appends: Sequence[StreamAppend]
) -> None:
    with pytest.raises((ValueError, TypeError)):
        await ledger.append(appends)
    assert await positions(ledger) == []


# --- repeats ---------------------------------------------------------------------------------------------


async def test_a_repeat_is_answered_with_where_the_events_first_went(ledger: EventStore) -> None:
    request = [to("entry-a", "1", "2", expecting=NO_STREAM), to("entry-b", "3")]
    await ledger.append(request)
    await ledger.append([to("entry-a", "4")])
    assert await ledger.append(request) == AlreadyAppended((1, 2, 3), (1, 2, 1))
    assert await positions(ledger) == [1, 2, 3, 4]


async def test_the_same_request_sent_many_times_at_once_is_written_once(ledger: EventStore) -> None:
    request = [to("entry-a", "1", expecting=NO_STREAM)]
    answers = await asyncio.gather(*(ledger.append(request) for _ in range(30)))
    assert sorted(type(answer).__name__ for answer in answers) == ["AlreadyAppended"] * 29 + ["Appended"]
    assert {answer.positions for answer in answers} == {(1,)}
    assert await positions(ledger) == [1]


@pytest.mark.parametrize(
    "other",
    [
        to("entry-a", "1", amount=2),
        to("entry-b", "1"),
        to("entry-a", "1", "2"),
        changed(to("entry-a", "1"), sealed=b"x", key_id=RECORD),
    ],
    ids=["another amount", "another stream", "one known and one new", "another sealed part"],
)  # fmt: skip
async def test_an_event_id_that_comes_back_with_other_content_is_refused(
    ledger: EventStore, other: StreamAppend
) -> None:
    await ledger.append([to("entry-a", "1")])
    with pytest.raises(EventIdReused):
        await ledger.append([other])
    assert await positions(ledger) == [1]


def sealed_append(sealed: bytes | None, *, key_erased: bool = False) -> StreamAppend:
    event = msgspec.structs.replace(entry("1"), key_id=RECORD, sealed=sealed)
    return StreamAppend("entry-a", -1, [event], key_erased=key_erased)


async def test_a_repeat_after_erasure_is_recognised_by_its_open_part(ledger: EventStore) -> None:
    await ledger.append([sealed_append(b"ciphertext")])
    answer = await ledger.append([sealed_append(None, key_erased=True)])
    assert answer == AlreadyAppendedAfterErasure((1,), (1,))
    assert await positions(ledger) == [1]


async def test_an_event_whose_key_is_erased_is_never_written_for_the_first_time(ledger: EventStore) -> None:
    answers = await asyncio.gather(
        ledger.append([sealed_append(None, key_erased=True)]),
        ledger.append([to("entry-b", "2")]),
        return_exceptions=True,
    )
    assert (type(answers[0]), answers[1]) == (KeyErased, Appended((1,), (1,), NOON))
    assert await names(ledger) == [("entry-b", 1)]


# --- transactions, cancellation, loss of the connection -------------------------------------------------


async def test_an_append_inside_a_transaction_is_rolled_back_with_it(ledger: EventStore) -> None:
    await ledger.append([to("entry-a", "1")])
    async with ledger.pool.acquire() as connection:
        before = await ledger.head(connection)
        transaction = connection.transaction()
        await transaction.start()
        await ledger.append_in(connection, [to("entry-a", "2")])
        await transaction.rollback()
        assert await ledger.head(connection) == before
    assert await ledger.append([to("entry-a", "2")]) == Appended((2,), (2,), NOON)


async def test_a_transaction_is_still_usable_after_a_refused_append(ledger: EventStore) -> None:
    async with ledger.pool.acquire() as connection, connection.transaction():
        with pytest.raises(WrongExpectedVersion):
            await ledger.append_in(connection, [to("entry-a", "1", expecting=4)])
        await ledger.append_in(connection, [to("entry-a", "1", expecting=0)])
    assert await names(ledger) == [("entry-a", 1)]


async def test_a_caller_cancelled_while_its_append_is_under_way_harms_nobody(
    ledger: EventStore, owner: asyncpg.Connection
) -> None:
    async with the_log_held(owner):
        tasks = [asyncio.create_task(ledger.append([to(f"entry-{n}", f"{n}")])) for n in range(10)]
        await until_waiting_for_a_lock(owner)
        waiting = [asyncio.create_task(ledger.append([to(f"entry-{n}", f"{n}")])) for n in range(10, 20)]
        await until_waiting_for_a_lock(owner, sessions=2)
        queued = [asyncio.create_task(ledger.append([to(f"entry-{n}", f"{n}")])) for n in range(20, 30)]
        await asyncio.sleep(0)
        for cancelled in (tasks[3], waiting[3], queued[3]):
            cancelled.cancel()
    answers = await asyncio.gather(*tasks, *waiting, *queued, return_exceptions=True)
    assert [n for n, answer in enumerate(answers) if not isinstance(answer, Appended)] == [3, 13, 23]
    for n in (3, 13, 23):
        await ledger.append([to(f"entry-{n}", f"{n}")])
    log = await whole_log(ledger)
    assert [event.position for event in log] == list(range(1, 31))
    assert sorted(event.stream_id for event in log) == sorted(f"entry-{n}" for n in range(30))


async def test_a_lost_connection_is_an_error_for_who_was_appending_and_later_appends_work(
    ledger: EventStore, owner: asyncpg.Connection
) -> None:
    async with the_log_held(owner):
        lost = [asyncio.create_task(ledger.append([to(f"entry-{n}", f"{n}")])) for n in range(3)]
        await until_waiting_for_a_lock(owner)
        await owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        answers = await asyncio.gather(*lost, return_exceptions=True)
    assert [isinstance(answer, (asyncpg.PostgresError, OSError)) for answer in answers] == [True] * 3
    assert await positions(ledger) == []
    assert await ledger.append([to("entry-0", "0")]) == Appended((1,), (1,), NOON)


# --- the Merkle tree -------------------------------------------------------------------------------------


async def test_the_root_of_an_empty_log_is_the_hash_of_nothing(
    ledger: EventStore, owner: asyncpg.Connection
) -> None:
    head = await ledger.head(owner)
    assert (head.position, head.recorded_at, head.root) == (0, None, hashlib.sha256(b"").digest())


@pytest.mark.parametrize("seed", range(4))
async def test_the_head_holds_the_tree_that_the_rfc_defines_over_the_stored_events(
    ledger: EventStore, owner: asyncpg.Connection, clock: FixedClock, seed: int
) -> None:
    choose = random.Random(seed)  # noqa: S311  a repeatable test, not a secret
    leaves: list[bytes] = []
    made = 0
    while made < 150:
        clock.instant += timedelta(microseconds=choose.randrange(2_000_000))
        appends = []
        for stream in choose.sample(range(6), choose.randint(1, 4)):
            size = choose.randint(1, 9)
            appends.append(to(f"entry-{stream}", *(f"{seed}-{made + n}" for n in range(size))))
            made += size
        await ledger.append(appends)
        head = await ledger.head(owner)
        leaves = [
            row["leaf_hash"]
            for row in await owner.fetch("SELECT leaf_hash FROM ledger.events ORDER BY position")
        ]
        assert (head.position, head.root) == (made, merkle_root(leaves))
    log = await whole_log(ledger)
    assert leaves == [leaf_hash(content_hash_of(e), e.position, e.version, e.recorded_at) for e in log]


CHANGES = (
    "open = '{\"amount\":2}'", "type = 'Other'", "actor = 'other'", "version = 9", "position = 9",
    "stream_id = 'entry-z'", "occurred_at = occurred_at + interval '1 microsecond'",
    "recorded_at = recorded_at + interval '1 microsecond'", "correlation_id = event_id", "sealed = 'x'",
    "causation_id = event_id", "traceparent = 'x'", "schema_version = 2", "event_id = correlation_id",
    "key_id = event_id",
)  # fmt: skip


async def test_any_change_to_a_stored_event_shows_in_its_leaf_hash(
    ledger: EventStore, owner: asyncpg.Connection
) -> None:
    await ledger.append([to("entry-a", "1")])
    shown = []
    for change in CHANGES:
        tampering = owner.transaction()
        await tampering.start()
        await owner.execute(f"UPDATE ledger.events SET {change}")
        [event] = await ledger.read.log(owner, 0)
        stored = await owner.fetchval("SELECT leaf_hash FROM ledger.events")
        if leaf_hash(content_hash_of(event), event.position, event.version, event.recorded_at) != stored:
            shown.append(change)
        await tampering.rollback()
    assert shown == list(CHANGES)


async def test_an_event_is_read_back_exactly_as_it_was_written(ledger: EventStore) -> None:
    event = msgspec.structs.replace(
        entry("1", actor="Zoë 🦉"),
        causation_id=NAMESPACE,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        open=bytes(range(256)),
        key_id=RECORD,
        sealed=b"\x00\xff" * 20,
        occurred_at=NOON - timedelta(days=400_000, microseconds=1),
    )
    await ledger.append([StreamAppend("entry-é", -1, [event])])
    assert await whole_log(ledger) == [
        RecordedEvent(
            source="ledger", position=1, stream_id="entry-é", version=1, recorded_at=NOON,
            **msgspec.structs.asdict(event),
        )
    ]  # fmt: skip


# --- reading ---------------------------------------------------------------------------------------------


async def test_every_way_of_reading_gives_bounded_pages_that_go_on_where_the_last_ended(
    ledger: EventStore,
) -> None:
    for n in range(5):
        await ledger.append([to("entry-a", f"a{n}"), to("note-b", f"b{n}"), to("entry-c", f"c{n}")])
    record = to("note-b", "any").events[0].correlation_id
    read = ledger.read
    async with ledger.pool.acquire() as connection:
        log = [e.position for e in await read.log(connection, 3, 4)]
        stream = [e.version for e in await read.stream(connection, "entry-c", 1, 3)]
        category = [e.position for e in await read.category(connection, "entry", 3, 3)]
        chain = [e.position for e in await read.correlated(connection, record, 2, 2)]
        pages = [[e.position for e in page] async for page in read.pages(connection, 4, 5)]
    assert (log, stream, category, chain) == ([4, 5, 6, 7], [2, 3, 4], [4, 6, 7], [5, 8])
    assert pages == [[5, 6, 7, 8, 9], [10, 11, 12, 13, 14], [15]]


# --- who may touch what ----------------------------------------------------------------------------------


FORBIDDEN = (
    "UPDATE ledger.events SET actor = 'x'",
    "DELETE FROM ledger.events",
    "TRUNCATE ledger.events",
    "DELETE FROM ledger.log_head",
    "TRUNCATE ledger.log_head",
    "DROP TABLE ledger.events",
    "ALTER TABLE ledger.events DROP COLUMN leaf_hash",
    "UPDATE ledger_access.events SET actor = 'x'",
    "DELETE FROM ledger_access.events",
    "TRUNCATE ledger_access.events",
    "DELETE FROM ledger_access.log_head",
    "SELECT * FROM reader.events",
    "SELECT * FROM reader.effects",
    "SELECT * FROM reader_access.events",
    "SELECT * FROM keyring.data_keys",
    "SELECT * FROM ledger.alembic_version",
    "CREATE TABLE ledger.mine ()",
    "CREATE TABLE public.mine ()",
)


async def test_a_service_may_only_add_to_its_own_log_and_see_no_other(ledger: EventStore) -> None:
    await ledger.append([to("entry-a", "1")])
    refused = []
    async with ledger.pool.acquire() as connection:
        for statement in FORBIDDEN:
            with suppress(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
                continue
            refused.append(statement)
    assert refused == list(FORBIDDEN)
    assert await positions(ledger) == [1]
