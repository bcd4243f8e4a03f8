"""``hub topics``: make every topic the hub of these settings needs, and say what is there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

import typer
import uvloop
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from rich.console import Console
from rich.table import Table

from hub_embedded.needed_topics import needed_topics
from hub_embedded.output import reader_may_leave, write_json_lines
from hub_kernel.carrying import is_kafka
from hub_kernel.errors import Rejected
from hub_kernel.kafka import KafkaConnection, TopicSpec, ensure_topics
from hub_kernel.settings import Settings

_RETENTION: Final = "retention.ms"
_DAY_MS: Final = 24 * 60 * 60 * 1_000


class NoTopicsHere(Rejected):
    """HUB_BUS_URL names the log bus, which has no topics. Set it to kafka://host:port and repeat."""

    slug: ClassVar[str] = "no-topics-here"


@dataclass(frozen=True, slots=True)
class TopicThere:
    """A topic as it stands on the cluster; ``retention_ms`` -1: for ever."""

    topic: str
    state: Literal["made", "there"]
    partitions: int
    partitions_wanted: int
    retention_ms: int


def topics(*, as_json: Annotated[bool, typer.Option("--json", help="JSON, for machines.")] = False) -> None:
    """Make the topics that are missing and list all. What is there already stays as it is."""
    settings = Settings()
    if not is_kafka(settings):
        raise NoTopicsHere
    standing = uvloop.run(_made(KafkaConnection.from_settings(settings), needed_topics(settings)))
    with reader_may_leave():
        if as_json:
            write_json_lines(standing)
        else:
            _show(standing)


async def _made(connection: KafkaConnection, specs: Sequence[TopicSpec]) -> list[TopicThere]:
    made = set(await ensure_topics(connection, specs))
    names = [connection.topic(spec.name) for spec in specs if spec.name not in made]
    there = await _described(connection, names, specs[0].partitions) if names else {}
    return [
        there.get(connection.topic(spec.name), _as_made(connection.topic(spec.name), spec)) for spec in specs
    ]


def _as_made(name: str, spec: TopicSpec) -> TopicThere:
    """What was made just now is as asked for; the brokers may not know of it yet."""
    return TopicThere(name, "made", spec.partitions, spec.partitions, int(spec.config[_RETENTION]))


async def _described(
    connection: KafkaConnection, names: Sequence[str], wanted: int
) -> Mapping[str, TopicThere]:
    asked = [ConfigResource(ConfigResourceType.TOPIC, name, {_RETENTION: None}) for name in names]
    async with connection.admin() as admin:
        topics = await admin.describe_topics(list(names))
        [answer] = await admin.describe_configs(asked)
    partitions = {topic["topic"]: len(topic["partitions"]) for topic in topics}
    return {
        name: TopicThere(name, "there", partitions[name], wanted, int(value))
        for _code, _message, _type, name, entries in answer.resources
        for key, value, *_ in entries
        if key == _RETENTION
    }


def _show(standing: Sequence[TopicThere]) -> None:
    table = Table()
    for heading in ("topic", "", "partitions", "kept"):
        table.add_column(heading, justify="right" if heading == "partitions" else "left", overflow="fold")
    for one in standing:
        table.add_row(one.topic, one.state, str(one.partitions), _kept(one.retention_ms))
    Console(markup=False, highlight=False).print(table)
    for one in standing:
        if one.partitions != one.partitions_wanted:
            typer.echo(
                f"{one.topic} has {one.partitions} partitions; HUB_BUS_PARTITIONS says "
                f"{one.partitions_wanted}. It works as it is. Added partitions would take keys elsewhere.",
                err=True,
            )


def _kept(retention_ms: int) -> str:
    return "for ever" if retention_ms < 0 else f"{retention_ms / _DAY_MS:g} days"
