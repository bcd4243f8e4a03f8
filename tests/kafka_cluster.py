"""The one real Kafka broker of a test run, started when a test first asks for it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub_embedded.kafka_broker import KafkaBroker


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaBroker]:
    """A real broker that lives as long as the test run; where it cannot start, tests fail and say what to do.

    Tests share it, so each takes topics and groups of its own, and nobody kills it: a test that wants to
    starts a broker of its own.
    """
    with (
        tempfile.TemporaryDirectory(prefix="hub-kafka-") as directory,
        KafkaBroker(Path(directory)) as broker,
    ):
        yield broker
