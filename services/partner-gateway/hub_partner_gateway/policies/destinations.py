"""How each partner is reached, as HUB_PARTNERS says: over HTTP at its address, or by a topic of its own."""

from typing import Annotated, Any, ClassVar, Final

import msgspec

from hub_kernel.errors import Unavailable
from hub_partner_gateway.policies.retrying import CALLBACK_SECONDS, POLL_SECONDS, RETRY_SECONDS

PRINCIPAL: Final = r"^User:(?!ANONYMOUS$)[A-Za-z0-9][A-Za-z0-9 ._@=,:/+-]{0,200}$"
"""One user as Kafka names it; never the names by which Kafka means anybody."""
_Seconds = Annotated[float, msgspec.Meta(gt=0, le=1800)]


class PartnersMisconfigured(Unavailable):
    """HUB_PARTNERS cannot be used. As JSON it maps a package's name to how that partner is reached.

    Either by its url (http or https) and token, or by topic (true) and principal (User:..., who may read it).
    """

    slug: ClassVar[str] = "partners-misconfigured"


class HttpDestination(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where one partner listens and who the hub is there. The waits may be shortened for demos and tests."""

    url: Annotated[str, msgspec.Meta(pattern=r"^https?://[^/?#@\s]+(/[^?#\s]*)?$")]
    token: str
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=25)] = 10.0
    retry_seconds: tuple[_Seconds, ...] = RETRY_SECONDS
    poll_seconds: tuple[_Seconds, ...] = POLL_SECONDS
    callback_seconds: tuple[_Seconds, ...] = CALLBACK_SECONDS


class TopicDestination(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A partner that reads its contacts from its own topic, as ``principal``."""

    topic: bool
    principal: Annotated[str, msgspec.Meta(pattern=PRINCIPAL)]
    retry_seconds: tuple[_Seconds, ...] = RETRY_SECONDS
    callback_seconds: tuple[_Seconds, ...] = CALLBACK_SECONDS


Destination = HttpDestination | TopicDestination


def read_destinations(partners: str | None) -> dict[str, Destination]:
    """Read the setting. Raises ``PartnersMisconfigured``, which echoes none of it."""
    try:
        entries = msgspec.json.decode(partners or "{}", type=dict[str, dict[str, Any]])
        return {name: _read(entry) for name, entry in entries.items()}
    except msgspec.DecodeError:
        raise PartnersMisconfigured from None


def _read(entry: dict[str, Any]) -> Destination:
    if "topic" not in entry:
        return msgspec.convert(entry, HttpDestination)
    destination = msgspec.convert(entry, TopicDestination)
    if not destination.topic:
        raise PartnersMisconfigured
    return destination
