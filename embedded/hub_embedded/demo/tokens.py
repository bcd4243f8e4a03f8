"""Tokens for the demo's own callers: signed by the hub's local issuer, renewed before they run out."""

from collections.abc import Generator
from typing import Any, Final

import httpx

from hub_kernel.auth import LocalIssuer, Role
from hub_kernel.clock import monotonic_seconds

_RENEW_AFTER_SECONDS: Final = 1_800.0


class LocalToken(httpx.Auth):
    """Puts a token for one role on every request. ``claims`` are ``system``, ``authority`` and ``agency``."""

    def __init__(self, issuer: LocalIssuer, role: Role, *, subject: str, **claims: Any) -> None:
        self._issuer, self._role, self._subject, self._claims = issuer, role, subject, claims
        self._token, self._made_at = "", float("-inf")

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header, with a new token where the last is half used up."""
        now = monotonic_seconds()
        if now - self._made_at > _RENEW_AFTER_SECONDS:
            self._token = self._issuer.token(self._role, subject=self._subject, **self._claims)
            self._made_at = now
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request
