"""The worker that hears the inbound topic: each message is taken in or parked, then answered, then behind us.

Messages of one partition are handled in their order, partitions side by side. The cursor moves last, with
what is parked, in one transaction: a process that dies before it handles the same messages again, which
records nothing twice, and answers them again under the same reply ids. A message is never waited for longer
than a part we need is away: what our database answers to, and still fails, is parked.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Final
from uuid import uuid5

import asyncpg
import structlog

from hub_intake.api.by_bus.keeping import Keeping, SenderUnknown, own_id_of
from hub_intake.api.by_bus.messages import Named, named
from hub_intake.api.by_bus.replies import Reply, accepted, refused
from hub_intake.api.by_bus.taking import Taking
from hub_intake.api.by_bus.topics import inbound_spec, replies_spec
from hub_intake.api.receiving import Sender
from hub_kernel import metrics
from hub_kernel.consuming import PAGE_MESSAGES, PARKED_RETRY_SECONDS, WAIT_SECONDS
from hub_kernel.errors import HubError, Unavailable
from hub_kernel.event_store import WrongExpectedVersion
from hub_kernel.failpoints import failpoint
from hub_kernel.inbox import Inbox, ParkedEvent
from hub_kernel.kafka import KafkaBus, Publisher
from hub_kernel.kafka.bus import KafkaSubscription
from hub_kernel.ports import BeganAgain, Message
from hub_kernel.service import ServiceContext
from hub_kernel.verdicts import OUTAGE, dependency_away, reason_of

_log = structlog.get_logger(__name__)

SOURCE: Final = "referrals.inbound"
TRY_SECONDS: Final = 30.0
"""How long one try of one message may take."""
INLINE_RETRY_SECONDS: Final = (0.05, 0.2, 0.8, 2.0)
OUTAGE_PAUSE_SECONDS: Final = 0.5
HOUSEKEEPING_SECONDS: Final = 2.0
RETRIED_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class _Settled:
    """What became of one message. ``parked`` if it was refused; ``passes``: it may yet go well by itself."""

    reply: Reply
    parked: ParkedEvent | None = None
    passes: bool = False


class Inbound:
    """Hears what records systems post by bus, in this service's name."""

    def __init__(
        self, context: ServiceContext, kafka: KafkaBus, publisher: Publisher, taking: Taking
    ) -> None:
        self._context, self._kafka, self._publisher, self._taking = context, kafka, publisher, taking
        self._pool, self._clock = context.pool, context.clock
        self._inbox = Inbox(context.schema, context.name, SOURCE)
        self._keeping = Keeping(context.keyring)
        settings = context.settings
        self._topic = inbound_spec(settings.bus_partitions, settings.kafka_replication)
        self._replies = replies_spec(settings.bus_partitions, settings.kafka_replication)

    async def run(self) -> None:
        """Hear until cancelled. What is under way when cancelled is handled again, which does no harm."""
        subscription = self._kafka.subscribe_topic(self._context.name, SOURCE, self._topic, self._cursors)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._housekeeping(subscription))
                while True:
                    await self._next_page(subscription)
        finally:
            await subscription.close()

    async def _cursors(self, _partitions: Sequence[int]) -> Mapping[int, int]:
        try:
            async with self._pool.acquire() as connection:
                return await self._inbox.cursors(connection)
        except OUTAGE as error:
            raise Unavailable from error

    async def _next_page(self, subscription: KafkaSubscription) -> None:
        try:
            page = await subscription.fetch(PAGE_MESSAGES, WAIT_SECONDS)
        except BeganAgain:
            _log.error("inbound.topic_began_again")
            async with self._pool.acquire() as connection:
                await self._inbox.forget_cursors(connection)
            return
        except Unavailable:
            await self._wait()
            return
        lanes = groupby(sorted(page.messages, key=lambda m: m.partition), key=lambda m: m.partition)
        await asyncio.gather(
            *(self._lane(partition, list(messages), page.through[partition]) for partition, messages in lanes)
        )

    async def _lane(self, partition: int, messages: Sequence[Message], through: int) -> None:
        """Settle one partition's messages in order, answer them, put them behind us."""
        settled = [await self._settle(message) for message in messages]
        failpoint("inbound.before_reply")
        await asyncio.gather(*(self._answer(one.reply) for one in settled))
        failpoint("inbound.before_cursor")
        await self._put_behind(partition, settled, through)
        for one in settled:
            self._count(one.reply.content.outcome)
            if one.parked is not None:
                _log.warning("inbound.parked", reason=one.parked.reason, stream_id=one.parked.stream_id)

    # --- one message --------------------------------------------------------------------------------------

    async def _settle(self, message: Message) -> _Settled:
        """Take a message in, or seal it for parking; for as long as our database is away, wait."""
        names = named(message, self._taking.max_body_bytes)
        refusal: Exception | None = None
        tries = 0
        while True:
            try:
                async with asyncio.timeout(TRY_SECONDS):
                    if refusal is None:
                        receipt = await self._taking.take(message, self._taking.sender(message))
                        return _Settled(accepted(names.own_id, names.message_id, receipt))
                    return await self._refuse(message, names, refusal, tries)
            except Exception as error:  # noqa: BLE001  whatever it is, it must not stop the others
                if refusal is not None or await self._is_away(error):
                    await self._wait(error)
                    continue
                tries += 1
                if _passes(error) and tries <= len(INLINE_RETRY_SECONDS):
                    await asyncio.sleep(INLINE_RETRY_SECONDS[tries - 1])
                else:
                    refusal = error

    async def _refuse(self, message: Message, names: Named, error: Exception, tries: int) -> _Settled:
        parked = await self._keeping.sealed(
            message,
            names,
            self._sender(message),
            reason=reason_of(error),
            attempts=tries,
            now=self._clock.now(),
        )
        return _Settled(refused(names.own_id, names.message_id, error), parked, _passes(error))

    def _sender(self, message: Message) -> Sender | None:
        try:
            return self._taking.sender(message)
        except HubError:
            return None

    async def _is_away(self, error: Exception) -> bool:
        """Whether our database is away, and not this message at fault in a way that only looks like it."""
        if not dependency_away(error):
            return False
        try:
            async with asyncio.timeout(TRY_SECONDS), self._pool.acquire() as connection:
                await connection.fetchval("SELECT true")
        except (*OUTAGE, asyncpg.PostgresError):
            return True
        return False

    # --- answering, and putting behind us -----------------------------------------------------------------

    async def _answer(self, reply: Reply) -> None:
        """Publish a reply, for as long as it takes."""
        while True:
            try:
                await self._publish(reply)
            except Unavailable as error:
                await self._wait(error)
            else:
                return

    async def _publish(self, reply: Reply) -> None:
        headers = reply.headers(self._clock.now())
        await self._publisher.publish(self._replies, key=reply.key, headers=headers, value=reply.value())

    async def _put_behind(self, partition: int, settled: Sequence[_Settled], through: int) -> None:
        while True:
            try:
                async with self._pool.acquire() as connection, connection.transaction():
                    done = await self._inbox.lock(connection, partition)
                    now = self._clock.now()
                    again = now + timedelta(seconds=PARKED_RETRY_SECONDS[0])
                    for passes in (False, True):
                        news = list(_news(settled, done, passes=passes))
                        await self._inbox.park(connection, news, now, again if passes else None)
                    await self._inbox.advance(connection, {partition: through})
            except OUTAGE as error:
                await self._wait(error)
            else:
                return

    async def _wait(self, error: Exception | None = None) -> None:
        self._count("waited")
        if error is not None:
            _log.warning("inbound.waiting", error=type(error).__name__)
        await asyncio.sleep(OUTAGE_PAUSE_SECONDS)

    def _count(self, outcome: str) -> None:
        metrics.EVENTS_CONSUMED.labels(self._context.name, SOURCE, outcome).inc()

    # --- what is parked -----------------------------------------------------------------------------------

    async def _housekeeping(self, subscription: KafkaSubscription) -> None:
        """Try again what is due, and tell how much is parked and how far behind we are."""
        labels = (self._context.name, SOURCE)
        while True:
            with contextlib.suppress(Unavailable, *OUTAGE):
                async with self._pool.acquire() as connection:
                    due = await self._inbox.due_streams(connection, self._clock.now(), RETRIED_AT_ONCE)
                for stream_id, partition in due:
                    await self._retry(stream_id, partition)
                async with self._pool.acquire() as connection:
                    count = await self._inbox.parked_count(connection)
                metrics.PARKED_EVENTS.labels(":".join(labels)).set(count)
                lag = await subscription.lag()
                metrics.CONSUMER_LAG_EVENTS.labels(*labels).set(lag.events)
                metrics.CONSUMER_LAG_SECONDS.labels(*labels).set(lag.seconds)
            await asyncio.sleep(HOUSEKEEPING_SECONDS)

    async def _retry(self, stream_id: str, partition: int) -> None:
        """Take one parked message in and answer it again, or leave it parked for the new reason.

        Raises ``Unavailable`` or what a database raises when a part we need is away; it stays due.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            await self._inbox.lock(connection, partition)
            parked = await self._inbox.first_parked(connection, stream_id)
            if parked is None:
                return
            try:
                async with asyncio.timeout(TRY_SECONDS):
                    reply = await self._taken_again(parked)
            except Exception as error:
                if await self._is_away(error):
                    raise Unavailable from error
                await self._postpone(connection, parked, error)
            else:
                await self._publish(reply)
                await self._inbox.unpark(connection, parked)
                self._count(reply.content.outcome)

    async def _taken_again(self, parked: ParkedEvent) -> Reply:
        message, sender = await self._keeping.opened(parked)
        names = named(message, self._taking.max_body_bytes)
        receipt = await self._taking.take(message, sender)
        own_id = own_id_of(parked)
        return accepted(uuid5(own_id, f"retry-{parked.attempts}"), names.message_id, receipt)

    async def _postpone(self, connection: asyncpg.Connection, parked: ParkedEvent, error: Exception) -> None:
        pause = PARKED_RETRY_SECONDS[min(parked.attempts, len(PARKED_RETRY_SECONDS) - 1)]
        next_try = self._clock.now() + timedelta(seconds=pause) if _passes(error) else None
        reason = parked.reason if isinstance(error, SenderUnknown) else reason_of(error)
        await self._inbox.postpone(connection, parked, reason, next_try)


def _passes(error: Exception) -> bool:
    """Whether the same message may go well later without anybody changing anything."""
    raced = isinstance(error, WrongExpectedVersion | asyncpg.TransactionRollbackError)
    return raced or dependency_away(error)


def _news(settled: Iterable[_Settled], done: int, *, passes: bool) -> Iterable[ParkedEvent]:
    """What is to be parked, and was not dealt with by another member meanwhile."""
    return (
        one.parked
        for one in settled
        if one.parked is not None and one.passes is passes and one.parked.message.offset > done
    )
