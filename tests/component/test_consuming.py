import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
import structlog
from prometheus_client import REGISTRY as METRICS
from tests.component.ledger_service import LEDGER, NOON, READER, to
from tests.component.ledger_service.hearing import Hearing, always, failing, running, stream, write
from tests.component.ledger_service.scripted_bus import ScriptedBus, garbled, heard
from tests.component.ledger_service.waiting import until

from hub_embedded.data_dir import DataDir
from hub_embedded.postgres import EmbeddedPostgres
from hub_kernel import consuming
from hub_kernel.clock import FixedClock
from hub_kernel.consuming import Consumer, one_by_one
from hub_kernel.database import Connection, open_pool
from hub_kernel.errors import Rejected, Unavailable
from hub_kernel.event_store import EventStore
from hub_kernel.log_bus import LogBus
from hub_kernel.ports import Message
from hub_kernel.roles import BUS_ROLE
from hub_kernel.testing import create_template, dsn_for
from hub_schemas.envelope import RecordedEvent

pytestmark = pytest.mark.usefixtures("no_pauses")
SECRET = "Jane Doe of 12 Acacia Avenue"  # noqa: S105  a name, to look for where none may be


@pytest.fixture
async def log_bus(ledger_dsn: str, clock: FixedClock) -> AsyncIterator[Callable[..., Awaitable[LogBus]]]:
    buses: list[LogBus] = []
    pool = await open_pool(ledger_dsn, role=BUS_ROLE, size=4)

    async def start(partitions: int = 4) -> LogBus:
        buses.append(LogBus(ledger_dsn, pool, clock, partitions=partitions))
        await buses[-1].start()
        return buses[-1]

    yield start
    for bus in buses:
        await bus.close()
    pool.terminate()


# --- exactly once ----------------------------------------------------------------------------------------


async def test_each_effect_is_made_once_however_often_its_event_is_delivered(hearing: Hearing) -> None:
    a, b = stream("entry-a", 1, 2, 3, first_offset=1), stream("entry-b", 1, 2, first_offset=4)
    again = stream("entry-a", 1, 2, 3, first_offset=6)
    await hearing.hear([*a, *a, *b], [*b], [*a, *again], [*reversed(again)])
    await hearing.hear([*a, *b, *again])
    assert await hearing.effects() == [
        ("entry-a", 1),
        ("entry-a", 2),
        ("entry-a", 3),
        ("entry-b", 1),
        ("entry-b", 2),
    ]
    assert await hearing.parked() == []


async def test_the_effect_the_inbox_and_the_cursor_are_written_together(
    hearing: Hearing, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consuming, "HOUSEKEEPING_SECONDS", 1_000_000)
    await hearing.hear(stream("entry-a", 1, 2, first_offset=1))
    assert await hearing.effects() == [("entry-a", 1), ("entry-a", 2)]
    assert (await hearing.last_versions(), await hearing.cursors()) == ({"entry-a": 2}, {0: 2})
    transactions = await owner.fetch(
        """SELECT xmin::text FROM reader.effects UNION SELECT xmin::text FROM reader.inbox
           UNION SELECT xmin::text FROM reader.consumer_cursors"""
    )
    assert len(transactions) == 1


async def test_a_handler_that_raises_after_writing_leaves_nothing_behind(hearing: Hearing) -> None:
    await hearing.hear(stream("entry-a", 1, first_offset=1), handler=failing(always, ZeroDivisionError()))
    assert (await hearing.effects(), await hearing.last_versions()) == ([], {})
    assert await hearing.parked() == [("entry-a", 1, "ZeroDivisionError")]


async def test_a_consumer_stopped_in_the_middle_of_an_effect_makes_it_after_its_restart(
    hearing: Hearing,
) -> None:
    entered = asyncio.Event()

    async def stuck(connection: Connection, event: RecordedEvent) -> None:
        await write(connection, event)
        entered.set()
        await asyncio.Event().wait()

    script = stream("entry-a", 1, 2, first_offset=1)
    async with running(hearing.consumer(ScriptedBus([script]), stuck)):
        await entered.wait()
    assert (await hearing.effects(), await hearing.cursors()) == ([], {})
    await hearing.hear(script)
    assert await hearing.effects() == [("entry-a", 1), ("entry-a", 2)]


async def test_two_consumers_of_one_name_do_not_double_an_effect(hearing: Hearing) -> None:
    pages = [stream("entry-a", *range(n, n + 5), first_offset=n) for n in range(1, 101, 5)]
    await asyncio.gather(hearing.hear(*pages), hearing.hear(*pages), hearing.hear(*pages))
    assert await hearing.effects() == [("entry-a", n) for n in range(1, 101)]
    assert (await hearing.parked(), (await hearing.cursors())[0]) == ([], 100)


