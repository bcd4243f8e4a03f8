"""What came of a run over the process-level hub, by every record there is: inboxes and topics too."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final, NamedTuple
from uuid import UUID

import asyncpg
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from hub_embedded.demo.progress import Watch
from hub_embedded.demo.run import check, until_quiet
from hub_embedded.demo.tally import SOURCES, Tally
from hub_embedded.partner_simulators import Ledger
from hub_embedded.services import SERVICES
from hub_embedded.topology import Topology
from hub_kernel.errors import Unavailable
from hub_schemas.envelope import from_cloudevent
from hub_schemas.topics import facts_topic

_SETTLE_SECONDS: Final = 30.0
_SILENCE_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.2
_POLL_MS: Final = 500


class TopicSilent(Unavailable):
    """Kafka has not handed out what is on a topic. See that the broker still runs, then check again."""

    slug: ClassVar[str] = "topic-silent"


class Checked(NamedTuple):
    """What was found at fault, a sentence each (none: all is there, once and in order), and the count."""

    faults: list[str]
    tally: Tally


async def check_topology(hub: Topology, accepted: Sequence[UUID], ledger_file: Path) -> Checked:
    """Wait until everything has come to rest; then compare poster, logs, views, inboxes, topics and partners.

    ``accepted`` are the referrals the hub said it had recorded; ``ledger_file`` is what the partners hold.
    """
    watch, ledger = Watch(hub.dsn), Ledger(ledger_file)
    try:
        await until_quiet(watch, len(accepted))
        found = await check(hub.dsn, accepted, watch.tally, ledger)
    finally:
        await watch.close()
        ledger.close()
    faults = [f"{finding.kind}: {finding.what} ({finding.record_id})" for finding in found]
    faults += await inbox_faults(hub.dsn)
    for source in SOURCES:
        faults += await topic_faults(hub, source)
    return Checked(faults, watch.tally)


async def inbox_faults(dsn: str) -> list[str]:
    """What is amiss, where not every event of every stream heard was applied, or events are parked."""
    connection = await asyncpg.connect(dsn)
    try:
        behind = [
            f"lost: {service.name} has not applied {streams} streams of {source} to their end"
            for service in SERVICES
            for source in service.hears
            if (streams := await _differing_after_a_while(connection, service.schema, source))
        ]
        parked = [
            f"lost: {events} events are parked in {service.name}"
            for service in SERVICES
            if (events := await connection.fetchval(f"SELECT count(*) FROM {service.schema}.parked"))  # noqa: S608
        ]
    finally:
        await connection.close()
    return behind + parked


async def topic_faults(hub: Topology, source: str) -> list[str]:
    """What is amiss, where not all of a log is on its topic, each version first in its stream's order."""
    on_topic, out_of_order = await _on_topic(hub, source)
    connection = await asyncpg.connect(hub.dsn)
    try:
        rows = await connection.fetch(
            f"SELECT stream_id, max(version) AS last FROM {source}.events GROUP BY 1"  # noqa: S608
        )
    finally:
        await connection.close()
    in_log = {row["stream_id"]: row["last"] for row in rows}
    differing = [s for s in in_log.keys() | on_topic.keys() if in_log.get(s) != on_topic.get(s)]
    faults = []
    if differing:
        faults.append(f"lost: {len(differing)} streams of {source} are not on its topic as in its log")
    if out_of_order:
        faults.append(f"lost: {out_of_order} events of {source} came on its topic before an earlier one")
    return faults


async def _differing_after_a_while(connection: asyncpg.Connection, schema: str, source: str) -> int:
    for _ in range(round(_SETTLE_SECONDS / _LOOK_SECONDS)):
        if not (streams := await _differing(connection, schema, source)):
            break
        await asyncio.sleep(_LOOK_SECONDS)
    return streams


async def _differing(connection: asyncpg.Connection, schema: str, source: str) -> int:
    """Streams whose last version in the log and in the inbox are not the same."""
    return int(
        await connection.fetchval(
            f"""SELECT count(*)
                  FROM (SELECT stream_id, max(version) AS last_version FROM {source}.events GROUP BY 1) AS log
                  FULL JOIN (SELECT stream_id, last_version FROM {schema}.inbox WHERE source = $1) AS inbox
                 USING (stream_id)
                 WHERE log.last_version IS DISTINCT FROM inbox.last_version""",  # noqa: S608
            source,
        )
    )


async def _on_topic(hub: Topology, source: str) -> tuple[Mapping[str, int], int]:
    """The last version of each stream that came after all before it, and how many came too early."""
    last: dict[str, int] = defaultdict(int)
    out_of_order = 0
    topic, loop = facts_topic(source), asyncio.get_running_loop()
    reader = AIOKafkaConsumer(
        bootstrap_servers=hub.broker.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    async with reader:
        partitions = [TopicPartition(topic, number) for number in range(hub.settings.bus_partitions)]
        reader.assign(partitions)
        ends = await reader.end_offsets(partitions)
        heard_at = loop.time()
        while any([await reader.position(tp) < ends[tp] for tp in partitions]):
            batches = await reader.getmany(timeout_ms=_POLL_MS)
            heard_at = loop.time() if batches else heard_at
            if loop.time() - heard_at > _SILENCE_SECONDS:
                raise TopicSilent
            for record in (record for records in batches.values() for record in records):
                event = from_cloudevent(record.headers, record.value)
                expected = last[event.stream_id] + 1
                if event.version == expected:
                    last[event.stream_id] = expected
                out_of_order += event.version > expected
    return last, out_of_order
