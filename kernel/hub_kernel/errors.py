"""The error kinds every service speaks, and the two tables that say what each edge does with them.

HubError
├── Malformed     the input cannot be read as what it claims to be
├── Unauthenticated  nobody we know is asking
├── Forbidden     who asks may not have this
├── NotFound      there is no such thing (or not for who asks)
├── Conflict      it contradicts what is already recorded
├── Rejected      well-formed, but a rule of the domain says no
├── TooLarge      more than this edge takes at once
└── Unavailable   a part we need is down; the same call may work later
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

BusVerdict = Literal["retry", "park"]


class HubError(Exception):
    """Something a caller can act on. The text says what is wrong and what to do next, and names no person.

    ``slug`` is the stable name of the problem; ``fields`` maps field paths to what is wrong with each
    (never the value found there).
    """

    slug: ClassVar[str] = "error"

    def __init__(self, detail: str | None = None, *, fields: Mapping[str, str] | None = None) -> None:
        self.detail = detail or " ".join((type(self).__doc__ or "").split())
        self.fields = dict(fields or {})
        super().__init__(self.detail)


class Malformed(HubError):
    """The input cannot be read. Mend the named fields and send it again; nothing was recorded."""

    slug = "malformed"


class Unauthenticated(HubError):
    """A bearer token is needed. Get one from the issuer and send it in the Authorization header."""

    slug = "unauthenticated"


class Forbidden(HubError):
    """This token's role or authority does not allow this. Ask the hub's operator for the right role."""

    slug = "forbidden"


class NotFound(HubError):
    """There is no such record, or not one this token may see. Check the id."""

    slug = "not-found"


class Conflict(HubError):
    """This contradicts what is already recorded. Read the current state and decide again."""

    slug = "conflict"


class Rejected(HubError):
    """A rule of the domain does not allow this now. Read the current state and choose another action."""

    slug = "rejected"


class TooLarge(HubError):
    """The body is larger than this route takes. Send it in smaller parts."""

    slug = "too-large"


class Unavailable(HubError):
    """A part the hub needs is not answering. Nothing is lost; send the same request again shortly."""

    slug = "unavailable"


KINDS: tuple[type[HubError], ...] = (
    Malformed, Unauthenticated, Forbidden, NotFound, Conflict, Rejected, TooLarge, Unavailable,
)  # fmt: skip

HTTP_STATUS: Mapping[type[HubError], int] = {
    Malformed: 422,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    Rejected: 409,
    TooLarge: 413,
    Unavailable: 503,
}

BUS_VERDICT: Mapping[type[HubError], BusVerdict] = {
    Malformed: "park",
    Unauthenticated: "park",
    Forbidden: "park",
    NotFound: "park",
    Conflict: "retry",
    Rejected: "park",
    TooLarge: "park",
    Unavailable: "retry",
}


def kind_of(error: HubError) -> type[HubError]:
    """The kind in the table that this error is, itself or by descent."""
    return next(kind for kind in type(error).__mro__ if kind in HTTP_STATUS)
