"""Over a real Kafka: the relay and the consumer beside bare clients, and a referral's way through it all.

Each round uses topics of its own on one broker. The relay reads its log from PostgreSQL; the bare producer
has the same bytes in memory. The consumer keeps inbox and cursor beside its effect; bare consumption makes
the same effect alone. Then the hub as in production, at fifty referrals a second.
"""

import tempfile
from itertools import islice
from pathlib import Path
from typing import Final

import uvloop

from bench import consuming, relaying
from bench.carried import fill_log
from bench.instants import milliseconds, newest_position
from bench.latency import RATE, REFERRALS, WARM_UP, latency_rows
from bench.measuring import Row, postgres, report
from bench.production import production
from hub_embedded.demo.generator import submissions
from hub_embedded.demo.progress import Watch
from hub_embedded.demo.run import until_quiet
from hub_embedded.kafka_broker import KafkaBroker
from hub_embedded.services import SERVICES
from hub_kernel.migrating import migrate

EVENTS: Final = 50_000
ROUNDS: Final = 3
_WARM_EVENTS: Final = 2_000


def main() -> None:
    """The two comparisons in turn, round by round; then the whole way."""
    rows = side_by_side(EVENTS, ROUNDS)
    rows += latency_rows(uvloop.run(_whole_way(WARM_UP, REFERRALS)), RATE)
    report("kafka", rows)


def side_by_side(events: int, rounds: int) -> list[Row]:
    """Relay and consumer beside their rivals, on one broker and one database."""
    with postgres() as server, tempfile.TemporaryDirectory(prefix="hub-bench-") as directory:
        dsn, home = server.dsn(), Path(directory)
        (home / "data").mkdir()
        with KafkaBroker(home / "kafka") as broker:
            return uvloop.run(_side_by_side(dsn, broker.bootstrap, home / "data", events, rounds))


async def _side_by_side(dsn: str, bootstrap: str, directory: Path, events: int, rounds: int) -> list[Row]:
    await migrate(dsn, SERVICES)
    messages = relaying.wire(await fill_log(dsn, directory, events))
    await relaying.bare_rate(bootstrap, "warm-up.", messages[:_WARM_EVENTS])
    relay: list[float] = []
    producer: list[float] = []
    consumer: list[float] = []
    bare: list[float] = []
    for number in range(rounds):
        ours, theirs = f"ours-{number}.", f"theirs-{number}."
        producer.append(await relaying.bare_rate(bootstrap, theirs, messages))
        relay.append(await relaying.relay_rate(dsn, bootstrap, ours, len(messages)))
        bare.append(await consuming.bare_rate(dsn, bootstrap, theirs, len(messages)))
        consumer.append(await consuming.consumer_rate(dsn, bootstrap, ours, len(messages)))
    size = sum(len(value) for _, value, _, _ in messages) // len(messages)
    rivals = {"bare-aiokafka": producer}, {"bare-aiokafka-and-upsert": bare}
    return [
        Row.of("relay", "events/s", relay, rivals[0], events=len(messages), value_bytes=size),
        Row.of("consumer", "events/s", consumer, rivals[1], events=len(messages), value_bytes=size),
    ]


async def _whole_way(warm_up: int, referrals: int) -> dict[str, list[float]]:
    async with production() as running:
        stream = submissions(warm_up + referrals, seed=1)
        await running.post(RATE, islice(stream, warm_up))
        warm = await newest_position(running.hub.dsn)
        await running.post(RATE, stream)
        watch = Watch(running.hub.dsn)
        await until_quiet(watch, running.accepted)
        await watch.close()
        return await milliseconds(running.hub.dsn, warm)
