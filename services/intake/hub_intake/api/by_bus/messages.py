"""Reading an inbound message: who it is from, what it is called, what it asks for."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

from hub_intake.api.cloudevents import (
    JSON,
    STRUCTURED,
    EnvelopeMalformed,
    check_binary,
    check_structured,
    read_structured,
    require_content_type,
)
from hub_kernel.errors import TooLarge
from hub_kernel.ports import Message
from hub_schemas.inbound import AUTHORIZATION_HEADER, INBOUND_TYPES, MESSAGE_ID, SUBMITTED

_CONTENT_TYPE: Final = "content-type"
_PREFIX: Final = "ce_"
_READ_ONCE: Final = (AUTHORIZATION_HEADER, _CONTENT_TYPE, "ce_id", "ce_type", "ce_subject")
_ID: Final = re.compile(MESSAGE_ID)
_NAMESPACE: Final = uuid5(NAMESPACE_URL, "urn:referral-hub:inbound")


class MessageTooLarge(TooLarge):
    """This message is larger than a referral may be. Send it without what it repeats, or in parts."""

    slug = "message-too-large"


@dataclass(frozen=True, slots=True)
class Named:
    """How a message is spoken of, whatever is wrong with it.

    ``own_id``: ours, the same whenever it is read and another for every other message. ``message_id``: what
    its sender calls it, or its place on the topic where that may not be repeated. ``kind``: its ``ce_type``
    if it is one of ours.
    """

    own_id: UUID
    message_id: str
    kind: str | None


@dataclass(frozen=True, slots=True)
class Posted:
    """What a message asks for. All kinds but ``SUBMITTED`` name the referral they are about."""

    kind: str
    about: UUID
    data: bytes


def named(message: Message, limit_bytes: int) -> Named:
    """How to speak of a message. Never fails."""
    headers = _headers(message)
    called, kind = headers.get("ce_id"), headers.get("ce_type")
    if _media_type(headers) == STRUCTURED:
        called = kind = None
        if len(message.value) <= limit_bytes:
            try:
                envelope = read_structured(message.value)
                called, kind = envelope.id, envelope.type
            except EnvelopeMalformed:
                pass  # said when it is read in earnest
    if _doubled(message):
        called = None
    return Named(
        uuid5(_NAMESPACE, f"{message.source}/{message.partition}/{message.offset}/{message.taken_in_at}"),
        called if _is_id(called) and called else f"{message.partition}-{message.offset - 1}",
        kind if kind in INBOUND_TYPES else None,
    )


def authorization(message: Message) -> str | None:
    """The value of its authorization header. Raises ``EnvelopeMalformed`` for more than one."""
    _refuse_doubled(message)
    return _headers(message).get(AUTHORIZATION_HEADER)


def read_message(message: Message, limit_bytes: int) -> Posted:
    """What it asks for, with its data unread.

    Raises ``MessageTooLarge``, ``EnvelopeMalformed``, ``ContentTypeUnsupported``.
    """
    if len(message.value) > limit_bytes:
        raise MessageTooLarge
    _refuse_doubled(message)
    headers = _headers(message)
    content_type = require_content_type(headers.get(_CONTENT_TYPE), JSON, STRUCTURED, name=_CONTENT_TYPE)
    if content_type == STRUCTURED:
        envelope = read_structured(message.value)
        data = check_structured(envelope, INBOUND_TYPES)
        return _posted(envelope.id, envelope.type, envelope.subject, data, "")
    check_binary(headers, prefix=_PREFIX, types=INBOUND_TYPES)
    called, kind, subject = (headers.get(f"{_PREFIX}{name}") for name in ("id", "type", "subject"))
    return _posted(called, kind, subject, message.value, _PREFIX)


def _posted(called: str | None, kind: str | None, subject: object, data: bytes, prefix: str) -> Posted:
    if not _is_id(called):
        raise EnvelopeMalformed(fields={f"{prefix}id": "must be 1 to 100 of A-Z a-z 0-9 . _ : -"})
    if kind is None or kind == SUBMITTED:
        return Posted(SUBMITTED, UUID(int=0), data)
    try:
        return Posted(kind, UUID(str(subject)), data)
    except ValueError:
        wrong = {f"{prefix}subject": "must be the referral's id, as a reply named it"}
        raise EnvelopeMalformed(fields=wrong) from None


def _is_id(called: str | None) -> bool:
    return called is not None and _ID.fullmatch(called) is not None


def _refuse_doubled(message: Message) -> None:
    if doubled := _doubled(message):
        raise EnvelopeMalformed(fields=dict.fromkeys(doubled, "is there more than once"))


def _doubled(message: Message) -> Sequence[str]:
    """Headers that are read, and are there twice: nobody could say which is meant."""
    counts = Counter(name.lower() for name, _ in message.headers)
    return [name for name in _READ_ONCE if counts[name] > 1]


def _headers(message: Message) -> Mapping[str, str]:
    """Headers by lower-case name; bytes that are no UTF-8 become a sign that no value we take may hold."""
    return {name.lower(): value.decode(errors="replace") for name, value in message.headers}


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get(_CONTENT_TYPE, "").partition(";")[0].strip().lower()
