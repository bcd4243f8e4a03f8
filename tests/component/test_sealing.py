import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest
from tests.component.ledger_service import NOON, RECORD, REGISTRY, EntryMade, Remark, to

from hub_kernel.clock import FixedClock
from hub_kernel.database import open_pool
from hub_kernel.decider import Decider
from hub_kernel.event_store import EventStore, NewEvent, StreamAppend
from hub_kernel.event_store.merkle import Frontier, content_hash_of, leaf_hash
from hub_kernel.handling import CommandHandler, Context, new_event
from hub_kernel.roles import KEYRING_ROLE
from hub_kernel.sealing import KeyErased, Keyring, MasterKey, SealBroken

OTHER = UUID("00000000-0000-7000-8000-00000000000b")
EVENT = UUID("00000000-0000-7000-8000-00000000000e")
MASTER = MasterKey(bytes(range(32)))
NAME = "Jane Doe, 12 Acacia Avenue"


@pytest.fixture
async def keyring_pool(ledger_dsn: str) -> AsyncIterator[asyncpg.Pool]:
    pool = await open_pool(ledger_dsn, role=KEYRING_ROLE, size=4)
    yield pool
    pool.terminate()


@pytest.fixture
def keyring(keyring_pool: asyncpg.Pool) -> Keyring:
    return Keyring(keyring_pool, MASTER)


# --- keys ------------------------------------------------------------------------------------------------


async def test_a_key_is_minted_once_and_found_again_by_another_process(
    keyring: Keyring, keyring_pool: asyncpg.Pool
) -> None:
    sealed = (await keyring.key_for(RECORD)).seal(EVENT, "EntryMade", b"text")
    again = await Keyring(keyring_pool, MASTER).key_for(RECORD)
    [found] = (await keyring.existing([RECORD])).values()
    assert found is not None
    assert [key.open(EVENT, "EntryMade", sealed) for key in (again, found)] == [b"text", b"text"]


async def test_minting_one_key_many_times_at_once_gives_one_key(keyring_pool: asyncpg.Pool) -> None:
    keyrings = [Keyring(keyring_pool, MASTER) for _ in range(4)]
    keys = await asyncio.gather(*(ring.key_for(RECORD) for ring in keyrings for _ in range(10)))
    assert len({key.seal(EVENT, "EntryMade", b"text") for key in keys}) == 1
    assert await keyring_pool.fetchval("SELECT count(*) FROM keyring.data_keys") == 1


async def test_keys_minted_together_are_each_their_own(keyring: Keyring) -> None:
    ids = [UUID(int=n) for n in range(1, 600)]
    keys = await asyncio.gather(*(keyring.key_for(key_id) for key_id in ids))
    assert [key.key_id for key in keys] == ids
    assert len({key.seal(EVENT, "EntryMade", b"text") for key in keys}) == len(ids)


