"""HTTP/1.1 as uvicorn speaks it, with bounds on the head of a request and on how slowly one may come.

uvicorn bounds neither: a head without an end would fill the memory, and a caller who never finishes a request
would hold its connection for ever. The edge (``web``) bounds bodies in size; what comes too slowly ends here.
"""

import json
from asyncio import BaseTransport, TimerHandle
from http import HTTPStatus
from typing import Any, Final, Literal

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 65_536
HEAD_SECONDS: Final = 10.0
BODY_SECONDS: Final = 20.0
BODY_BYTES_PER_SECOND: Final = 4_096
"""A body has ``BODY_SECONDS``, and a second more for so many bytes of it that came."""

_HEADER_MARKS: Final = len(": \r\n")
_DETAILS: Final = {
    HTTPStatus.BAD_REQUEST: "This is not a request the hub can read. Nothing was recorded.",
    HTTPStatus.REQUEST_TIMEOUT: "The request came too slowly. Nothing was recorded; send it again, whole.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The URL and headers are larger than the hub takes.",
}


class _Refused(Exception):
    """Stops the parser."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection. Refusals of its own are problem details too, and always end the connection."""

    _stage: Literal["head", "body", "between"] = "head"
    _head_bytes = 0
    _body_bytes = 0
    _deadline: TimerHandle | None = None
    _allowed_until = 0.0

    def connection_made(self, transport: BaseTransport) -> None:
        """Wait for the first request, but not for ever."""
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn narrows it to Transport
        self._wait(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock with the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; then see that what is unfinished is neither too large nor too slow."""
        was_in_head = self._stage == "head"
        super().data_received(data)
        if self.transport.is_closing():
            return
        if was_in_head and self._stage == "head":
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if self._stage == "between" and not self._is_idle():
            self._stop_waiting()
        elif self._deadline is None:
            self._wait(BODY_SECONDS if self._stage == "body" else HEAD_SECONDS)

    def on_message_begin(self) -> None:
        """Begin to count a head."""
        super().on_message_begin()
        self._stage, self._head_bytes, self._body_bytes = "head", 0, 0

    def on_headers_complete(self) -> None:
        """Refuse a head that came at once but is too large, or names no one host (RFC 9112 section 3.2)."""
        size = len(self.url) + sum(len(name) + len(value) + _HEADER_MARKS for name, value in self.headers)
        self._head_bytes = max(self._head_bytes, size)
        hosts = sum(name == b"host" for name, _ in self.headers)
        if size > MAX_HEAD_BYTES or hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            raise _Refused
        super().on_headers_complete()
        self._stage = "body"
        self._stop_waiting()

    def on_body(self, body: bytes) -> None:
        """Count what came of the body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        super().on_message_complete()
        self._stage = "between"

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  uvicorn's words are replaced by ours
        """Say what the parser refused."""
        too_large = self._head_bytes > MAX_HEAD_BYTES
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if too_large else HTTPStatus.BAD_REQUEST)

    def _is_idle(self) -> bool:
        cycle: Any = self.cycle
        return cycle is None or bool(cycle.response_complete)

    def _wait(self, seconds: float) -> None:
        self._allowed_until = self.loop.time() + seconds
        self._deadline = self.loop.call_at(self._allowed_until, self._on_deadline)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _on_deadline(self) -> None:
        self._deadline = None
        allowed_until = self._allowed_until + self._body_bytes / BODY_BYTES_PER_SECOND
        if allowed_until > self.loop.time():
            self._deadline = self.loop.call_at(allowed_until, self._on_deadline)
        elif not self.transport.is_closing():
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer and close; only close where an answer has begun already, or nothing was asked."""
        self._stop_waiting()
        cycle: Any = self.cycle
        begun = cycle is not None and cycle.response_started and not cycle.response_complete
        if not begun and (self._stage != "between" or status is HTTPStatus.BAD_REQUEST):
            self.transport.write(_problem(status))
        self.transport.close()


def _problem(status: HTTPStatus) -> bytes:
    body = json.dumps(
        {
            "type": f"urn:referral-hub:problem:http-{status}",
            "title": "Request refused",
            "status": int(status),
            "detail": _DETAILS[status],
        }
    )
    return (
        f"HTTP/1.1 {status} {status.phrase}\r\ncontent-type: application/problem+json\r\n"
        f"content-length: {len(body)}\r\nx-content-type-options: nosniff\r\ncache-control: no-store\r\n"
        f"connection: close\r\n\r\n{body}"
    ).encode()
