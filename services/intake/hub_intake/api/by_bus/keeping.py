"""Keeping an inbound message that was refused: sealed, without its token, among the service's parked events.

It is written down in the form of a recorded event, whose open part says where it came from. So operators list
it, look at it and ask for its retry as they do for any other parked event (ADR 0024).
"""

import contextlib
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from hub_intake.api.by_bus.messages import Named
from hub_intake.api.receiving import Sender
from hub_kernel.errors import Rejected
from hub_kernel.inbox import ParkedEvent
from hub_kernel.ports import Message
from hub_kernel.sealing import KeyErased, Keyring, KeyUnknown
from hub_schemas.envelope import Header, RecordedEvent, from_cloudevent, to_cloudevent
from hub_schemas.inbound import AUTHORIZATION_HEADER

TYPE: Final = "InboundMessageParked"
_NOBODY: Final = "unknown"
_encoder = msgspec.json.Encoder()
_packer = msgspec.msgpack.Encoder()


class SenderUnknown(Rejected):
    """Nobody vouched for this message, so it cannot be tried again. Its sender must post it anew."""

    slug = "sender-unknown"


class ParkedOpen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What may be known of a parked message without opening it.

    ``system`` and ``subject`` are those of its token and absent when that was refused; ``kind`` is absent
    when it is none of ours. ``taken_in_at`` is when the broker took it in (aware UTC).
    """

    system: str | None = None
    subject: str | None = None
    kind: str | None = None
    taken_in_at: datetime | None = None
    size_bytes: int


class _Content(msgspec.Struct, frozen=True, array_like=True):
    """What is sealed: the message as it came, but for its token."""

    headers: Sequence[tuple[str, bytes]]
    value: bytes


class Keeping:
    """Turns messages into parked events and back."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    async def sealed(
        self,
        message: Message,
        names: Named,
        sender: Sender | None,
        *,
        reason: str,
        attempts: int,
        now: datetime,
    ) -> ParkedEvent:
        """The message as it is parked. One whose key was erased meanwhile is parked without content."""
        headers = tuple(h for h in message.headers if h[0].lower() != AUTHORIZATION_HEADER)
        content = _packer.encode(_Content(headers, message.value))
        sealed: bytes | None = None
        with contextlib.suppress(KeyErased):
            sealed = (await self._keyring.key_for(names.own_id)).seal(names.own_id, TYPE, content)
        described = ParkedOpen(
            system=None if sender is None else _text(sender.system),
            subject=None if sender is None else _text(sender.subject),
            kind=names.kind,
            taken_in_at=message.taken_in_at,
            size_bytes=len(message.value),
        )
        event = RecordedEvent(
            source=message.source,
            position=message.offset,
            stream_id=str(names.own_id),
            version=1,
            event_id=names.own_id,
            type=TYPE,
            schema_version=1,
            occurred_at=message.taken_in_at or now,
            recorded_at=now,
            correlation_id=names.own_id,
            causation_id=None,
            actor=described.subject or _NOBODY,
            traceparent=None,
            open=_encoder.encode(described),
            key_id=None if sealed is None else names.own_id,
            sealed=sealed,
        )
        own_headers, value = to_cloudevent(event)
        kept = Message(message.source, message.partition, message.offset, own_headers, value)
        return ParkedEvent(kept, event.stream_id, event.version, reason, attempts)

    async def opened(self, parked: ParkedEvent) -> tuple[Message, Sender]:
        """The message again, and who posted it.

        Raises ``SenderUnknown``, ``KeyErased``, ``KeyUnknown``, ``SealBroken``.
        """
        event = from_cloudevent(parked.message.headers, parked.message.value)
        described = msgspec.json.decode(event.open, type=ParkedOpen)
        if described.system is None or described.subject is None:
            raise SenderUnknown
        content = await self._content(event)
        headers: tuple[Header, ...] = tuple((name, value) for name, value in content.headers)
        message = Message(
            event.source,
            parked.message.partition,
            event.position,
            headers,
            content.value,
            described.taken_in_at,
        )
        return message, Sender(described.system, described.subject)

    async def _content(self, event: RecordedEvent) -> _Content:
        if event.key_id is None or event.sealed is None:
            raise KeyErased
        keys = await self._keyring.existing([event.key_id])
        if event.key_id not in keys:
            raise KeyUnknown
        if (key := keys[event.key_id]) is None:
            raise KeyErased
        return msgspec.msgpack.decode(key.open(event.event_id, event.type, event.sealed), type=_Content)


def own_id_of(parked: ParkedEvent) -> UUID:
    """The id a parked message has with us."""
    return UUID(parked.stream_id)


def _text(claim: str) -> str:
    """A token's claim as it can be written down: JSON may hold halves of characters, and bytes cannot."""
    return claim.encode(errors="replace").decode()
