"""How the hub's Kafka clients are made: where brokers are, how they are spoken to, with which bounds."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Final, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError, ProducerClosed
from aiokafka.structs import TopicPartition

from hub_kernel.errors import Unavailable
from hub_kernel.kafka.tokens import ClientCredentials
from hub_kernel.settings import Settings

MAX_MESSAGE_BYTES: Final = 8_388_608
"""Of one fact on the wire."""
LARGEST_BODY_BYTES: Final = MAX_MESSAGE_BYTES // 4
"""Of a request: what it leads to is sealed and written in base64, more than once in the worst case."""
REQUEST_SECONDS: Final = 30.0
START_SECONDS: Final = 10.0
"""To connect. Bounded here: a client whose token is refused would try for ever (aiokafka 0.14)."""
_BATCH_BYTES: Final = 1_048_576
_STOP_SECONDS: Final = 5.0
_UNDER_WAY_SECONDS: Final = 1.0
_REBALANCE_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.005
_NEVER_MS: Final = 2**31 - 1
_BROKERS: Final = re.compile(r"^kafka://([A-Za-z0-9_.\[\]:-]+:\d{1,5}(?:,[A-Za-z0-9_.\[\]:-]+:\d{1,5})*)/?$")

KAFKA_AWAY: Final = (KafkaError, OSError, TimeoutError)
"""What a broker that is away, or moved just now, raises at a client."""


class KafkaAway(Unavailable):
    """Kafka does not answer. Nothing is lost: facts wait in their logs and reading goes on when it does."""

    slug: ClassVar[str] = "kafka-away"


class KafkaMisconfigured(Unavailable):
    """The Kafka settings cannot be used: mend the setting named, then start again."""

    slug: ClassVar[str] = "kafka-misconfigured"


class KafkaConnection:
    """Makes clients for one cluster. ``prefix`` stands before every topic's and group's name."""

    def __init__(
        self, brokers: str, *, prefix: str = "", session_seconds: float = 10.0, instance: str | None = None,
        security: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.prefix, self.instance = prefix, instance
        self._session_ms = int(session_seconds * 1_000)
        self._rebalance_seconds = max(_REBALANCE_SECONDS, session_seconds)
        self._common: dict[str, Any] = {
            "bootstrap_servers": brokers,
            "client_id": instance or "referral-hub",
            "request_timeout_ms": int(REQUEST_SECONDS * 1_000),
            "retry_backoff_ms": 100,
            "metadata_max_age_ms": 60_000,
            **(security or {}),
        }

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The cluster of the settings. Raises ``KafkaMisconfigured``."""
        brokers = _BROKERS.match(settings.bus_url)
        if brokers is None:
            raise KafkaMisconfigured(fields={"HUB_BUS_URL": "must be kafka://host:port,host:port"})
        if settings.max_body_bytes > LARGEST_BODY_BYTES:
            raise KafkaMisconfigured(fields={"HUB_MAX_BODY_BYTES": f"at most {LARGEST_BODY_BYTES} on Kafka"})
        return cls(
            brokers[1],
            prefix=settings.kafka_prefix,
            session_seconds=settings.kafka_session_seconds,
            instance=settings.instance,
            security=_security(settings),
        )

    @property
    def join_seconds(self) -> float:
        """To connect and be given partitions: a group first waits for a member that died."""
        return START_SECONDS + self._rebalance_seconds

    def topic(self, name: str) -> str:
        """A topic's full name."""
        return f"{self.prefix}{name}"

    def producer(self) -> AIOKafkaProducer:
        """An idempotent producer whose records are acknowledged by every in-sync replica."""
        return AIOKafkaProducer(
            **self._common,
            enable_idempotence=True,
            acks="all",
            max_batch_size=_BATCH_BYTES,
            max_request_size=MAX_MESSAGE_BYTES,
        )

    def member(self, group: str, topic: str, listener: ConsumerRebalanceListener) -> AIOKafkaConsumer:
        """A member of a consumer group, subscribed to one topic."""
        consumer = self._consumer(
            group_id=f"{self.prefix}{group}",
            group_instance_id=self.instance,
            session_timeout_ms=self._session_ms,
            heartbeat_interval_ms=max(300, self._session_ms // 10),
            rebalance_timeout_ms=int(self._rebalance_seconds * 1_000),
            # Never idle, however long an effect takes: a member once idle may not rejoin (aiokafka 1187).
            max_poll_interval_ms=_NEVER_MS,
            # Not the sticky one: it keeps its state in its class, and a process has members of many groups.
            partition_assignment_strategy=(RangePartitionAssignor,),
        )
        consumer.subscribe([self.topic(topic)], listener=listener)
        return consumer

    @asynccontextmanager
    async def onlooker(self, topic: str) -> AsyncIterator[tuple[AIOKafkaConsumer, set[TopicPartition]]]:
        """A consumer without a group, to look at ends and single records; and the topic's partitions.

        None of them when there is no such topic. Raises ``KafkaAway``.
        """
        name = self.topic(topic)
        consumer = self._consumer()
        try:
            async with asyncio.timeout(START_SECONDS):
                await consumer.start()
                partitions: set[TopicPartition] = set()
                if name in await consumer.topics():
                    _look_at(consumer, {TopicPartition(name, 0)})  # so that it asks for the topic's metadata
                    while not (numbers := consumer.partitions_for_topic(name)):  # noqa: ASYNC110
                        await asyncio.sleep(_LOOK_SECONDS)
                    partitions = {TopicPartition(name, number) for number in numbers}
                    _look_at(consumer, partitions)
            yield consumer, partitions
        except KAFKA_AWAY as error:
            raise KafkaAway from error
        finally:
            await end_quietly(consumer)

    @asynccontextmanager
    async def raw(self) -> AsyncIterator[AIOKafkaClient]:
        """A client that sends single requests. Raises ``KafkaError``, ``OSError``, ``TimeoutError``."""
        client = AIOKafkaClient(**self._common)
        try:
            async with asyncio.timeout(START_SECONDS):
                await client.bootstrap()
            yield client
        finally:
            await client.close()

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        """A client that may make topics. Raises ``KafkaAway``."""
        client = AIOKafkaAdminClient(**self._common)
        try:
            async with asyncio.timeout(START_SECONDS):
                await client.start()
            yield client
        except (*KAFKA_AWAY, AttributeError) as error:
            # AttributeError: what aiokafka 0.14 makes of a broker that refused its token.
            raise KafkaAway from error
        finally:
            await client.close()

    def _consumer(self, **options: Any) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **self._common,
            **options,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            max_partition_fetch_bytes=MAX_MESSAGE_BYTES,
            fetch_max_wait_ms=500,
        )


