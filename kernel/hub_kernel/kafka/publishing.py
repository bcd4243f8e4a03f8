"""Single records on topics other than the facts': replies to records systems, contacts for partners."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import ClassVar, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from hub_kernel.errors import Malformed, Unavailable
from hub_kernel.kafka.connection import KAFKA_AWAY, START_SECONDS, KafkaAway, KafkaConnection, drop, retrieve
from hub_kernel.kafka.topics import TopicSpec, ensure_topics
from hub_schemas.envelope import Header

SEND_SECONDS: Final = 15.0
_STOP_SECONDS: Final = 5.0


class RecordTooLarge(Malformed):
    """This is larger than a record on Kafka may be (8 MiB). It was not sent; send less, or another way."""

    slug: ClassVar[str] = "record-too-large"


class SendUnknown(Unavailable):
    """Nobody can say whether Kafka took this. Send the same again under the same id: readers know repeats."""

    slug: ClassVar[str] = "send-unknown"


class Publisher:
    """Sends records one by one, each acknowledged by every in-sync replica before it counts as sent."""

    def __init__(self, connection: KafkaConnection) -> None:
        self._connection = connection
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._made: set[str] = set()

    async def publish(self, spec: TopicSpec, *, key: str, headers: Sequence[Header], value: bytes) -> None:
        """Send one record; the topic is made if it is missing.

        Raises ``KafkaAway`` when it certainly was not sent, ``SendUnknown`` when it may have been,
        ``RecordTooLarge``, ``TopicNotMade``.
        """
        producer = await self._started(spec)
        try:
            # Bounded: without brokers, aiokafka waits here for room and for metadata.
            async with asyncio.timeout(SEND_SECONDS):
                acknowledged = await producer.send(
                    self._connection.topic(spec.name), value, key.encode(), headers=list(headers)
                )
        except MessageSizeTooLargeError as error:
            raise RecordTooLarge from error
        except KAFKA_AWAY as error:
            raise KafkaAway from error
        acknowledged.add_done_callback(retrieve)
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await asyncio.shield(acknowledged)
        except (TimeoutError, KafkaError) as error:
            # Its records are numbered: after one that was refused, brokers take no other from it.
            await self._drop(producer)
            if isinstance(error, MessageSizeTooLargeError):
                raise RecordTooLarge from error
            raise SendUnknown from error

    async def close(self) -> None:
        """Send what is under way and stop. Safe to repeat."""
        if (producer := self._producer) is not None:
            self._producer = None
            with contextlib.suppress(*KAFKA_AWAY):
                async with asyncio.timeout(_STOP_SECONDS):
                    await producer.stop()

    async def _drop(self, producer: AIOKafkaProducer) -> None:
        """Send no more with this one: what it still holds counts as unknown, and comes again."""
        if self._producer is producer:
            self._producer = None
        await drop(producer)

    async def _started(self, spec: TopicSpec) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = self._connection.producer()
                try:
                    async with asyncio.timeout(START_SECONDS):
                        await producer.start()
                    self._producer = producer
                except KAFKA_AWAY as error:
                    raise KafkaAway from error
                finally:
                    if self._producer is not producer:
                        await drop(producer)
            if spec.name not in self._made:
                await ensure_topics(self._connection, [spec])
                self._made.add(spec.name)
            return self._producer
