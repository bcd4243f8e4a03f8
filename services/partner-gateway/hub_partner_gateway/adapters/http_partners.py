"""Partners' systems over HTTP: only hosts the settings name are contacted, and no body is ever logged."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from ssl import SSLContext
from typing import Final
from uuid import UUID

import httpx
import msgspec
import structlog

from hub_partner_gateway.adapters.partner import Asked, Contact, Failed, Lost, Refused, Sent, Taken
from hub_partner_gateway.policies.answering import AnswerUnreadable, read_answer
from hub_partner_gateway.policies.destinations import HttpDestination
from hub_partner_gateway.policies.packages import PartnerPackage
from hub_partner_gateway.policies.retrying import retry_after_seconds
from hub_schemas.partner_gateway import FailureReason

_log = structlog.get_logger(__name__)
CONNECT_SECONDS: Final = 3.0
ANSWER_BYTES_MAX: Final = 65_536
CONNECTIONS: Final = 8
"""Requests under way at one partner."""

_AGAIN: Final[Mapping[int, FailureReason]] = {
    HTTPStatus.TOO_MANY_REQUESTS: "throttled",
    HTTPStatus.SERVICE_UNAVAILABLE: "server_error",
}


class HttpPartner:
    """One partner's system, behind a connection pool that is kept open."""

    can_be_asked: Final = True

    def __init__(
        self, package: PartnerPackage, destination: HttpDestination, client: httpx.AsyncClient
    ) -> None:
        self.package, self._destination, self._client = package, destination, client

    @property
    def is_polled(self) -> bool:
        """As the partner's shape says."""
        return self.package.acknowledgement == "poll"

    @property
    def retry_seconds(self) -> Sequence[float]:
        """The waits after sendings that came to nothing."""
        return self._destination.retry_seconds

    def answer_seconds(self, *, transport_accepted: bool) -> Sequence[float]:
        """Short waits where the partner is asked, or where it may not have the message; else its own time."""
        asked_soon = self.is_polled or not transport_accepted
        return self._destination.poll_seconds if asked_soon else self._destination.callback_seconds

    async def send(self, contact: Contact) -> Sent:
        """Send the exact bytes under the message's id. Never raises for what the network or partner does."""
        headers = {"Content-Type": self.package.content_type, "Message-Id": str(contact.message_id)}
        try:
            status, answer_headers, _ = await self._exchange(
                "POST", self.package.submit_path, headers=headers, content=contact.body.encode()
            )
        except (httpx.ConnectError, httpx.UnsupportedProtocol):
            return Failed("refused_connection")
        except httpx.ConnectTimeout:
            return Failed("timed_out")
        except httpx.HTTPError:
            return Lost()
        if status in _AGAIN:
            return Failed(_AGAIN[status], retry_after_seconds(answer_headers.get("retry-after")))
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
            return Lost()
        return Taken() if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES else Refused(f"http_{status}")

    async def ask(self, message_id: UUID) -> Asked:
        """Ask what became of a message: an answer, or that the partner does not know it."""
        try:
            status, _, content = await self._exchange(
                "GET", self.package.status_path.format(message_id=message_id)
            )
        except httpx.HTTPError:
            return "unreachable"
        if status == HTTPStatus.NOT_FOUND:
            return "unknown"
        if status != HTTPStatus.OK:
            return "unreachable"
        try:
            return read_answer(self.package, msgspec.json.decode(content))
        except (AnswerUnreadable, msgspec.DecodeError):
            _log.error("partner.answer_unreadable", package=self.package.name, message_id=str(message_id))
            return "unreachable"

    async def _exchange(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, content: bytes | None = None
    ) -> tuple[int, httpx.Headers, bytes]:
        """One request and as much of its answer as anybody needs. Raises ``httpx.HTTPError``."""
        async with self._client.stream(method, path, headers=headers, content=content) as response:
            body = b""
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > ANSWER_BYTES_MAX:
                    raise httpx.DecodingError("the answer is too long")
            return response.status_code, response.headers, body


def trusted_authorities() -> SSLContext:
    """Whose certificates are believed; slow to make, so one for all partners."""
    return httpx.create_ssl_context(trust_env=False)


def client_for(destination: HttpDestination, trusted: SSLContext) -> httpx.AsyncClient:
    """A pool of connections to one partner.

    No redirect is followed and no proxy of the environment used: a message goes where the settings say.
    """
    return httpx.AsyncClient(
        base_url=destination.url,
        headers={"Authorization": f"Bearer {destination.token}"},
        timeout=httpx.Timeout(destination.timeout_seconds, connect=CONNECT_SECONDS, pool=None),
        limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
        follow_redirects=False,
        trust_env=False,
        verify=trusted,
    )
