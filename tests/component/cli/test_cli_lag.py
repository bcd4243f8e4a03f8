import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import pytest

from hub_embedded.kafka_broker import KafkaBroker
from hub_embedded.services import SERVICES
from hub_kernel.clock import SystemClock, new_id
from hub_kernel.database import open_pool
from hub_kernel.kafka import KafkaConnection, Relay, facts_spec
from hub_kernel.wakeups import Wakeups

INTAKE_FACTS, TRIAGE_FACTS = 7, 3


def consumer(service: str, source: str, events: int, parked: int = 0, name: str = "") -> dict[str, Any]:
    return {
        "kind": "consumer", "service": service, "name": name or service, "source": source,
        "events": events, "parked": parked, "is_running": None,
    }  # fmt: skip


def relay(schema: str, service: str, events: int, *, is_running: bool) -> dict[str, Any]:
    return {
        "kind": "relay", "service": service, "name": f"hub.{schema}.facts.v1", "source": schema,
        "events": events, "parked": None, "is_running": is_running,
    }  # fmt: skip


def rows(out: str) -> tuple[list[dict[str, Any]], list[float]]:
    """What was listed without the seconds, and the seconds."""
    found = [json.loads(line) for line in out.splitlines()]
    seconds = [row.pop("seconds") for row in found]
    return found, seconds


async def at(story: Any, schema: str, source: str, positions: dict[int, int]) -> None:
    """A consumer of this schema has got so far."""
    connection = await asyncpg.connect(story.dsn)
    name = schema.replace("_", "-")
    await connection.executemany(
        f"INSERT INTO {schema}.consumer_cursors VALUES ($1, $2, $3, $4)",
        [(name, source, partition, position) for partition, position in positions.items()],
    )
    await connection.close()


async def park_one(story: Any) -> None:
    connection = await asyncpg.connect(story.dsn)
    await connection.execute(
        """INSERT INTO oversight.parked VALUES
           ('oversight', 'triage', 's', 1, 0, 1, '{}', '{}', '', 'rejected', 1, now(), NULL)"""
    )
    await connection.close()


async def test_on_the_log_bus_every_consumer_is_listed_also_those_that_never_ran(story: Any) -> None:
    await at(story, "triage", "intake", {0: 7, 1: 5})
    await at(story, "partner_gateway", "triage", {0: 3, 1: 3})
    await park_one(story)
    code, out, error = await story.hub("lag", "--json")
    listed, seconds = rows(out)
    assert (code, error) == (0, "")
    assert listed == [
        consumer("triage", "intake", 2),
        consumer("partner-gateway", "intake", INTAKE_FACTS),
        consumer("partner-gateway", "triage", 0),
        consumer("oversight", "intake", INTAKE_FACTS),
        consumer("oversight", "triage", TRIAGE_FACTS, parked=1),
        consumer("oversight", "partner_gateway", 0),
    ]
    assert [value > 0 for value in seconds] == [row["events"] > 0 for row in listed]


async def test_the_table_says_the_same_and_too_far_behind_ends_with_1(story: Any) -> None:
    await at(story, "triage", "intake", {0: 7, 1: 5})
    code, out, error = await story.hub("lag", "--seconds", "60")
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
    assert (code, error) == (1, "")
    assert [cell for number, cell in enumerate(cells[0]) if number != 4] == [
        "triage", "consumer", "intake", "2", "0", "",
    ]  # fmt: skip
    assert float(cells[0][4].replace(",", "")) > 60
    assert len(cells) == 6


async def test_who_is_not_behind_is_well(recorded: Any) -> None:
    code, out, _ = await recorded.hub("lag", "--seconds", "0", "--json")
    assert (code, {row["events"] for row in rows(out)[0]}) == (0, {0})


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[None]:
    """A relay that has published all there is, and still runs."""
    task = asyncio.create_task(relay.run())
    async with asyncio.timeout(30):
        while (await relay.lag()).events:  # noqa: ASYNC110  it is another task's work
            await asyncio.sleep(0.02)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def relayed(story: Any, kafka: KafkaBroker) -> Any:
    """The story on Kafka: intake's log published by a relay that has ended, triage's by one that runs."""
    connection = KafkaConnection(kafka.bootstrap, prefix=f"{new_id().hex}.")
    settings = {"HUB_BUS_URL": f"kafka://{kafka.bootstrap}", "HUB_KAFKA_PREFIX": connection.prefix}
    wakeups, pools = Wakeups(story.dsn), []
    relays = {}
    for schema in ("intake", "triage"):
        pools.append(await open_pool(story.dsn, role=f"hub_{schema}", size=2))
        spec = facts_spec(schema, 2, 1)
        relays[schema] = Relay(pools[-1], schema, spec, connection, wakeups, SystemClock())
    yield story, settings, relays
    await wakeups.close()
    for pool in pools:
        pool.terminate()


async def test_on_kafka_relays_are_listed_too_and_inbound(relayed: Any) -> None:
    story, settings, relays = relayed
    async with running(relays["intake"]):
        pass
    await at(story, "triage", "intake", {0: 1})
    async with running(relays["triage"]):
        code, out, error = await story.hub("lag", "--json", **settings)

    listed, seconds = rows(out)
    assert (code, error) == (0, "")
    assert listed == [
        consumer("intake", "referrals.inbound", 0),
        relay("intake", "intake", 0, is_running=False),
        consumer("triage", "intake", INTAKE_FACTS - 1),
        relay("triage", "triage", 0, is_running=True),
        consumer("partner-gateway", "intake", INTAKE_FACTS),
        consumer("partner-gateway", "triage", TRIAGE_FACTS),
        relay("partner_gateway", "partner-gateway", 0, is_running=False),
        consumer("oversight", "intake", INTAKE_FACTS),
        consumer("oversight", "triage", TRIAGE_FACTS),
        consumer("oversight", "partner_gateway", 0),
        relay("oversight", "oversight", 0, is_running=False),
    ]
    assert [value > 60 for value in seconds] == [row["events"] > 0 for row in listed]


async def test_what_no_relay_has_published_yet_is_counted(relayed: Any) -> None:
    story, settings, _ = relayed
    code, out, _ = await story.hub("lag", "--json", "--seconds", "60", **settings)
    relays = [row for row in rows(out)[0] if row["kind"] == "relay"]
    assert (code, relays[0]) == (1, relay("intake", "intake", INTAKE_FACTS, is_running=False))


async def test_a_broker_that_does_not_answer_is_told_in_one_line(recorded: Any) -> None:
    code, out, error = await recorded.hub("lag", HUB_BUS_URL="kafka://127.0.0.1:1", HUB_LOG_LEVEL="ERROR")
    assert (code, out, error.splitlines()[-1].startswith("Kafka does not answer.")) == (1, "", True)


async def test_what_services_say_they_hear_is_what_they_hear(start_hub: Any) -> None:
    hub = await start_hub()
    heard = {
        name: tuple(consumer.source for consumer in parts.consumers) for name, parts in hub.hub.parts.items()
    }
    assert heard == {service.name: service.hears for service in SERVICES}
