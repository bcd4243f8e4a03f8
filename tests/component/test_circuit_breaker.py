from collections.abc import Sequence
from datetime import timedelta

import asyncpg
import pytest
import structlog
from prometheus_client import REGISTRY as METRICS
from tests.component.ledger_service import LEDGER, READER
from tests.component.ledger_service.hearing import Hearing, always, failing, running, write
from tests.component.ledger_service.scripted_bus import PARTITIONS, ScriptedBus, heard
from tests.component.ledger_service.waiting import until

from hub_kernel import consuming
from hub_kernel.clock import FixedClock
from hub_kernel.database import Connection
from hub_kernel.errors import Conflict, Rejected, Unavailable
from hub_kernel.ports import Message
from hub_schemas.envelope import RecordedEvent

pytestmark = pytest.mark.usefixtures("no_pauses")

STREAMS = [f"entry-{n:02}" for n in range(50)]
VERSIONS = (1, 2, 3)
ALL = sorted((stream_id, version) for stream_id in STREAMS for version in VERSIONS)


class Dependency:
    """A part that the handler needs, there or away; it counts how often it was asked in vain."""

    def __init__(self, error: Exception) -> None:
        self.error, self.away, self.asked_in_vain = error, True, 0

    async def handle(self, connection: Connection, event: RecordedEvent) -> None:
        """Make the effect, then ask for what is not there."""
        await write(connection, event)
        if self.away:
            self.asked_in_vain += 1
            raise self.error

    async def until_asked_again(self, times: int) -> None:
        """Return when it was asked in vain so many times more."""
        enough = self.asked_in_vain + times

        async def asked() -> bool:
            return self.asked_in_vain >= enough

        await until(asked)


def script(streams: Sequence[str] = STREAMS, versions: Sequence[int] = VERSIONS) -> list[list[Message]]:
    """Every stream's first event, then every second one, over all partitions, in pages of forty."""
    messages = [
        heard(stream_id, version, offset=1 + len(streams) * turn + n, partition=n % PARTITIONS)
        for turn, version in enumerate(versions)
        for n, stream_id in enumerate(streams)
    ]
    return [messages[n : n + 40] for n in range(0, len(messages), 40)]


def circuit_open() -> float | None:
    return METRICS.get_sample_value(
        "hub_consumer_circuit_open", {"consumer": READER.name, "source": LEDGER.schema}
    )


async def until_circuit_is(state: int) -> None:
    async def there() -> bool:
        return circuit_open() == state

    await until(there)


async def until_two_are_parked(hearing: Hearing) -> None:
    """The third opened it while the second may still have been on its way into the table."""

    async def there() -> bool:
        return len(await hearing.parked()) >= 2

    await until(there)


@pytest.mark.parametrize("error", [Unavailable(), ConnectionRefusedError(), TimeoutError()], ids=repr)
async def test_while_a_dependency_is_away_two_streams_park_and_then_everything_is_applied_in_order(
    hearing: Hearing, error: Exception
) -> None:
    dependency = Dependency(error)
    bus = ScriptedBus(script())
    with structlog.testing.capture_logs() as logged:
        async with running(hearing.consumer(bus, dependency.handle)):
            await until_circuit_is(1)
            await until_two_are_parked(hearing)
            await dependency.until_asked_again(20)
            assert (len(await hearing.parked()), await hearing.effects()) == (2, [])
            dependency.away = False
            await hearing.until_effects(ALL)
            await hearing.until_parked([])
            await bus.dealt_with.wait()
    made = await hearing.effects_in_order()
    assert {s: [v for stream, v in made if stream == s] for s in STREAMS} == {s: [1, 2, 3] for s in STREAMS}
    told = [(line["event"], line.get("reason")) for line in logged if "circuit" in line["event"]]
    reason = error.slug if isinstance(error, Unavailable) else type(error).__name__
    assert told == [("consumer.circuit_opened", reason), ("consumer.circuit_closed", None)]
    assert circuit_open() == 0


