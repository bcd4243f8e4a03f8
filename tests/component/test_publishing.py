import asyncio
from collections.abc import Callable, Iterator

import pytest
from tests.component.ledger_service.waiting import until
from tests.contract.mock_cluster import BROKERS, MockCluster

from hub_embedded.kafka_broker import KafkaBroker
from hub_kernel.clock import new_id
from hub_kernel.kafka import KafkaAway, KafkaConnection, Publisher, RecordTooLarge, SendUnknown, TopicSpec
from hub_kernel.kafka import publishing as kafka_publishing

SPEC = TopicSpec("contacts", 1, 1, {"max.message.bytes": "2000"})


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with MockCluster() as cluster:
        cluster.create_topic(SPEC.name)
        yield cluster


@pytest.fixture
async def clients() -> Callable[[], int]:
    """How many tasks this test's producers have: one that sends, and one that knows the cluster."""
    before = asyncio.all_tasks()

    def count() -> int:
        names = [repr(task.get_coro()) for task in asyncio.all_tasks() - before]
        return sum("Sender._sender_routine" in name or "AIOKafkaClient._md_synch" in name for name in names)

    return count


async def values(connection: KafkaConnection, count: int) -> list[bytes]:
    """So many values from the topic's beginning."""
    async with connection.onlooker(SPEC.name) as (onlooker, partitions):
        onlooker.assign(list(partitions))
        await onlooker.seek_to_beginning()
        return [(await asyncio.wait_for(onlooker.getone(), 10)).value for _ in range(count)]


async def publish(publisher: Publisher, value: bytes) -> None:
    await publisher.publish(SPEC, key="k", headers=[("ce_id", b"1")], value=value)


async def test_after_a_record_the_broker_refused_for_its_size_others_are_still_sent(
    kafka: KafkaBroker, clients: Callable[[], int]
) -> None:
    connection = KafkaConnection(kafka.bootstrap, prefix=f"{new_id().hex}.")
    publisher = Publisher(connection)
    await publish(publisher, b"before")
    with pytest.raises(RecordTooLarge):
        await publish(publisher, b"x" * 4_000)
    with pytest.raises(RecordTooLarge):
        await publish(publisher, b"x" * 9_000_000)
    for value in (b"after", b"and after"):
        await publish(publisher, value)
    assert await values(connection, 3) == [b"before", b"after", b"and after"]
    await publisher.close()
    assert clients() == 0


async def test_what_nobody_could_acknowledge_is_not_sent_behind_the_back_of_whoever_was_told(
    cluster: MockCluster, clients: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_publishing, "SEND_SECONDS", 0.5)
    connection = KafkaConnection(cluster.bootstrap)
    publisher = Publisher(connection)
    await publish(publisher, b"before")
    for broker in range(1, BROKERS + 1):
        cluster.broker_down(broker)
    with pytest.raises(SendUnknown):
        await publish(publisher, b"unknown")
    assert clients() == 0
    with pytest.raises(KafkaAway):
        await publish(publisher, b"not sent")
    for broker in range(1, BROKERS + 1):
        cluster.broker_up(broker)
    await publish(publisher, b"after")
    assert await values(connection, 2) == [b"before", b"after"]
    await publisher.close()
    assert clients() == 0


async def test_who_is_cancelled_while_the_producer_starts_leaves_no_producer_behind(
    cluster: MockCluster, clients: Callable[[], int]
) -> None:
    connection = KafkaConnection(cluster.bootstrap)
    publisher = Publisher(connection)
    cluster.set_rtt(200)
    cancelled = asyncio.create_task(publish(publisher, b"cancelled"))

    async def started() -> bool:
        return clients() > 0

    await until(started)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    assert clients() == 0
    cluster.set_rtt(0)
    await publish(publisher, b"after")
    assert await values(connection, 1) == [b"after"]
    await publisher.close()
