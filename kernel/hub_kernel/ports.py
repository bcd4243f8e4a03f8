"""The bus port: what a service may rely on when it hears another's facts, whichever adapter carries them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from hub_kernel.errors import Unavailable
from hub_schemas.envelope import Header


@dataclass(frozen=True, slots=True)
class Message:
    """One event on the bus, in CloudEvents binary mode. ``offset`` grows inside ``(source, partition)``.

    ``taken_in_at`` is when the carrier took it in, by the carrier's own clock, so that no sender can choose
    it; ``None`` where nothing but the sender says (the log bus, topics whose senders stamp their records).
    """

    source: str
    partition: int
    offset: int
    headers: tuple[Header, ...]
    value: bytes
    taken_in_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Messages in the order of their partition, and how far each partition has been read with them.

    ``through`` also names partitions that had nothing: they are known to be empty up to that offset.
    """

    messages: Sequence[Message]
    through: Mapping[int, int]


Cursors = Callable[[Sequence[int]], Awaitable[Mapping[int, int]]]
"""Given partitions, says after which offset to go on in each; one it leaves out starts at its beginning."""


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a subscription is behind: events not yet done, and the age in seconds of the oldest of them."""

    events: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Features:
    """What an adapter can do; the conformance suite checks each claim.

    ``durable``: what was published outlives every process. ``replayable``: a consumer that comes late hears
    all of it. ``several_members``: members of one consumer divide the partitions among them; otherwise each
    reads all of them.
    """

    durable: bool
    replayable: bool
    several_members: bool


class BeganAgain(Unavailable):
    """The carrier holds less than this consumer has read: it was made anew, and is heard from its beginning.

    Raised once by ``fetch``; the consumer forgets its cursors, and its inbox drops what it knows.
    """

    slug = "began-again"


class Subscription(Protocol):
    """One member's reading of one source for a consumer. One task fetches; ``lag`` may be asked beside it."""

    @property
    def partitions(self) -> Sequence[int]:
        """The partitions this member reads now; none before the first fetch."""
        ...

    async def fetch(self, limit: int, wait_seconds: float) -> Page:
        """Read on: at most ``limit`` messages, waiting up to ``wait_seconds`` for the first.

        Delivery is at least once and in order inside a partition; all events of one stream share a
        partition. Asking again says that the page before is done with. Raises ``Unavailable`` when the
        carrier does not answer; call again. Raises ``BeganAgain``.
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

    async def subscribe(self, consumer: str, source: str, cursors: Cursors) -> Subscription:
        """Begin reading the facts of one service under a consumer's name.

        ``cursors`` is asked whenever this member is given partitions: the consumer's own database knows best.
        """
        ...

    async def lag(self, source: str, cursors: Mapping[int, int]) -> Lag:
        """How far a consumer with these cursors is behind a source. Raises ``Unavailable``."""
        ...

    async def close(self) -> None:
        """Give back everything. Safe to repeat."""
        ...
