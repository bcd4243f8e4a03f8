"""What the Kafka examples share: how to reach the brokers, and reading that loses nothing."""

import os
import signal
import sys
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaException

PREFIX = os.environ.get("KAFKA_PREFIX", "")
OPTIONAL = {
    "ssl.ca.location": "KAFKA_CA_FILE",
    "ssl.certificate.location": "KAFKA_CERT_FILE",
    "ssl.key.location": "KAFKA_KEY_FILE",
    "sasl.username": "KAFKA_USERNAME",
    "sasl.password": "KAFKA_PASSWORD",
}


def settings() -> dict[str, str]:
    """How to reach the brokers, from the environment: TLS and SCRAM unless it says otherwise."""
    protocol = os.environ.get("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    mechanism = os.environ.get("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512")
    return {
        "bootstrap.servers": os.environ["KAFKA_BROKERS"],
        "security.protocol": protocol,
        **({"sasl.mechanism": mechanism} if protocol.startswith("SASL") else {}),
        **{name: os.environ[variable] for name, variable in OPTIONAL.items() if variable in os.environ},
    }


def read(topic: str, group: str) -> Iterator[tuple[dict[str, str], bytes]]:
    """Each message, its headers and its value, for ever. It counts as read once the next one is asked for.

    A program that dies in between is given it again. Raises KafkaException when reading cannot go on.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    consumer = Consumer(
        settings()
        | {"group.id": PREFIX + group, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
    )
    try:
        consumer.subscribe([PREFIX + topic])
        while True:
            message = consumer.poll(1)
            if message is None:
                continue
            if message.error():
                raise KafkaException(message.error())
            yield {name: value.decode() for name, value in message.headers() or []}, message.value() or b""
            consumer.commit(message=message, asynchronous=False)
    finally:
        consumer.close()
