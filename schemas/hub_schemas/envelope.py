"""The envelope around every fact: who, when, why, where it stands in its log; and its CloudEvents form."""

import base64
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

SPEC_VERSION: Final = "1.0"
CONTENT_TYPE: Final = "application/vnd.referral-hub.fact+json"

Header = tuple[str, bytes]


class RecordedEvent(msgspec.Struct, frozen=True, gc=False):
    """One fact as its log holds it, in stored bytes.

    ``position`` counts from 1 without gaps over the whole log of ``source``; ``version`` counts from 1
    without gaps inside ``stream_id``. ``occurred_at`` is when it was true, ``recorded_at`` when the log
    learned it (never earlier than that of the position before). ``correlation_id`` is the same along the
    whole chain one referral sets off; ``causation_id`` is the event that led to this one. ``sealed`` is
    AES-256-GCM ciphertext under the data key ``key_id``. The order of the fields is that in which the event
    store reads its columns.
    """

    source: str
    position: int
    stream_id: str
    version: int
    event_id: UUID
    type: str
    schema_version: int
    occurred_at: datetime
    recorded_at: datetime
    correlation_id: UUID
    causation_id: UUID | None
    actor: str
    traceparent: str | None
    open: bytes
    key_id: UUID | None
    sealed: bytes | None


class _Data(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body on the wire: the open part as it is stored, and the sealed part in base64."""

    open: msgspec.Raw
    sealed: str | None = None


_data_decoder = msgspec.json.Decoder(_Data)


def to_cloudevent(event: RecordedEvent) -> tuple[tuple[Header, ...], bytes]:
    """Write an event as CloudEvents 1.0 binary mode (Kafka protocol binding): headers and value.

    Attributes carry nothing personal: ids are opaque and the subject is the stream id.
    """
    attributes = {
        "ce_specversion": SPEC_VERSION,
        "ce_id": str(event.event_id),
        "ce_source": f"/{event.source}",
        "ce_type": f"{event.type}.v{event.schema_version}",
        "ce_subject": event.stream_id,
        "ce_time": event.occurred_at.isoformat(),
        "ce_partitionkey": str(event.correlation_id),
        "ce_sequence": str(event.version),
        "ce_position": str(event.position),
        "ce_recordedtime": event.recorded_at.isoformat(),
        "ce_correlationid": str(event.correlation_id),
        "ce_actor": event.actor,
        "content-type": CONTENT_TYPE,
    }
    if event.causation_id is not None:
        attributes["ce_causationid"] = str(event.causation_id)
    if event.traceparent is not None:
        attributes["ce_traceparent"] = event.traceparent
    if event.key_id is not None:
        attributes["ce_keyid"] = str(event.key_id)
    # Written by hand: this is most of what a relay does, and an encoder would only copy what is JSON already.
    sealed = b"" if event.sealed is None else b',"sealed":"%b"' % base64.b64encode(event.sealed)
    value = b'{"open":%b%b}' % (event.open, sealed)
    return tuple((name, text.encode()) for name, text in attributes.items()), value


def from_cloudevent(headers: tuple[Header, ...], value: bytes) -> RecordedEvent:
    """Read an event back from its CloudEvents binary form.

    Raises ``ValueError`` naming the attribute when one is missing or malformed; unknown attributes are
    ignored, as CloudEvents asks of a consumer.
    """
    attributes = {name: raw.decode() for name, raw in headers}
    try:
        kind, _, schema_version = attributes["ce_type"].rpartition(".v")
        causation_id = attributes.get("ce_causationid")
        key_id = attributes.get("ce_keyid")
        data = _data_decoder.decode(value)
        return RecordedEvent(
            source=attributes["ce_source"].removeprefix("/"),
            position=int(attributes["ce_position"]),
            stream_id=attributes["ce_subject"],
            version=int(attributes["ce_sequence"]),
            event_id=UUID(attributes["ce_id"]),
            type=kind,
            schema_version=int(schema_version),
            occurred_at=datetime.fromisoformat(attributes["ce_time"]),
            recorded_at=datetime.fromisoformat(attributes["ce_recordedtime"]),
            correlation_id=UUID(attributes["ce_correlationid"]),
            causation_id=UUID(causation_id) if causation_id else None,
            actor=attributes["ce_actor"],
            traceparent=attributes.get("ce_traceparent"),
            open=bytes(data.open),
            key_id=UUID(key_id) if key_id else None,
            sealed=base64.b64decode(data.sealed) if data.sealed is not None else None,
        )
    except KeyError as missing:
        raise ValueError(f"CloudEvents attribute {missing.args[0]} is missing") from missing
    except (msgspec.DecodeError, UnicodeDecodeError) as broken:
        raise ValueError("the CloudEvents data is not a fact body") from broken
