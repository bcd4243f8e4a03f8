"""The bus port: what a service may rely on when it hears another's facts, whichever adapter carries them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hub_schemas.envelope import Header


@dataclass(frozen=True, slots=True)
class Message:
    """One event on the bus, in CloudEvents binary mode. ``offset`` grows inside ``(source, partition)``."""

    source: str
    partition: int
    offset: int
    headers: tuple[Header, ...]
    value: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """Messages in the order of their partition, and how far each partition has been read with them.

    ``through`` also names partitions that had nothing: they are known to be empty up to that offset.
    """

    messages: Sequence[Message]
    through: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a subscription is behind: events not yet done, and the age in seconds of the oldest of them."""

    events: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Features:
    """What an adapter can do; the conformance suite checks each claim."""

    durable: bool
    replayable: bool
    several_members: bool


class Subscription(Protocol):
    """One consumer's reading of one source. Used by one task at a time."""

    @property
    def partitions(self) -> Sequence[int]:
        """The partitions this member reads now."""
        ...

    def seek(self, cursors: Mapping[int, int]) -> None:
        """Start after these offsets; a partition not named starts at its beginning."""
        ...

    async def fetch(self, limit: int, wait_seconds: float) -> Page:
        """Read on: at most ``limit`` messages, waiting up to ``wait_seconds`` for the first.

        Delivery is at least once and in order inside a partition; all events of one stream share a
        partition. Raises ``Unavailable`` when the carrier does not answer; call again.
        """
        ...

    async def lag(self) -> Lag:
        """How far behind this subscription is, by the carrier's own count.

        The page fetched last counts as still to be done until the next is asked for.
        """
        ...

    async def close(self) -> None:
        """Stop reading and give back what it holds. Safe to repeat."""
        ...


class Bus(Protocol):
    """Carries every service's facts to whoever subscribes, from the first ever recorded."""

    @property
    def features(self) -> Features:
        """What this adapter can do."""
        ...

    async def start(self) -> None:
        """Connect. Raises ``Unavailable``."""
        ...

    async def subscribe(self, consumer: str, source: str) -> Subscription:
        """Begin reading the facts of one service under a consumer's name."""
        ...

    async def close(self) -> None:
        """Give back everything. Safe to repeat."""
        ...
