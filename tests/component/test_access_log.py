from collections.abc import AsyncIterator
from typing import NamedTuple
from uuid import UUID

import asyncpg
import msgspec
import pytest
from tests.component.ledger_service import LEDGER, NOON, RECORD, EntryMade, Remark, to

from hub_kernel.access_log import REGISTRY as ACCESS_REGISTRY
from hub_kernel.access_log import AccessLog, ReasonMissing, SealedRead, reason_from, unsealed
from hub_kernel.clock import FixedClock
from hub_kernel.database import open_pool
from hub_kernel.event_store import EventStore, NewEvent, StreamAppend
from hub_kernel.handling import Context, new_event
from hub_kernel.roles import KEYRING_ROLE
from hub_kernel.sealing import KeyErased, Keyring, KeyUnknown, MasterKey, SealBroken
from hub_schemas.envelope import RecordedEvent

OTHER = UUID("00000000-0000-7000-8000-00000000000b")
SECRETS = {RECORD: "Jane Doe", OTHER: "John Roe"}


class Archive(NamedTuple):
    """A ledger of three sealed entries and one open, and the log of who reads them."""

    store: EventStore
    access_log: AccessLog
    keyring: Keyring
    events: list[RecordedEvent]

    async def reads(self) -> list[SealedRead]:
        """Who read what, as recorded."""
        async with self.store.pool.acquire() as connection:
            rows = await self.access_log.store.read.log(connection, 0)
        return [ACCESS_REGISTRY.decode(row.type, row.schema_version, row.open) for row in rows]  # type: ignore[misc]

    async def open_in(
        self, connection: asyncpg.Connection, events: list[RecordedEvent]
    ) -> list[bytes | None]:
        """Open these events as an assessor."""
        return await self.access_log.open_in(
            connection, events, reader="assessor-1", role="assessor", reason="assessment"
        )


@pytest.fixture
async def archive(ledger: EventStore, ledger_dsn: str, clock: FixedClock) -> AsyncIterator[Archive]:
    keyring_pool = await open_pool(ledger_dsn, role=KEYRING_ROLE, size=2)
    keyring = Keyring(keyring_pool, MasterKey(bytes(32)))
    access_log = AccessLog(EventStore(ledger.pool, LEDGER.access_schema, clock), keyring, clock, LEDGER.name)

    async def sealed(number: int, record: UUID) -> NewEvent:
        fact = EntryMade(amount=number, sealed=Remark(text=SECRETS[record]))
        context = Context(correlation_id=record, actor="tester", occurred_at=NOON)
        return new_event(fact, UUID(int=number), context, await keyring.key_for(record), None)

    for number, record in ((1, RECORD), (2, RECORD), (3, OTHER)):
        await ledger.append([StreamAppend(f"entry-{record}", -1, [await sealed(number, record)])])
    await ledger.append([to("entry-open", "open")])
    async with ledger.pool.acquire() as connection:
        events = await ledger.read.log(connection, 0)
    yield Archive(ledger, access_log, keyring, events)
    keyring_pool.terminate()


def read_of(record: UUID, *positions: int) -> SealedRead:
    return SealedRead(
        record_id=record,
        reader="assessor-1",
        role="assessor",
        reason="assessment",
        positions=positions,
        read_at=NOON,
    )


async def test_opening_sealed_parts_gives_them_in_order_and_records_one_read_a_record(
    archive: Archive,
) -> None:
    async with archive.store.pool.acquire() as connection, connection.transaction():
        opened = await archive.open_in(connection, archive.events)
    assert [raw and unsealed(raw, Remark).text for raw in opened] == [
        "Jane Doe",
        "Jane Doe",
        "John Roe",
        None,
    ]
    assert await archive.reads() == [read_of(RECORD, 1, 2), read_of(OTHER, 3)]


async def test_the_row_of_a_read_is_rolled_back_with_the_transaction_it_was_made_in(archive: Archive) -> None:
    async with archive.store.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await archive.open_in(connection, archive.events)
        await transaction.rollback()
    assert await archive.reads() == []


async def test_nothing_sealed_is_nothing_read(archive: Archive) -> None:
    async with archive.store.pool.acquire() as connection, connection.transaction():
        assert await archive.open_in(connection, archive.events[3:]) == [None]
        assert await archive.open_in(connection, []) == []
    assert await archive.reads() == []


async def test_after_an_erasure_nothing_opens_and_no_read_is_recorded(archive: Archive) -> None:
    await archive.keyring.erase(OTHER)
    async with archive.store.pool.acquire() as connection:
        with pytest.raises(KeyErased):
            async with connection.transaction():
                await archive.open_in(connection, archive.events)
        async with connection.transaction():
            assert len(await archive.open_in(connection, archive.events[:2])) == 2
    assert await archive.reads() == [read_of(RECORD, 1, 2)]


async def test_a_key_that_never_was_is_not_taken_for_an_erased_one(archive: Archive) -> None:
    stranger = msgspec.structs.replace(archive.events[0], key_id=UUID(int=99))
    async with archive.store.pool.acquire() as connection:
        with pytest.raises(KeyUnknown):
            await archive.open_in(connection, [stranger])


async def test_a_sealed_part_moved_to_another_event_or_changed_does_not_open(archive: Archive) -> None:
    first, second = archive.events[:2]
    assert first.sealed is not None
    forged = [
        msgspec.structs.replace(first, sealed=second.sealed),
        msgspec.structs.replace(first, type="Other"),
        msgspec.structs.replace(first, key_id=OTHER),
        msgspec.structs.replace(first, sealed=first.sealed[:-1] + bytes([first.sealed[-1] ^ 1])),
        msgspec.structs.replace(first, sealed=b""),
    ]
    async with archive.store.pool.acquire() as connection:
        for event in forged:
            with pytest.raises(SealBroken):
                await archive.open_in(connection, [event])
    assert await archive.reads() == []


@pytest.mark.parametrize("given", [None, "", "curiosity", "Assessment"])
def test_a_reason_that_is_not_a_code_is_refused_by_naming_the_codes(given: str | None) -> None:
    with pytest.raises(ReasonMissing) as refusal:
        reason_from(given)
    [told] = refusal.value.fields.values()
    assert told.startswith("one of assessment, disclosure")
    assert "curiosity" not in told


def test_a_reason_code_is_taken() -> None:
    assert reason_from("subject_access") == "subject_access"
