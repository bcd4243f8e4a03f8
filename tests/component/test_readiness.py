import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.component.ledger_service.waiting import until
from tests.contract.mock_cluster import BROKERS, MockCluster

from hub_intake.service import SERVICE as INTAKE
from hub_kernel import consuming, operations
from hub_kernel.clock import new_id
from hub_kernel.kafka import bus, connection, relay
from hub_kernel.testing import RunningHub
from hub_schemas.topics import INBOUND_TOPIC, REPLIES_TOPIC, facts_topic
from hub_triage.service import SERVICE as TRIAGE

FULL = Path(__file__).parents[1] / "unit" / "intake" / "full_referral.json"
LOOPS = {"triage<-intake", "intake->kafka", "triage->kafka"}
NOBODY = "kafka://127.0.0.1:1"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Relays and members that look and try again without making a test wait."""
    monkeypatch.setattr(relay, "WATCH_SECONDS", 0.1)
    monkeypatch.setattr(relay, "START_SECONDS", 1.0)
    monkeypatch.setattr(relay, "KEEP_SECONDS", 0.05)
    monkeypatch.setattr(relay, "_LONGEST_PAUSE_SECONDS", 0.5)
    monkeypatch.setattr(connection, "START_SECONDS", 1.0)
    monkeypatch.setattr(bus, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(bus, "PROBE_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(consuming, "WAIT_SECONDS", 0.2)
    monkeypatch.setattr(consuming, "HOUSEKEEPING_SECONDS", 0.1)


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with MockCluster() as cluster:
        yield cluster


async def ready(hub: RunningHub) -> tuple[int, dict[str, Any]]:
    async with hub.client(None) as anyone:
        answer = await anyone.get("/health/ready")
    return answer.status_code, answer.json()


async def until_ready(hub: RunningHub, status: str) -> dict[str, Any]:
    """The first answer with this status."""
    body: dict[str, Any] = {}

    async def told() -> bool:
        nonlocal body
        _, body = await ready(hub)
        return bool(body["status"] == status)

    await until(told, 30)
    return body


async def test_a_process_that_cannot_reach_kafka_is_not_ready_but_not_for_ever(
    start_hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "JOINING_SECONDS", 3_600.0)
    hub = await start_hub((INTAKE, TRIAGE), bus_url=NOBODY)
    status, body = await ready(hub)
    assert (status, body["status"]) == (HTTPStatus.SERVICE_UNAVAILABLE, "not ready")
    assert body["services"] == {"intake": True, "triage": True}
    assert set(body["bus"]) == LOOPS
    monkeypatch.setattr(operations, "JOINING_SECONDS", 0.0)
    body = await until_ready(hub, "behind")
    assert {loop["state"] for loop in body["bus"].values()} <= {"away", "joining"}
    assert (await ready(hub))[0] == HTTPStatus.OK


async def test_a_process_is_ready_when_every_loop_has_reached_kafka_behind_while_it_is_away_and_ready_again(
    cluster: MockCluster, start_hub: Any, database: str
) -> None:
    prefix = f"{new_id().hex}."
    for name in (facts_topic("intake"), facts_topic("triage"), INBOUND_TOPIC, REPLIES_TOPIC):
        cluster.create_topic(f"{prefix}{name}", 2)
    hub = await start_hub((INTAKE, TRIAGE), bus_url=f"kafka://{cluster.bootstrap}", kafka_prefix=prefix)
    body = await until_ready(hub, "ready")
    assert {name: loop["state"] for name, loop in body["bus"].items()} == dict.fromkeys(LOOPS, "up")
    async with away(cluster):
        await until_ready(hub, "behind")
        assert (await ready(hub))[0] == HTTPStatus.OK

        async def all_away() -> bool:
            _, body = await ready(hub)
            return {loop["state"] for loop in body["bus"].values()} == {"away"}

        await until(all_away)
        await post(hub)
        assert await facts(database, "triage") == 0

        async def waits() -> bool:
            _, body = await ready(hub)
            return bool(body["bus"]["intake->kafka"]["events"] == 1)

        await until(waits)
    body = await until_ready(hub, "ready")

    async def graded() -> bool:
        return await facts(database, "triage") > 0

    await until(graded, 30)


@asynccontextmanager
async def away(cluster: MockCluster) -> AsyncIterator[None]:
    for broker in range(1, BROKERS + 1):
        cluster.broker_down(broker)
    try:
        yield
    finally:
        for broker in range(1, BROKERS + 1):
            cluster.broker_up(broker)


async def post(hub: RunningHub) -> None:
    async with hub.client("records_system", system="west-mercia-rms", authority="worcestershire") as rms:
        document = json.loads(FULL.read_bytes())
        async with asyncio.timeout(5):
            answer = await rms.post("/v1/referrals", json=document)
    assert answer.status_code == HTTPStatus.CREATED, answer.text


async def facts(dsn: str, log: str) -> int:
    owner = await asyncpg.connect(dsn)
    try:
        return int(await owner.fetchval(f"SELECT count(*) FROM {log}.events"))
    finally:
        await owner.close()
