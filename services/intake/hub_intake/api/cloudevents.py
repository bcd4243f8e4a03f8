"""A referral inside a CloudEvents 1.0 envelope, structured or binary mode (HTTP protocol binding)."""

from collections.abc import Mapping
from typing import Final

import msgspec

from hub_kernel.errors import Malformed

EVENT_TYPE: Final = "referral-hub.referral.submitted.v1"
"""The ``type`` a sender gives an event whose data is a canonical referral."""
STRUCTURED: Final = "application/cloudevents+json"
_SPEC_VERSION: Final = "1.0"
_REQUIRED: Final = ("specversion", "id", "source", "type")


class EnvelopeMalformed(Malformed):
    """This is not a CloudEvents 1.0 envelope for a referral. Mend the named attributes and send it again."""

    slug = "cloudevent-malformed"


class _Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """Context attributes beside the data; extension attributes are ignored, as CloudEvents asks."""

    specversion: str | None = None
    id: str | None = None
    source: str | None = None
    type: str | None = None
    datacontenttype: str | None = None
    data: msgspec.Raw = msgspec.Raw()


_decoder = msgspec.json.Decoder(_Envelope)


def is_binary(headers: Mapping[str, str]) -> bool:
    """Whether the headers carry an event's attributes, so that the body is its data."""
    return "ce-specversion" in headers


def check_binary(headers: Mapping[str, str]) -> None:
    """Check the attributes in ``ce-`` headers. Raises ``EnvelopeMalformed`` naming each that is wrong."""
    _check({name: headers.get(f"ce-{name}") for name in _REQUIRED}, prefix="ce-")


def unwrap_structured(body: bytes) -> bytes:
    """The data of a structured-mode event, as it was sent. Raises ``EnvelopeMalformed``."""
    try:
        envelope = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The decoder's own words may quote the body.
        raise EnvelopeMalformed(fields={"(envelope)": "is not a JSON object of text attributes"}) from None
    _check({name: getattr(envelope, name) for name in _REQUIRED})
    if envelope.datacontenttype not in {None, "application/json"}:
        raise EnvelopeMalformed(fields={"datacontenttype": "must be application/json"})
    if not bytes(envelope.data):
        raise EnvelopeMalformed(fields={"data": "is missing"})
    return bytes(envelope.data)


def _check(attributes: Mapping[str, str | None], prefix: str = "") -> None:
    wrong = {f"{prefix}{name}": "is missing" for name, value in attributes.items() if not value}
    if not wrong and attributes["specversion"] != _SPEC_VERSION:
        wrong[f"{prefix}specversion"] = f"must be {_SPEC_VERSION}"
    if not wrong and attributes["type"] != EVENT_TYPE:
        wrong[f"{prefix}type"] = f"must be {EVENT_TYPE}"
    if wrong:
        raise EnvelopeMalformed(fields=wrong)
