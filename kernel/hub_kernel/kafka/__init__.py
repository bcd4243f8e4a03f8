"""Apache Kafka as the bus: the same port as the log bus, fed by a relay from each service's event log."""

from hub_kernel.kafka.bus import KafkaBus
from hub_kernel.kafka.connection import KafkaAway, KafkaConnection
from hub_kernel.kafka.publishing import Publisher, RecordTooLarge, SendUnknown
from hub_kernel.kafka.relay import Relay
from hub_kernel.kafka.topics import TopicSpec, ensure_topics, facts_spec

__all__ = [
    "KafkaAway",
    "KafkaBus",
    "KafkaConnection",
    "Publisher",
    "RecordTooLarge",
    "Relay",
    "SendUnknown",
    "TopicSpec",
    "ensure_topics",
    "facts_spec",
]