@pytest.mark.parametrize("error", [Rejected(), ZeroDivisionError(), Conflict()], ids=repr)
async def test_a_storm_of_what_is_wrong_with_single_events_parks_each_and_opens_nothing(
    hearing: Hearing, error: Exception
) -> None:
    reason = getattr(error, "slug", type(error).__name__)
    with structlog.testing.capture_logs() as logged:
        await hearing.hear(*script(versions=(1,)), handler=failing(always, error))
    assert await hearing.parked() == [(stream_id, 1, reason) for stream_id in STREAMS]
    assert [line for line in logged if line["event"] == "consumer.circuit_opened"] == []


async def test_poison_met_while_it_is_open_is_parked_and_the_outage_waited_out(hearing: Hearing) -> None:
    dependency = Dependency(Unavailable())
    poisonous: set[str] = set()

    async def handle(connection: Connection, event: RecordedEvent) -> None:
        if circuit_open() and len(poisonous) < 3:
            poisonous.add(event.stream_id)
        if event.stream_id in poisonous:
            raise Rejected
        await dependency.handle(connection, event)

    async with running(hearing.consumer(ScriptedBus(script(versions=(1,))), handle)):
        await until_circuit_is(1)
        await until_two_are_parked(hearing)
        await dependency.until_asked_again(10)
        chain = [(stream_id, 1, "rejected") for stream_id in sorted(poisonous)]
        parked = await hearing.parked()
        assert [row for row in parked if row[2] == "rejected"] == chain
        assert (len(chain), len(parked)) == (3, 5)
        dependency.away = False
        await hearing.until_effects([(s, 1) for s in STREAMS if s not in poisonous])
        await hearing.until_parked(chain)


async def test_events_that_alone_fail_like_an_outage_hold_the_others_up_for_so_many_tries_only(
    hearing: Hearing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consuming, "HELD_TRIES", 3)
    slow = failing(lambda effect: effect[0] in {"entry-a", "entry-b", "entry-c"}, TimeoutError())
    await hearing.hear(
        [heard(f"entry-{name}", 1, offset=n) for n, name in enumerate("abcd", 1)], handler=slow
    )
    assert await hearing.effects() == [("entry-d", 1)]
    assert await hearing.parked() == [(f"entry-{name}", 1, "TimeoutError") for name in "abc"]
    assert circuit_open() == 0


async def test_a_parked_stream_that_succeeds_closes_it_when_the_event_waited_on_is_itself_at_fault(
    hearing: Hearing, clock: FixedClock
) -> None:
    dependency = Dependency(Unavailable())

    async def handle(connection: Connection, event: RecordedEvent) -> None:
        if event.stream_id == "entry-c":
            raise TimeoutError
        await dependency.handle(connection, event)

    page = [heard(f"entry-{name}", 1, offset=n) for n, name in enumerate("abcd", 1)]
    bus = ScriptedBus([page])
    async with running(hearing.consumer(bus, handle)):
        await until_circuit_is(1)
        dependency.away = False
        clock.instant += timedelta(seconds=5)
        await bus.dealt_with.wait()
        await hearing.until_parked([("entry-c", 1, "TimeoutError")])
    assert await hearing.effects() == [("entry-a", 1), ("entry-b", 1), ("entry-d", 1)]


async def test_a_consumer_cancelled_while_it_is_open_goes_on_when_it_runs_again(hearing: Hearing) -> None:
    dependency = Dependency(Unavailable())
    [page] = script(STREAMS[:30], versions=(1,))
    consumer = hearing.consumer(ScriptedBus([page, page]), dependency.handle)
    async with running(consumer):
        await until_circuit_is(1)
        await until_two_are_parked(hearing)
    async with running(consumer):
        await dependency.until_asked_again(5)
        assert len(await hearing.parked()) == 2
        dependency.away = False
        await hearing.until_effects([(stream_id, 1) for stream_id in STREAMS[:30]])
        await hearing.until_parked([])


async def test_an_outage_of_our_own_database_opens_nothing(
    hearing: Hearing, owner: asyncpg.Connection
) -> None:
    lost = 0

    async def handle(connection: Connection, event: RecordedEvent) -> None:
        nonlocal lost
        if lost < 3:
            lost += 1
            await owner.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
        await write(connection, event)

    with structlog.testing.capture_logs() as logged:
        await hearing.hear(*script(STREAMS[:3], versions=(1,)), handler=handle)
    assert (lost, await hearing.parked(), len(await hearing.effects())) == (3, [], 3)
    assert [line for line in logged if line["event"] == "consumer.circuit_opened"] == []
