"""Partners' systems over HTTP: only hosts the settings name are contacted, and no body is ever logged."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, ClassVar, Final, Literal
from uuid import UUID

import httpx
import msgspec
import structlog

from hub_kernel.errors import Unavailable
from hub_partner_gateway.policies.answering import Answer, AnswerUnreadable, read_answer
from hub_partner_gateway.policies.packages import PartnerPackage
from hub_partner_gateway.policies.retrying import (
    CALLBACK_SECONDS,
    POLL_SECONDS,
    RETRY_SECONDS,
    retry_after_seconds,
)
from hub_schemas.partner_gateway import FailureReason

_log = structlog.get_logger(__name__)
CONNECT_SECONDS: Final = 3.0
ANSWER_BYTES_MAX: Final = 65_536
CONNECTIONS: Final = 8
"""Requests under way at one partner."""

_Seconds = Annotated[float, msgspec.Meta(gt=0, le=1800)]


class PartnersMisconfigured(Unavailable):
    """HUB_PARTNERS cannot be used. It maps a package's name to its url (http or https) and token, as JSON."""

    slug: ClassVar[str] = "partners-misconfigured"


class Destination(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where one partner listens and who the hub is there. The waits may be shortened for demos and tests."""

    url: Annotated[str, msgspec.Meta(pattern=r"^https?://[^/?#@\s]+(/[^?#\s]*)?$")]
    token: str
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=25)] = 10.0
    retry_seconds: tuple[_Seconds, ...] = RETRY_SECONDS
    poll_seconds: tuple[_Seconds, ...] = POLL_SECONDS
    callback_seconds: tuple[_Seconds, ...] = CALLBACK_SECONDS


@dataclass(frozen=True, slots=True)
class Taken:
    """The partner's system took the message in."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The partner's system refused the message for good."""

    reason_code: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The partner's system certainly did not take the message this time."""

    reason: FailureReason
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """Nobody can say whether the partner's system took the message."""


Sent = Taken | Refused | Failed | Lost
Asked = Answer | Literal["unknown", "unreachable"]

_AGAIN: Final[Mapping[int, FailureReason]] = {
    HTTPStatus.TOO_MANY_REQUESTS: "throttled",
    HTTPStatus.SERVICE_UNAVAILABLE: "server_error",
}


def read_destinations(partners: str | None) -> dict[str, Destination]:
    """Read the setting. Raises ``PartnersMisconfigured``, which echoes none of it."""
    try:
        return msgspec.json.decode(partners or "{}", type=dict[str, Destination])
    except msgspec.DecodeError:
        raise PartnersMisconfigured from None


class Partner:
    """One partner's system, behind a connection pool that is kept open."""

    def __init__(self, package: PartnerPackage, destination: Destination, client: httpx.AsyncClient) -> None:
        self.package, self.destination, self._client = package, destination, client

    async def send(self, message_id: UUID, body: str) -> Sent:
        """Send the exact bytes under the message's id. Never raises for what the network or partner does."""
        headers = {"Content-Type": self.package.content_type, "Message-Id": str(message_id)}
        try:
            status, answer_headers, _ = await self._exchange(
                "POST", self.package.submit_path, headers=headers, content=body.encode()
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


@asynccontextmanager
async def partners(
    packages: Mapping[str, PartnerPackage], destinations: Mapping[str, Destination]
) -> AsyncIterator[dict[str, Partner]]:
    """Every configured partner, by package name, until the block ends.

    No redirect is followed and no proxy of the environment used: a message goes where the settings say.
    """
    trusted = httpx.create_ssl_context(trust_env=False)  # slow to make, so one for all
    async with AsyncExitStack() as stack:
        opened = {}
        for name, package in packages.items():
            destination = destinations[name]
            client = httpx.AsyncClient(
                base_url=destination.url,
                headers={"Authorization": f"Bearer {destination.token}"},
                timeout=httpx.Timeout(destination.timeout_seconds, connect=CONNECT_SECONDS, pool=None),
                limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
                follow_redirects=False,
                trust_env=False,
                verify=trusted,
            )
            await stack.enter_async_context(client)
            opened[name] = Partner(package, destination, client)
        yield opened