async def test_a_consumer_goes_on_from_its_cursors_after_a_restart(
    hearing: Hearing, ledger: EventStore, log_bus: Callable[..., Awaitable[LogBus]]
) -> None:
    handled: list[int] = []

    async def count(connection: Connection, event: RecordedEvent) -> None:
        handled.append(event.position)
        await write(connection, event)

    for first in (1, 31):
        for n in range(first, first + 30):
            await ledger.append([to(f"entry-{n % 7}", f"{n}")])
        async with running(hearing.consumer(await log_bus(), count)):
            await hearing.until_effects(
                sorted(
                    (f"entry-{n % 7}", (n - 1) // 7 + 1 if n % 7 else n // 7) for n in range(1, first + 30)
                )
            )
    assert sorted(handled) == list(range(1, 61))


async def test_another_number_of_partitions_neither_loses_nor_doubles_an_effect(
    hearing: Hearing, ledger: EventStore, owner: asyncpg.Connection, log_bus: Callable[..., Awaitable[LogBus]]
) -> None:
    streams = [f"entry-{n}" for n in range(12)]
    await ledger.append([to(stream_id, stream_id) for stream_id in streams])
    await hearing.hear([heard("entry-0", 1, offset=1)])
    await owner.execute("DELETE FROM reader.consumer_cursors")
    # As it stands when the hub is stopped after one of four partitions was through and before the others.
    await owner.execute(
        "INSERT INTO reader.consumer_cursors"
        " SELECT 'reader', 'ledger', n, 12 * (n % 2) FROM generate_series(0, 3) n"
    )
    async with running(hearing.consumer(await log_bus(partitions=3))):
        await hearing.until_effects(sorted((stream_id, 1) for stream_id in streams))
    assert set(await hearing.cursors()) == {0, 1, 2}


# --- gaps ------------------------------------------------------------------------------------------------


async def test_a_gap_parks_its_stream_and_what_comes_later_waits_behind_while_others_flow(
    hearing: Hearing,
) -> None:
    await hearing.hear(
        [*stream("entry-a", 1, 3, first_offset=1), *stream("entry-b", 1, 2, first_offset=3)],
        [*stream("entry-a", 4, first_offset=5), *stream("entry-b", 3, first_offset=6)],
    )
    assert await hearing.effects() == [("entry-a", 1), ("entry-b", 1), ("entry-b", 2), ("entry-b", 3)]
    assert await hearing.parked() == [("entry-a", 3, "gap"), ("entry-a", 4, "behind")]
    assert (await hearing.cursors())[0] == 6


async def test_a_chain_behind_a_gap_is_applied_in_order_as_soon_as_the_missing_event_comes(
    hearing: Hearing,
) -> None:
    await hearing.hear(stream("entry-a", 1, 4, 3, first_offset=1))
    assert await hearing.parked() == [("entry-a", 3, "behind"), ("entry-a", 4, "gap")]
    bus = ScriptedBus([stream("entry-a", 2, first_offset=4)])
    async with running(hearing.consumer(bus)):
        await hearing.until_parked([])
    assert await hearing.effects_in_order() == [("entry-a", n) for n in (1, 2, 3, 4)]


# --- poison ----------------------------------------------------------------------------------------------


async def test_a_poison_event_parks_its_own_stream_and_nothing_is_discarded(hearing: Hearing) -> None:
    poison = failing(lambda effect: effect == ("entry-a", 2), Rejected())
    page = [
        *stream("entry-a", 1, 2, 3, first_offset=1),
        *stream("entry-b", 1, first_offset=4),
        *stream("entry-a", 4, first_offset=5),
        *stream("entry-b", 2, first_offset=6),
        *stream("entry-c", 1, 2, first_offset=7, partition=1),
    ]
    await hearing.hear(page, handler=poison)
    applied = [("entry-a", 1), ("entry-b", 1), ("entry-b", 2), ("entry-c", 1), ("entry-c", 2)]
    assert await hearing.effects() == applied
    chain = [("entry-a", 2, "rejected"), ("entry-a", 3, "behind"), ("entry-a", 4, "behind")]
    assert await hearing.parked() == chain
    assert await hearing.tries() == [(1, None), (0, None), (0, None)]
    await hearing.hear(page, handler=poison)
    assert (await hearing.effects(), await hearing.parked()) == (applied, chain)


@pytest.mark.parametrize(
    "message",
    [
        garbled(offset=1),
        garbled(offset=1, sequence="two"),
        garbled(offset=1, sequence="0"),
        garbled(offset=1, sequence="9" * 30),
        garbled(offset=1, id="not a uuid"),
        garbled(offset=1, subject="nul \x00"),
        garbled(offset=1, time="yesterday"),
    ],
    ids=["body", "version", "version 0", "huge version", "id", "stream", "time"],
)
async def test_an_unreadable_message_is_parked_as_it_came_and_the_rest_flows(
    hearing: Hearing, owner: asyncpg.Connection, message: Message
) -> None:
    await hearing.hear([message, *stream("entry-b", 1, first_offset=2)], [message])
    assert await hearing.effects() == [("entry-b", 1)]
    assert await hearing.parked() == [("unreadable-0-1", 1, "unreadable")]
    row = await owner.fetchrow("SELECT header_names, header_values, value FROM reader.parked")
    assert (tuple(zip(*row[:2], strict=True)), row["value"]) == (message.headers, message.value)


class Echo(Rejected):
    """A rule says no."""

    slug = "echo"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError(SECRET), "RuntimeError"),
        (Echo(SECRET, fields={"name": SECRET}), "echo"),
        (KeyError(SECRET), "KeyError"),
    ],
)
async def test_the_reason_of_a_parked_event_and_the_log_hold_no_text_of_the_exception(
    hearing: Hearing, owner: asyncpg.Connection, error: Exception, reason: str
) -> None:
    with structlog.testing.capture_logs() as logged:
        await hearing.hear(stream("entry-a", 1, first_offset=1), handler=failing(always, error))
    assert await hearing.parked() == [("entry-a", 1, reason)]
    assert SECRET not in str(logged) + str(await owner.fetch("SELECT * FROM reader.parked"))
    assert [line["reason"] for line in logged if line["event"] == "consumer.parked"] == [reason]


