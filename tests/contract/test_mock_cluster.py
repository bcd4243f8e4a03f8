import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import NotLeaderForPartitionError
from tests.contract.mock_cluster import (
    BROKERS,
    NOT_ENOUGH_REPLICAS,
    NOT_LEADER,
    PRODUCE,
    REQUEST_TIMED_OUT,
    MockCluster,
)

TOPIC, BACKOFF_MS = "facts", 20


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with MockCluster() as cluster:
        cluster.create_topic(TOPIC, partitions=2)
        yield cluster


@asynccontextmanager
async def producing(cluster: MockCluster) -> AsyncIterator[AIOKafkaProducer]:
    async with AIOKafkaProducer(
        bootstrap_servers=cluster.bootstrap, enable_idempotence=True, retry_backoff_ms=BACKOFF_MS, linger_ms=1
    ) as producer:
        yield producer


async def heard(cluster: MockCluster, count: int, partition: int = 0) -> list[bytes]:
    """The first records of the partition, as a group of one member hears them."""
    async with AIOKafkaConsumer(
        TOPIC,
        bootstrap_servers=cluster.bootstrap,
        group_id="listeners",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    ) as consumer:
        values: list[bytes] = []
        async with asyncio.timeout(30):
            while len(values) < count:
                polled = await consumer.getmany(timeout_ms=200)
                values += [record.value for record in polled.get(TopicPartition(TOPIC, partition), [])]
        return values


async def send(producer: AIOKafkaProducer, number: int) -> None:
    await producer.send_and_wait(TOPIC, str(number).encode(), partition=0)


def numbers(count: int) -> list[bytes]:
    return [str(number).encode() for number in range(count)]


async def test_a_record_is_heard_by_a_group_of_one_with_its_key_and_headers(cluster: MockCluster) -> None:
    async with producing(cluster) as producer:
        await producer.send_and_wait(TOPIC, b"value", key=b"key", partition=1, headers=[("ce_id", b"1")])
    async with AIOKafkaConsumer(
        TOPIC, bootstrap_servers=cluster.bootstrap, group_id="listeners", auto_offset_reset="earliest"
    ) as consumer:
        record = await asyncio.wait_for(consumer.getone(), 30)
        await consumer.commit({TopicPartition(TOPIC, 1): record.offset + 1})
        committed = await consumer.committed(TopicPartition(TOPIC, 1))
    assert (record.key, record.value, record.headers, committed) == (b"key", b"value", (("ce_id", b"1"),), 1)


async def test_a_leader_that_moves_under_load_costs_no_record_and_no_order(cluster: MockCluster) -> None:
    async with producing(cluster) as producer:
        for number in range(60):
            if number % 20 == 10:
                cluster.set_leader(TOPIC, 0, 1 + number // 20)
            await send(producer, number)
        leader = producer.client.cluster.leader_for_partition(TopicPartition(TOPIC, 0))
    assert (leader, await heard(cluster, 60)) == (3, numbers(60))


@pytest.mark.parametrize("code", [NOT_LEADER, REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS])
async def test_an_injected_error_is_answered_once_each_and_overcome_by_a_retry(
    code: int, cluster: MockCluster
) -> None:
    async with producing(cluster) as producer:
        cluster.push_errors(PRODUCE, code, code)
        started = asyncio.get_running_loop().time()
        for number in range(3):
            await send(producer, number)
        assert asyncio.get_running_loop().time() - started >= 2 * BACKOFF_MS / 1000
    assert await heard(cluster, 3) == numbers(3)


async def test_an_error_reaches_a_client_that_has_no_time_to_retry(cluster: MockCluster) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=cluster.bootstrap, request_timeout_ms=400, retry_backoff_ms=BACKOFF_MS
    ) as producer:
        await send(producer, 0)
        cluster.push_errors(PRODUCE, *[NOT_LEADER] * 200)
        with pytest.raises(NotLeaderForPartitionError):
            await send(producer, 1)


async def test_a_time_without_any_broker_only_delays(cluster: MockCluster) -> None:
    async with producing(cluster) as producer:
        await send(producer, 0)
        for broker in range(1, BROKERS + 1):
            cluster.broker_down(broker)
        sending = asyncio.create_task(send(producer, 1))
        done, _ = await asyncio.wait([sending], timeout=2)
        assert not done
        for broker in range(1, BROKERS + 1):
            cluster.broker_up(broker)
        await asyncio.wait_for(sending, 30)
    assert await heard(cluster, 2) == numbers(2)


async def test_a_round_trip_takes_as_long_as_it_is_told_to(cluster: MockCluster) -> None:
    async with producing(cluster) as producer:
        await send(producer, 0)
        cluster.set_rtt(300)
        started = asyncio.get_running_loop().time()
        await send(producer, 1)
        assert asyncio.get_running_loop().time() - started > 0.28


def test_a_call_that_makes_no_sense_is_refused_with_a_reason(cluster: MockCluster) -> None:
    with pytest.raises(ValueError, match="Broker not available"):
        cluster.broker_down(9)