async def test_a_key_is_stored_only_wrapped_and_opens_only_under_its_master_key_and_its_own_id(
    keyring: Keyring, keyring_pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    key = await keyring.key_for(RECORD)
    wrapped = await owner.fetchval("SELECT wrapped FROM keyring.data_keys")
    assert key._secret not in wrapped
    with pytest.raises(SealBroken):
        await Keyring(keyring_pool, MasterKey(b"another master key of 32 bytes!!")).key_for(RECORD)
    await owner.execute("UPDATE keyring.data_keys SET key_id = $1", OTHER)
    with pytest.raises(SealBroken):
        await keyring.existing([OTHER])
    await owner.execute("UPDATE keyring.data_keys SET wrapped = 'short'")
    with pytest.raises(SealBroken):
        await keyring.existing([OTHER])


# --- erasure ---------------------------------------------------------------------------------------------


async def test_an_erased_key_is_gone_and_is_never_minted_again(
    keyring: Keyring, keyring_pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    await keyring.key_for(RECORD)
    await keyring.key_for(OTHER)
    assert [await keyring.erase(RECORD), await keyring.erase(RECORD)] == [True, False]
    assert await keyring.existing([RECORD]) == {RECORD: None}
    for ring in (keyring, Keyring(keyring_pool, MASTER)):
        with pytest.raises(KeyErased):
            await ring.key_for(RECORD)
    rows = await owner.fetch("SELECT key_id, wrapped IS NULL AS gone FROM keyring.data_keys ORDER BY key_id")
    assert [tuple(row) for row in rows] == [(RECORD, True), (OTHER, False)]


async def test_an_id_is_fenced_before_it_ever_had_a_key(keyring: Keyring) -> None:
    assert await keyring.erase(RECORD)
    with pytest.raises(KeyErased):
        await keyring.key_for(RECORD)


async def test_an_erased_key_does_not_spoil_the_others_it_is_minted_with(keyring: Keyring) -> None:
    await keyring.erase(RECORD)
    answers = await asyncio.gather(keyring.key_for(OTHER), keyring.key_for(RECORD), return_exceptions=True)
    assert [getattr(answer, "key_id", type(answer)) for answer in answers] == [OTHER, KeyErased]


async def test_of_an_erasure_and_mintings_at_once_the_erasure_wins_in_the_end(keyring: Keyring) -> None:
    await asyncio.gather(
        *(keyring.key_for(RECORD) for _ in range(5)), keyring.erase(RECORD), return_exceptions=True
    )
    with pytest.raises(KeyErased):
        await keyring.key_for(RECORD)


@pytest.mark.parametrize("statement", ["DELETE FROM keyring.data_keys", "TRUNCATE keyring.data_keys"])
async def test_the_keyring_itself_cannot_take_a_fence_away(
    keyring: Keyring, keyring_pool: asyncpg.Pool, statement: str
) -> None:
    await keyring.erase(RECORD)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await keyring_pool.execute(statement)


# --- sealed events ---------------------------------------------------------------------------------------


def make(command: EntryMade, _state: int) -> list[EntryMade]:
    return [command]


def count(state: int, _fact: EntryMade) -> int:
    return state + 1


@pytest.fixture
def handler(ledger: EventStore, keyring: Keyring) -> CommandHandler[EntryMade, int, EntryMade]:
    return CommandHandler(ledger, keyring, REGISTRY, Decider(initial=0, decide=make, evolve=count))


SAID = EntryMade(amount=3, sealed=Remark(text=NAME))
CONTEXT = Context(correlation_id=RECORD, actor="tester", occurred_at=NOON)


async def test_a_sealed_part_is_nowhere_in_the_database_in_clear(
    handler: CommandHandler[EntryMade, int, EntryMade], owner: asyncpg.Connection
) -> None:
    await handler.handle("entry-a", SAID, CONTEXT)
    row = await owner.fetchrow("SELECT * FROM ledger.events")
    assert (row["open"], row["key_id"]) == (b'{"amount":3}', RECORD)
    assert NAME.encode() not in b"".join(value for value in row.values() if isinstance(value, bytes))
    assert NAME not in str(row)


async def test_nothing_can_be_sealed_under_an_erased_key_and_nothing_is_recorded(
    handler: CommandHandler[EntryMade, int, EntryMade], keyring: Keyring, owner: asyncpg.Connection
) -> None:
    await keyring.erase(RECORD)
    with pytest.raises(KeyErased):
        await handler.handle("entry-a", SAID, CONTEXT)
    assert await owner.fetchval("SELECT count(*) FROM ledger.events") == 0


async def test_the_log_still_verifies_after_an_erasure(
    handler: CommandHandler[EntryMade, int, EntryMade],
    keyring: Keyring,
    ledger: EventStore,
    owner: asyncpg.Connection,
) -> None:
    await handler.handle("entry-a", SAID, CONTEXT)
    await ledger.append([to("entry-b", "open only")])
    before = await ledger.head(owner)
    await keyring.erase(RECORD)
    frontier = Frontier()
    for event in await ledger.read.log(owner, 0):
        frontier.add(leaf_hash(content_hash_of(event), event.position, event.version, event.recorded_at))
    assert (await ledger.head(owner)).root == before.root == frontier.root()


async def test_sealing_the_same_fact_again_gives_the_same_event_so_that_a_repeat_is_recognised(
    keyring: Keyring, ledger: EventStore, clock: FixedClock
) -> None:
    def event_again(key: object) -> NewEvent:
        return new_event(SAID, EVENT, CONTEXT, key, None)  # type: ignore[arg-type]

    first = await ledger.append([StreamAppend("entry-a", 0, [event_again(await keyring.key_for(RECORD))])])
    again = await ledger.append([StreamAppend("entry-a", 0, [event_again(await keyring.key_for(RECORD))])])
    assert (first.positions, type(again).__name__, again.positions) == ((1,), "AlreadyAppended", (1,))
    assert clock.now() == NOON
