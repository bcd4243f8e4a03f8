"""A bus that delivers what a test wrote down: duplicates, gaps, reordering and bytes no log would give."""

import asyncio
from collections.abc import Mapping, Sequence

import msgspec
from tests.component.ledger_service import LEDGER, NOON, to

from hub_kernel.ports import Cursors, Features, Lag, Message, Page
from hub_schemas.envelope import RecordedEvent, to_cloudevent

PARTITIONS = 2


def heard(stream_id: str, version: int, *, offset: int, partition: int = 0) -> Message:
    """The message that brings one version of a stream."""
    event = to(stream_id, f"{stream_id}:{version}").events[0]
    recorded = RecordedEvent(
        source=LEDGER.schema,
        position=offset,
        stream_id=stream_id,
        version=version,
        recorded_at=NOON,
        **msgspec.structs.asdict(event),
    )
    headers, value = to_cloudevent(recorded)
    return Message(LEDGER.schema, partition, offset, headers, value)


def garbled(*, offset: int, **attributes: str) -> Message:
    """A message that is no fact: its body is not JSON, or the attributes given are wrong."""
    whole = heard("entry-garbled", 1, offset=offset)
    changed = {f"ce_{name}": text.encode() for name, text in attributes.items()}
    headers = tuple({**dict(whole.headers), **changed}.items())
    return Message(whole.source, whole.partition, offset, headers, whole.value if attributes else b"{")


class ScriptedBus:
    """Gives its pages one after another, then tells whoever waits that all were asked for and dealt with."""

    features = Features(durable=False, replayable=False, several_members=True)

    def __init__(self, pages: Sequence[Sequence[Message]]) -> None:
        self._pages = [list(page) for page in pages]
        self.dealt_with = asyncio.Event()
        self.sought: list[Mapping[int, int]] = []

    async def start(self) -> None:
        """Nothing to connect to."""

    async def subscribe(self, consumer: str, source: str, cursors: Cursors) -> "ScriptedBus":
        """It is its own subscription, and gives every partition at once."""
        del consumer, source
        self.sought.append(await cursors(self.partitions))
        return self

    @property
    def partitions(self) -> Sequence[int]:
        """All of them."""
        return range(PARTITIONS)

    async def fetch(self, limit: int, wait_seconds: float) -> Page:
        """The next page of the script."""
        del limit, wait_seconds
        if not self._pages:
            self.dealt_with.set()
            await asyncio.Event().wait()
        messages = self._pages.pop(0)
        last = max(message.offset for message in messages)
        return Page(messages, dict.fromkeys(range(PARTITIONS), last))

    async def lag(self, _source: str = "", _cursors: Mapping[int, int] | None = None) -> Lag:
        """Never behind, as a bus and as a subscription."""
        return Lag(0, 0.0)

    async def close(self) -> None:
        """Nothing is held."""