def _look_at(consumer: AIOKafkaConsumer, partitions: set[TopicPartition]) -> None:
    """Have these partitions in view and fetch nothing from them."""
    consumer.assign(list(partitions))
    consumer.pause(*partitions)


_stopping: Final[set["asyncio.Task[None]"]] = set()


async def end_quietly(client: AIOKafkaConsumer) -> None:
    """Stop a client; one that takes long stops by itself, and is not waited for.

    In a task of its own: without brokers aiokafka's stop may raise cancellations nobody asked for, which
    would end whoever called. Cut off, it leaves heartbeats that keep a group's partitions for ever (0.14).
    """
    stopping = asyncio.create_task(client.stop(), name="kafka-client-stopping")
    _stopping.add(stopping)
    stopping.add_done_callback(_stopped)
    await asyncio.wait({stopping}, timeout=_STOP_SECONDS)


def _stopped(stopping: "asyncio.Task[None]") -> None:
    _stopping.discard(stopping)
    retrieve(stopping)


async def drop(producer: AIOKafkaProducer) -> None:
    """Stop a producer without sending what it has not sent yet. Safe to repeat.

    aiokafka's own stop sends all of it first; and cut off, it leaves a task that sends it whenever brokers
    are back, however much was sent anew meanwhile (0.14).
    """
    sending = producer._sender.sender_task  # noqa: SLF001  there is no other way to it
    for _ in range(2):  # cancelled once, it waits for requests under way; twice, it does not
        if sending is not None and not sending.done():
            sending.cancel()
            await asyncio.wait({sending}, timeout=_UNDER_WAY_SECONDS)
    accumulator = producer._message_accumulator  # noqa: SLF001
    waiting = [batch for batches in accumulator._batches.values() for batch in batches]  # noqa: SLF001
    accumulator.fail_all(ProducerClosed())
    for batch in waiting:
        retrieve(batch._drain_waiter)  # noqa: SLF001
    await asyncio.wait({asyncio.create_task(producer.stop())}, timeout=_STOP_SECONDS)


def retrieve(future: "asyncio.Future[Any]") -> None:
    """Take note of a future's error, so that asyncio does not complain that nobody did."""
    if not future.cancelled():
        future.exception()


def _security(settings: Settings) -> dict[str, Any]:
    options: dict[str, Any] = {"security_protocol": settings.kafka_security.upper()}
    if settings.kafka_security.endswith("ssl"):
        options["ssl_context"] = _ssl_context(settings)
    if settings.kafka_security.startswith("sasl"):
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        if settings.kafka_sasl_mechanism == "OAUTHBEARER":
            options["sasl_oauth_token_provider"] = _credentials(settings)
        else:
            if settings.kafka_username is None or settings.kafka_password is None:
                raise KafkaMisconfigured(fields={"HUB_KAFKA_USERNAME, HUB_KAFKA_PASSWORD": "are missing"})
            options["sasl_plain_username"] = settings.kafka_username
            options["sasl_plain_password"] = settings.kafka_password.get_secret_value()
    return options


def _ssl_context(settings: Settings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.kafka_ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise KafkaMisconfigured(fields={"HUB_KAFKA_CA_FILE": "cannot be read as PEM"}) from error
    if settings.kafka_cert_file is not None:
        try:
            # A password is given, wrong as it is: without one, OpenSSL would ask the terminal and wait.
            context.load_cert_chain(settings.kafka_cert_file, settings.kafka_key_file, password="")
        except OSError as error:
            wrong = "cannot be read as PEM of one certificate and its key, without a password"
            raise KafkaMisconfigured(fields={"HUB_KAFKA_CERT_FILE, HUB_KAFKA_KEY_FILE": wrong}) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _credentials(settings: Settings) -> ClientCredentials:
    if settings.kafka_token_url is None or settings.kafka_client_id is None:
        raise KafkaMisconfigured(fields={"HUB_KAFKA_TOKEN_URL, HUB_KAFKA_CLIENT_ID": "are missing"})
    secret = settings.kafka_client_secret
    return ClientCredentials(
        settings.kafka_token_url, settings.kafka_client_id, secret.get_secret_value() if secret else ""
    )
