"""The one-time sign-in link of the embedded hub: how a person's browser gets a session without a password."""

import os
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import RedirectResponse, Response

from hub_kernel.auth import LocalIssuer, TokenVerifier
from hub_kernel.errors import Unauthenticated
from hub_kernel.web import SESSION_COOKIE

LINK_SECONDS: Final = 600
SESSION_SECONDS: Final = 12 * 3_600


class LinkUsed(Unauthenticated):
    """This sign-in link was used or is too old. Run `hub sign-in` on the hub's machine for a new one."""

    slug = "sign-in-link-used"


class SignIn:
    """Makes links and turns each into one session; used codes are kept as files, so also over a restart."""

    def __init__(self, issuer: LocalIssuer, used_dir: Path, audience: str) -> None:
        self._issuer, self._used_dir = issuer, used_dir
        self._links = TokenVerifier(issuer.keys, issuer.name, f"{audience}/sign-in")
        self._link_audience = f"{audience}/sign-in"

    def link(self, base_url: str) -> str:
        """A link that signs one browser in as operator, once, within ten minutes."""
        code = self._issuer.token(
            "operator", subject="sign-in", lifetime_seconds=LINK_SECONDS, audience=self._link_audience
        )
        return f"{base_url}/sign-in?code={code}"

    def session(self, code: str) -> str:
        """Trade a code for a session token. Raises ``LinkUsed``."""
        try:
            self._links.verify(code)
        except Unauthenticated as error:
            raise LinkUsed from error
        self._used_dir.mkdir(mode=0o700, exist_ok=True)
        signature = code.rpartition(".")[2]
        try:
            os.close(os.open(self._used_dir / signature[:64], os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError as error:
            raise LinkUsed from error
        return self._issuer.token("operator", subject="operator-page", lifetime_seconds=SESSION_SECONDS)

    def router(self) -> APIRouter:
        """The one route: set the session cookie and go to the first page."""
        router = APIRouter()

        @router.get("/sign-in", include_in_schema=False)
        async def sign_in(code: Annotated[str, Query(max_length=4_096)]) -> Response:
            """Sign in by a one-time link."""
            response = RedirectResponse("/", status_code=303)
            response.set_cookie(
                SESSION_COOKIE,
                self.session(code),
                max_age=SESSION_SECONDS,
                httponly=True,
                samesite="strict",
                path="/",
            )
            return response

        return router
