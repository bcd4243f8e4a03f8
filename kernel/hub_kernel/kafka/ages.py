"""How old what waits on a topic is, by what its records say of themselves."""

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import ConsumerRecord, TopicPartition

from hub_kernel.clock import Clock

_LOOK_SECONDS: Final = 3.0
_TIME_HEADER: Final = "ce_recordedtime"
_LOG_APPEND_TIME: Final = 1


async def oldest_age(
    onlooker: AIOKafkaConsumer, waiting: Mapping[TopicPartition, int], clock: Clock
) -> float:
    """The age in seconds of the oldest record that stands next in these partitions."""
    if not waiting:
        return 0.0
    onlooker.assign(list(waiting))
    for tp, at in waiting.items():
        onlooker.seek(tp, at)
    ages = [0.0]
    for tp in waiting:
        # Unreadable, or no record but the end of somebody's transaction: it counts, its age is not known.
        with contextlib.suppress(UnicodeDecodeError, TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                next_one = await onlooker.getone(tp)
            if (instant := recorded_at(next_one)) is not None:
                ages.append(age_seconds(instant, clock))
    return max(ages)


def taken_in_at(record: ConsumerRecord) -> datetime | None:
    """When the broker took a record in, where it is the broker that says so."""
    if record.timestamp_type != _LOG_APPEND_TIME:
        return None
    return datetime.fromtimestamp(record.timestamp / 1_000, UTC)


def recorded_at(record: ConsumerRecord) -> datetime | None:
    """When a record was taken in or, where the broker does not say, when its fact was recorded."""
    if (instant := taken_in_at(record)) is not None:
        return instant
    for name, value in record.headers:
        if name == _TIME_HEADER:
            with contextlib.suppress(ValueError, AttributeError):
                instant = datetime.fromisoformat(value.decode())
                return instant if instant.tzinfo is not None else None
    return None


def age_seconds(instant: datetime, clock: Clock) -> float:
    """How long ago this was; never negative."""
    return max(0.0, (clock.now() - instant).total_seconds())
