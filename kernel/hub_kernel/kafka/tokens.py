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
        self._token, self._renew_at = "", 0.0
        self._asking = asyncio.Lock()

    async def token(self) -> str:
        """The token to show to a broker. Raises ``KafkaConnectionError``: the client tries again."""
        async with self._asking:
            if not self._token or monotonic_seconds() >= self._renew_at:
                granted = await self._ask()
                self._token = granted.access_token
                self._renew_at = monotonic_seconds() + granted.expires_in * _RENEW_AT
            return self._token

    async def _ask(self) -> _Granted:
        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False) as client:
                answer = await client.post(
                    self._url, data={"grant_type": "client_credentials"}, auth=self._client
                )
                return msgspec.json.decode(answer.raise_for_status().content, type=_Granted)
        except (httpx.HTTPError, msgspec.DecodeError):
            # Not from the cause: its words may hold the request.
            raise KafkaConnectionError("the token endpoint gave no token") from None
