"""Tokens for brokers that ask for OAUTHBEARER, got from the issuer by client credentials (RFC 6749, 4.4)."""

import asyncio
from typing import Final

import httpx
import msgspec
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError

from hub_kernel.clock import monotonic_seconds

_TIMEOUT_SECONDS: Final = 10.0
_RENEW_AT: Final = 0.8
"""Of a token's life: aiokafka asks at each new connection, and brokers close those whose token ran out."""


class _Granted(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: float = 300.0


class ClientCredentials(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no types
    """Gets a token when there is none that still has life in it."""

    def __init__(self, token_url: str, client_id: str, client_secret: str) -> None:
        self._url, self._client = token_url, (client_id, client_secret)
        self._token, self._renew_at, self._ends_at = "", 0.0, 0.0
        self._asking = asyncio.Lock()

    async def token(self) -> str:
        """The token to show to a broker. Raises ``KafkaConnectionError``: the client tries again.

        An issuer that gives no new one is no reason to throw away one that is still good.
        """
        async with self._asking:
            if monotonic_seconds() >= self._renew_at:
                try:
                    await self._renew()
                except KafkaConnectionError:
                    if monotonic_seconds() >= self._ends_at:
                        raise
            return self._token

    async def _renew(self) -> None:
        asked_at = monotonic_seconds()
        granted = await self._ask()
        self._token = granted.access_token
        self._renew_at = asked_at + granted.expires_in * _RENEW_AT
        self._ends_at = asked_at + granted.expires_in

    async def _ask(self) -> _Granted:
        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False) as client:
                answer = await client.post(
                    self._url, data={"grant_type": "client_credentials"}, auth=self._client
                )
                # Not strict: some issuers write the seconds as text.
                return msgspec.json.decode(answer.raise_for_status().content, type=_Granted, strict=False)
        except (httpx.HTTPError, httpx.InvalidURL, msgspec.DecodeError):
            # Not from the cause: its words may hold the request.
            raise KafkaConnectionError("the token endpoint gave no token") from None