# --- passing errors --------------------------------------------------------------------------------------


async def test_an_error_that_passes_is_tried_again_in_line(hearing: Hearing) -> None:
    tries = iter(range(10))
    passing = failing(lambda effect: effect == ("entry-a", 2) and next(tries) < 3, Unavailable())
    await hearing.hear(stream("entry-a", 1, 2, 3, first_offset=1), handler=passing)
    assert await hearing.effects_in_order() == [("entry-a", 1), ("entry-a", 2), ("entry-a", 3)]
    assert await hearing.parked() == []


async def test_an_error_that_lasts_is_parked_with_a_next_try_and_drained_in_order_when_it_passed(
    hearing: Hearing, clock: FixedClock
) -> None:
    away = True
    lasting = failing(lambda effect: away and effect == ("entry-a", 2), Unavailable())
    bus = ScriptedBus([stream("entry-a", 1, 2, 3, first_offset=1)])
    async with running(hearing.consumer(bus, lasting)):
        await bus.dealt_with.wait()
        assert await hearing.parked() == [("entry-a", 2, "unavailable"), ("entry-a", 3, "behind")]
        assert await hearing.tries() == [(4, 5), (0, None)]
        clock.instant += timedelta(seconds=5)

        async def tried_again() -> bool:
            return await hearing.tries() == [(5, 600), (0, None)]

        await until(tried_again)
        away = False
        clock.instant += timedelta(seconds=600)
        await hearing.until_parked([])
    assert await hearing.effects_in_order() == [("entry-a", 1), ("entry-a", 2), ("entry-a", 3)]


@pytest.mark.parametrize("broken", ["an argument of the wrong kind", "a missing file", "a lost connection"])
async def test_a_handler_at_fault_in_a_way_that_looks_like_an_outage_stops_its_stream_alone(
    hearing: Hearing, owner: asyncpg.Connection, broken: str
) -> None:
    async def handle(connection: Connection, event: RecordedEvent) -> None:
        if event.stream_id == "entry-a":
            if broken == "an argument of the wrong kind":
                await connection.execute("INSERT INTO reader.effects VALUES ($1, $2)", event.stream_id, "one")
            elif broken == "a missing file":
                raise FileNotFoundError(SECRET)
            else:
                await owner.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
        await write(connection, event)

    await hearing.hear(
        [*stream("entry-a", 1, first_offset=1), *stream("entry-b", 1, first_offset=2)], handler=handle
    )
    assert await hearing.effects() == [("entry-b", 1)]
    [(stream_id, version, _reason)] = await hearing.parked()
    assert (stream_id, version) == ("entry-a", 1)
    passes = broken != "an argument of the wrong kind"
    assert await hearing.tries() == ([(4, 5)] if passes else [(1, None)])


async def crash(dsn: str) -> None:
    """The server goes down at once, as in a crash, and is gone when this returns."""
    connection = await asyncpg.connect(dsn)
    directory = Path(await connection.fetchval("SHOW data_directory"))
    await connection.close()
    postmaster = int((directory / "postmaster.pid").read_text().split("\n")[0])
    os.kill(postmaster, signal.SIGQUIT)

    async def gone() -> bool:
        return not (directory / "postmaster.pid").exists()

    await until(gone)


