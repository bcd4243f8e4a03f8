"""The topics the hub needs on a cluster: how each is made, and that what is there already is fit for use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, TopicAuthorizationFailedError, for_code

from hub_kernel.errors import Unavailable
from hub_kernel.kafka.connection import MAX_MESSAGE_BYTES, KafkaConnection
from hub_schemas.topics import facts_topic

_log = structlog.get_logger(__name__)
FOR_EVER: Final = "-1"


class TopicNotMade(Unavailable):
    """A topic is missing and could not be made. Run `hub topics` with a user that may, then all goes on."""

    slug: ClassVar[str] = "topic-not-made"


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as the hub would make it; ``name`` is without the prefix, ``config`` in Kafka's own words."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str] = field(default_factory=dict)


def facts_spec(source: str, partitions: int, replication: int) -> TopicSpec:
    """The topic of one service's facts: kept for ever, so that whoever comes late hears all of it."""
    return TopicSpec(
        facts_topic(source),
        partitions,
        replication,
        {"retention.ms": FOR_EVER, "retention.bytes": FOR_EVER, **sizes(replication)},
    )


def sizes(replication: int) -> Mapping[str, str]:
    """What every topic of the hub says: how large a record may be, and how many replicas must have it."""
    return {
        "cleanup.policy": "delete",
        "max.message.bytes": str(MAX_MESSAGE_BYTES),
        "min.insync.replicas": str(max(1, replication - 1)),
    }


async def ensure_topics(connection: KafkaConnection, specs: Sequence[TopicSpec]) -> list[str]:
    """Make what is missing; returns the names made. What is there stays as it is.

    Raises ``TopicNotMade``, ``KafkaAway``.
    """
    async with connection.admin() as admin:
        there = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
        for spec in specs:
            has = there.get(connection.topic(spec.name), spec.partitions)
            if has != spec.partitions:
                _log.warning("kafka.partitions_differ", topic=spec.name, has=has, wanted=spec.partitions)
        missing = [spec for spec in specs if connection.topic(spec.name) not in there]
        return [spec.name for spec in missing if await _make(admin, connection.topic(spec.name), spec)]


async def _make(admin: AIOKafkaAdminClient, name: str, spec: TopicSpec) -> bool:
    new = NewTopic(name, spec.partitions, spec.replication, topic_configs=dict(spec.config))
    answer = await admin.create_topics([new])
    [(_name, code, *_)] = answer.topic_errors
    error = for_code(code)
    if error is TopicAlreadyExistsError:
        return False  # another process was quicker
    if code != 0:
        denied = error is TopicAuthorizationFailedError
        _log.error("kafka.topic_not_made", topic=spec.name, error=error.__name__, denied=denied)
        raise TopicNotMade(f"{TopicNotMade.__doc__} Missing: {name} ({error.__name__}).")
    return True
