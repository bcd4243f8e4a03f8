"""The two topics of posting by bus, as the hub makes them."""

from typing import Final

from hub_kernel.kafka import TopicSpec
from hub_kernel.kafka.topics import sizes
from hub_schemas.topics import INBOUND_TOPIC, REPLIES_TOPIC

_SEVEN_DAYS_MS: Final = str(7 * 24 * 3_600 * 1_000)


def inbound_spec(partitions: int, replication: int) -> TopicSpec:
    """Where records systems post.

    ``LogAppendTime``: the broker's time stands in each record, and tokens are judged by it. ``uncompressed``:
    the broker unpacks whatever a sender used, so that every record can be read, and none is larger unpacked
    than ``max.message.bytes``. Personal data stands here in clear, so it stays a week and no longer.
    """
    return TopicSpec(
        INBOUND_TOPIC,
        partitions,
        replication,
        {
            **sizes(replication),
            "retention.ms": _SEVEN_DAYS_MS,
            "message.timestamp.type": "LogAppendTime",
            "compression.type": "uncompressed",
        },
    )


def replies_spec(partitions: int, replication: int) -> TopicSpec:
    """Where every inbound message is answered. Nothing personal; kept for a week."""
    return TopicSpec(
        REPLIES_TOPIC, partitions, replication, {**sizes(replication), "retention.ms": _SEVEN_DAYS_MS}
    )