@pytest.mark.kills
async def test_an_outage_of_the_database_parks_nothing_and_work_goes_on_when_it_is_back(
    tmp_path: Path, clock: FixedClock
) -> None:
    with EmbeddedPostgres(DataDir.at(tmp_path)) as postgres:
        name = await create_template(postgres.dsn("postgres"), (LEDGER, READER), "outage")
        dsn = dsn_for(postgres.dsn("postgres"), name)
        pools = [await open_pool(dsn, role=role, size=8) for role in (LEDGER.role, READER.role, BUS_ROLE)]
        ledger = EventStore(pools[0], LEDGER.schema, clock)
        bus = LogBus(dsn, pools[2], clock, partitions=4)
        await bus.start()
        await ledger.append([to("entry-a", "1", "2"), to("entry-b", "3")])
        entered, stopped = asyncio.Event(), asyncio.Event()

        async def handle(connection: Connection, event: RecordedEvent) -> None:
            entered.set()
            await stopped.wait()
            await write(connection, event)

        consumer = Consumer(
            READER.name,
            LEDGER.schema,
            schema=READER.schema,
            pool=pools[1],
            bus=bus,
            handler=one_by_one(handle),
            clock=clock,
        )
        async with running(consumer):
            await entered.wait()
            await crash(dsn)
            stopped.set()
            with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
                await ledger.append([to("entry-b", "4")])
            await asyncio.to_thread(postgres.start)
            owner = await asyncpg.connect(dsn)
            hearing = Hearing(pools[1], owner, clock)
            await ledger.append([to("entry-b", "4")])
            await hearing.until_effects([("entry-a", 1), ("entry-a", 2), ("entry-b", 1), ("entry-b", 2)])
            assert await hearing.parked() == []
        await owner.close()
        await bus.close()
        for pool in pools:
            pool.terminate()


# --- stopping --------------------------------------------------------------------------------------------


async def test_told_to_stop_it_finishes_the_page_it_holds_and_asks_for_no_other(hearing: Hearing) -> None:
    holds_page, go_on, stopping = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handle(connection: Connection, event: RecordedEvent) -> None:
        holds_page.set()
        await go_on.wait()
        await write(connection, event)

    bus = ScriptedBus([stream("entry-a", 1, 2, first_offset=1), stream("entry-a", 3, first_offset=3)])
    consuming_it = asyncio.create_task(hearing.consumer(bus, handle).run(stopping))
    async with asyncio.timeout(15):
        await holds_page.wait()
        stopping.set()
        go_on.set()
        await consuming_it
    assert await hearing.effects() == [("entry-a", 1), ("entry-a", 2)]
    assert (await hearing.cursors())[0] == 2


async def test_told_to_stop_while_it_waits_it_stops_at_once(hearing: Hearing) -> None:
    bus, stopping = ScriptedBus([]), asyncio.Event()
    waiting = asyncio.create_task(hearing.consumer(bus).run(stopping))
    async with asyncio.timeout(5):
        await bus.dealt_with.wait()
        stopping.set()
        await waiting


# --- what is shown ---------------------------------------------------------------------------------------


async def test_the_metrics_say_how_far_behind_a_consumer_is_and_what_it_has_parked(
    hearing: Hearing, ledger: EventStore, clock: FixedClock, log_bus: Callable[..., Awaitable[LogBus]]
) -> None:
    def shown(name: str, **labels: str) -> float | None:
        return METRICS.get_sample_value(name, labels)

    await ledger.append([to("entry-a", "1")])
    clock.instant = NOON + timedelta(seconds=90)
    await ledger.append([to("entry-b", "2"), to("entry-c", "3")])
    release, poison = asyncio.Event(), failing(lambda effect: effect[0] == "entry-c", Rejected())

    async def handle(connection: Connection, event: RecordedEvent) -> None:
        await release.wait()
        await poison(connection, event)

    reading = {"consumer": READER.name, "source": LEDGER.schema}

    def behind() -> tuple[float | None, float | None]:
        return shown("hub_consumer_lag_events", **reading), shown("hub_consumer_lag_seconds", **reading)

    async def stuck() -> bool:
        return behind() == (3, 90)

    async def caught_up() -> bool:
        return behind() == (0, 0) and shown("hub_parked_events", consumer="reader:ledger") == 1

    async with running(hearing.consumer(await log_bus(), handle)):
        await until(stuck)
        release.set()
        await until(caught_up)
    assert await hearing.parked() == [("entry-c", 1, "rejected")]
