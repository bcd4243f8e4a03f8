"""A referral, or what changes one, inside a CloudEvents 1.0 envelope, structured or binary mode."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from hub_kernel.errors import Malformed
from hub_schemas.inbound import SUBMITTED

EVENT_TYPE: Final = SUBMITTED
"""The ``type`` a sender gives an event whose data is a canonical referral."""
JSON: Final = "application/json"
STRUCTURED: Final = "application/cloudevents+json"
_SPEC_VERSION: Final = "1.0"
_REQUIRED: Final = ("specversion", "id", "source", "type")


class EnvelopeMalformed(Malformed):
    """This is not a CloudEvents 1.0 envelope for a referral. Mend the named attributes and send it again."""

    slug = "cloudevent-malformed"


class ContentTypeUnsupported(Malformed):
    """The Content-Type does not say what this route takes. Send one of the types named."""

    slug = "content-type-unsupported"


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """Context attributes beside the data; extension attributes are ignored, as CloudEvents asks."""

    specversion: str | None = None
    id: str | None = None
    source: str | None = None
    type: str | None = None
    subject: Any = None
    datacontenttype: str | None = None
    data: msgspec.Raw = msgspec.Raw()


_decoder = msgspec.json.Decoder(Envelope)


def is_binary(headers: Mapping[str, str]) -> bool:
    """Whether the headers carry an event's attributes, so that the body is its data."""
    return "ce-specversion" in headers


def check_binary(
    headers: Mapping[str, str], *, prefix: str = "ce-", types: Sequence[str] = (EVENT_TYPE,)
) -> None:
    """Check the attributes in prefixed headers. Raises ``EnvelopeMalformed`` naming each that is wrong."""
    _check({name: headers.get(f"{prefix}{name}") for name in _REQUIRED}, types, prefix)


def read_structured(body: bytes) -> Envelope:
    """A structured-mode event, its attributes not checked yet. Raises ``EnvelopeMalformed``."""
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The decoder's own words may quote the body.
        raise EnvelopeMalformed(fields={"(envelope)": "is not a JSON object of text attributes"}) from None


def check_structured(envelope: Envelope, types: Sequence[str] = (EVENT_TYPE,)) -> bytes:
    """The data of a structured-mode event, as it was sent. Raises ``EnvelopeMalformed``."""
    _check({name: getattr(envelope, name) for name in _REQUIRED}, types)
    if envelope.datacontenttype not in {None, JSON}:
        raise EnvelopeMalformed(fields={"datacontenttype": "must be application/json"})
    if not bytes(envelope.data):
        raise EnvelopeMalformed(fields={"data": "is missing"})
    return bytes(envelope.data)


def unwrap_structured(body: bytes) -> bytes:
    """The referral in a structured-mode event, as it was sent. Raises ``EnvelopeMalformed``."""
    return check_structured(read_structured(body))


def require_content_type(header: str | None, *taken: str, name: str = "Content-Type") -> str:
    """The media type a header names, one of those taken. Raises ``ContentTypeUnsupported``."""
    content_type = (header or "").partition(";")[0].strip().lower()
    if content_type not in taken:
        raise ContentTypeUnsupported(fields={name: f"must be {' or '.join(taken)}"})
    return content_type


def _check(attributes: Mapping[str, str | None], types: Sequence[str], prefix: str = "") -> None:
    wrong = {f"{prefix}{name}": "is missing" for name, value in attributes.items() if not value}
    if not wrong and attributes["specversion"] != _SPEC_VERSION:
        wrong[f"{prefix}specversion"] = f"must be {_SPEC_VERSION}"
    if not wrong and attributes["type"] not in types:
        wrong[f"{prefix}type"] = f"must be {' or '.join(types)}"
    if wrong:
        raise EnvelopeMalformed(fields=wrong)
