"""The ledger's facts on a Kafka topic as they lie there, and relays that bring them."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from tests.component.ledger_service import LEDGER, to
from tests.component.ledger_service.waiting import until

from hub_kernel.clock import Clock
from hub_kernel.event_store import EventStore, StreamAppend
from hub_kernel.kafka import KafkaConnection, Relay, facts_spec
from hub_kernel.partitioning import partition_of
from hub_kernel.wakeups import Wakeups
from hub_schemas.envelope import RecordedEvent, from_cloudevent

PARTITIONS = 4
SPEC = facts_spec(LEDGER.schema, PARTITIONS, 1)


def numbered(first: int, last: int, *, streams: int = 12) -> list[StreamAppend]:
    """One entry of each number, each to one of a few streams."""
    given: dict[str, list[str]] = defaultdict(list)
    for n in range(first, last + 1):
        given[f"entry-{n % streams}"].append(str(n))
    return [to(stream_id, *names) for stream_id, names in given.items()]


async def recorded(ledger: EventStore) -> list[RecordedEvent]:
    """The ledger's log."""
    async with ledger.pool.acquire() as connection:
        return await ledger.read.log(connection, 0, 100_000)


def by_partition(events: Sequence[RecordedEvent]) -> dict[int, list[int]]:
    """The positions that belong into each partition, in the order given."""
    found: dict[int, list[int]] = {partition: [] for partition in range(PARTITIONS)}
    for event in events:
        found[partition_of(str(event.correlation_id), PARTITIONS)].append(event.position)
    return found


@dataclass(frozen=True)
class Published:
    """What a topic holds: each partition's facts by their positions in the log, in the order they lie in."""

    positions: Mapping[int, Sequence[int]]

    @property
    def first_occurrences(self) -> dict[int, list[int]]:
        """Without the repeats, which a relay may send whenever it cannot know."""
        return {partition: list(dict.fromkeys(found)) for partition, found in self.positions.items()}

    def through(self, ends: Mapping[int, int]) -> set[int]:
        """The facts that lie before these offsets."""
        return {at for partition, end in ends.items() for at in self.positions[partition][:end]}


async def ends(connection: KafkaConnection) -> dict[int, int]:
    """Where each partition of the ledger's topic ends."""
    async with connection.onlooker(SPEC.name) as (onlooker, partitions):
        found = await onlooker.end_offsets(list(partitions))
        return {tp.partition: end for tp, end in found.items()}


async def published(connection: KafkaConnection) -> Published:
    """Everything on the ledger's topic."""
    async with connection.onlooker(SPEC.name) as (onlooker, partitions):
        left = dict(await onlooker.end_offsets(list(partitions)))
        found: dict[int, list[int]] = {tp.partition: [] for tp in left}
        onlooker.assign(list(left))
        await onlooker.seek_to_beginning()
        async with asyncio.timeout(20):
            while any(len(found[tp.partition]) < end for tp, end in left.items()):
                for tp, records in (await onlooker.getmany(timeout_ms=200)).items():
                    found[tp.partition] += [
                        from_cloudevent(record.headers, record.value).position for record in records
                    ]
        return Published(found)


class Relays:
    """Relays of the ledger's log, of any number of processes."""

    def __init__(self, dsn: str, ledger: EventStore, clock: Clock, bootstrap: str, prefix: str) -> None:
        self._ledger, self._clock, self._bootstrap, self._prefix = ledger, clock, bootstrap, prefix
        self._wakeups = Wakeups(dsn)
        self._wakeups.start()
        self._running: dict[Relay, tuple[asyncio.Task[None], asyncio.Event]] = {}

    def start(self, instance: str | None = None) -> Relay:
        """Another relay; ``instance`` is its process's lasting name."""
        connection = KafkaConnection(self._bootstrap, prefix=self._prefix, instance=instance)
        relay = Relay(self._ledger.pool, LEDGER.schema, SPEC, connection, self._wakeups, self._clock)
        stopping = asyncio.Event()
        self._running[relay] = asyncio.create_task(relay.run(stopping)), stopping
        return relay

    async def stop(self, relay: Relay) -> None:
        """As when its process is asked to end."""
        task, stopping = self._running.pop(relay)
        stopping.set()
        async with asyncio.timeout(10):
            await task

    async def cancel(self, relay: Relay) -> None:
        """As when its process takes too long to end."""
        task, _ = self._running.pop(relay)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def until_published(self, relay: Relay) -> None:
        """Return when the log is acknowledged to its end."""

        async def caught_up() -> bool:
            return (await relay.lag()).events == 0

        await until(caught_up, 30)

    async def close(self) -> None:
        """End all of them."""
        for relay in list(self._running):
            await self.cancel(relay)
        await self._wakeups.close()


@asynccontextmanager
async def relays(
    dsn: str, ledger: EventStore, clock: Clock, bootstrap: str, prefix: str
) -> AsyncIterator[Relays]:
    """Relays that end with the block."""
    running = Relays(dsn, ledger, clock, bootstrap, prefix)
    try:
        yield running
    finally:
        await running.close()
