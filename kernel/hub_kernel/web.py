"""The HTTP edge: problem details, limits on bodies, who may call what, telemetry. Closed by default."""

import asyncio
import contextlib
import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final
from uuid import UUID

import asyncpg
import structlog
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.models import HTTPBearer
from fastapi.routing import APIRoute
from fastapi.security.base import SecurityBase
from opentelemetry import trace
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub_kernel import metrics
from hub_kernel.auth import Principal, Role, TokenVerifier
from hub_kernel.clock import monotonic_seconds, new_id
from hub_kernel.errors import (
    HTTP_STATUS,
    Forbidden,
    HubError,
    Malformed,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
    kind_of,
)
from hub_kernel.telemetry import span

_log = structlog.get_logger(__name__)

PROBLEM_JSON: Final = "application/problem+json"
SESSION_COOKIE: Final = "hub_session"
_BEARER: Final = re.compile(r"^[Bb]earer +([A-Za-z0-9._~+/=-]+)$")
_LENGTH: Final = re.compile(r"^[0-9]{1,18}$")
_FIELD_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,39}")
_DROPPED_BYTES: Final = 67_108_864
_DROPPING_SECONDS: Final = 5.0
_SLOW_SECONDS: Final = 1.0
_READY_PATH: Final = "/health/ready"
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_INTERNAL_FAULT: Final = {
    "type": "urn:referral-hub:problem:internal-fault",
    "title": "Internal fault",
    "status": 500,
    "detail": "The hub met a fault of its own. Nothing is half done; tell the operator the correlation id.",
}
_HOW_TO_SIGN_IN: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sign in - Referral hub</title></head>
<body><main><h1>Sign in</h1>
<p>This hub is closed. On the machine it runs on, type <code>hub sign-in</code> and open the link it prints:
it works once, for ten minutes.</p></main></body></html>
"""
_EDGE_HEADERS: Final = frozenset(
    {b"x-correlation-id", b"content-length", b"traceparent", b"expect", b"accept"}
)
_DRIVER_ERRORS: Final = (
    OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError,
)  # fmt: skip


class Problem(BaseModel):
    """RFC 9457 problem details. ``errors`` maps field paths to what is wrong; no value is ever echoed."""

    type: str
    title: str
    status: int
    detail: str
    errors: dict[str, str] = {}


class Gate(SecurityBase):
    """Lets the listed roles in and hands over the principal; everybody else gets a problem.

    ``session`` also takes the cookie that the one-time sign-in link sets, for pages a person opens.
    """

    model = HTTPBearer(bearerFormat="JWT")
    scheme_name = "bearer"

    def __init__(self, roles: Sequence[Role], *, session: bool = False) -> None:
        self.roles = tuple(roles)
        self.session = session

    async def __call__(self, request: Request) -> Principal:
        """Authenticate and authorise one request. Raises ``Unauthenticated`` or ``Forbidden``."""
        verifier: TokenVerifier = request.app.state.verifier
        principal = verifier.verify(_token(request, session=self.session))
        if principal.role not in self.roles:
            raise Forbidden
        return principal


def _token(request: HTTPConnection, *, session: bool) -> str:
    header = request.headers.get("authorization")
    if header is not None and (match := _BEARER.match(header)):
        return match[1]
    if session and (cookie := request.cookies.get(SESSION_COOKIE)):
        return cookie
    raise Unauthenticated


def allow(*roles: Role, session: bool = False) -> Gate:
    """The gate of a route: ``principal: Annotated[Principal, Depends(allow("assessor"))]``."""
    return Gate(roles, session=session)


OPEN_PATHS: Final = frozenset({"/health/live", "/health/ready", "/sign-in"})
"""Routes without a gate: health, and the sign-in link, whose one-time code is itself the credential."""


def include_closed(app: FastAPI, router: APIRouter, tags: list[str | Enum]) -> None:
    """Serve a router, each of its routes closed; write the roles of each into the OpenAPI document.

    Raises ``RuntimeError``, so that the hub refuses to start, for a route that names no roles and for one of
    a kind that cannot (a mount, a websocket, a router in the router).
    """
    for route in router.routes:
        path = getattr(route, "path", "of a router in a router")
        if path in OPEN_PATHS:
            continue
        gates = [d.call for d in route.dependant.dependencies] if isinstance(route, APIRoute) else []
        roles = {role for gate in gates if isinstance(gate, Gate) for role in gate.roles}
        if not isinstance(route, APIRoute) or not roles:
            raise RuntimeError(f"route {path} has no gate: add Depends(allow(...))")
        route.openapi_extra = {**(route.openapi_extra or {}), "x-roles": sorted(roles)}
    app.include_router(router, tags=tags)


def problem(error: HubError) -> JSONResponse:
    """The one way an error becomes an HTTP answer."""
    status = HTTP_STATUS[kind_of(error)]
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}  # noqa: PLR2004  RFC 9110 section 11.6.1
    if isinstance(error, Unavailable):
        headers["Retry-After"] = "1"
    if isinstance(error, TooLarge):
        headers["Connection"] = "close"  # what is left of the body is not worth reading
    return JSONResponse(problem_body(error), status, headers, media_type=PROBLEM_JSON)


def problem_body(error: HubError) -> dict[str, Any]:
    """Problem details as JSON values."""
    body: dict[str, Any] = {
        "type": f"urn:referral-hub:problem:{error.slug}",
        "title": error.slug.replace("-", " ").capitalize(),
        "status": HTTP_STATUS[kind_of(error)],
        "detail": error.detail,
    }
    if error.fields:
        body["errors"] = error.fields
    return body


def malformed(error: ValidationError | RequestValidationError) -> Malformed:
    """What pydantic found, by field and kind of fault only: its own messages can quote the input."""
    fields: dict[str, str] = {}
    for fault in error.errors()[:50]:
        steps = [str(step) for step in fault["loc"] if step != "body"]
        if fault["type"] == "extra_forbidden" and not _FIELD_NAME.fullmatch(steps[-1]):
            steps[-1] = "(unnamed)"
        fields[".".join(steps) or "body"] = str(fault["type"]).replace("_", " ")
    return Malformed(fields=fields)


_PROBLEM_RESPONSE: Final = {
    "description": "Refused, or not possible now: problem details (RFC 9457).",
    "content": {PROBLEM_JSON: {"schema": Problem.model_json_schema()}},
}


def create_api(
    title: str, verifier: TokenVerifier, body_limits: Mapping[str, int], default_limit: int
) -> FastAPI:
    """An application with the house's edge; routers are included by the runtime.

    ``body_limits`` maps a path to the largest body it takes, in bytes; every other path takes
    ``default_limit``.
    """
    app = FastAPI(
        title=title,
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        # A redirect would be built from the Host header, which is the caller's to choose.
        redirect_slashes=False,
        responses={"4XX": _PROBLEM_RESPONSE, "5XX": _PROBLEM_RESPONSE},
    )
    # The document itself is served behind a gate by the runtime.
    app.router.routes = [r for r in app.router.routes if getattr(r, "path", "") != "/openapi.json"]
    app.state.verifier = verifier
    app.add_exception_handler(HubError, _on_hub_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    for driver_error in _DRIVER_ERRORS:
        app.add_exception_handler(driver_error, _on_driver_error)
    app.add_middleware(Edge, verifier=verifier, limits=body_limits, default_limit=default_limit)
    return app


async def _on_hub_error(_request: Request, error: Exception) -> Response:
    return problem(error if isinstance(error, HubError) else Unavailable())


async def _on_validation_error(_request: Request, error: Exception) -> Response:
    return problem(malformed(error) if isinstance(error, RequestValidationError) else Malformed())


async def _on_driver_error(_request: Request, error: Exception) -> Response:
    _log.warning("http.database_error", error=type(error).__name__)
    return problem(Unavailable())


async def _on_http_exception(_request: Request, error: Exception) -> Response:
    if isinstance(error.__cause__, HubError):  # FastAPI wraps what reading the body raised
        return problem(error.__cause__)
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 404:  # noqa: PLR2004
        return problem(NotFound())
    if status == 400:  # noqa: PLR2004  FastAPI again: a body that is no text, or nested too deep
        return problem(Malformed(fields={"body": "json invalid"}))
    body = {
        "type": f"urn:referral-hub:problem:http-{status}",
        "title": "Request refused",
        "status": status,
        "detail": "This method or form of request is not served here. See the OpenAPI document.",
    }
    return JSONResponse(body, status, media_type=PROBLEM_JSON)


class Edge:
    """What happens to every request: correlation, a span, a token, a bounded body, metrics, a last resort.

    A stranger is refused before anything of its body is looked at. Plain ASGI, so that streaming stays
    streaming.
    """

    def __init__(
        self, app: ASGIApp, *, verifier: TokenVerifier, limits: Mapping[str, int], default_limit: int
    ) -> None:
        self._app, self._verifier = app, verifier
        self._limits, self._default = limits, default_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event of the server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in _EDGE_HEADERS
        }
        exchange = _Exchange(scope, send, _correlation(headers.get("x-correlation-id")))
        with (
            structlog.contextvars.bound_contextvars(correlation_id=exchange.correlation_id),
            span("request", kind=trace.SpanKind.SERVER, caller=headers),
        ):
            limit = self._limits.get(scope["path"], self._default)
            refusal = self._refusal(scope, headers.get("content-length"), limit)
            if refusal is None:
                await self._answer(scope, _Bounded(receive, limit), exchange)
            else:
                if "expect" not in headers:
                    await _drop_rest(receive)
                await _told(refusal, headers)(scope, receive, exchange.send)
            exchange.finish()

    def _refusal(self, scope: Scope, length: str | None, limit: int) -> HubError | None:
        if scope["path"] not in OPEN_PATHS:
            try:
                self._verifier.verify(_token(HTTPConnection(scope), session=True))
            except HubError as error:
                return error
        too_large = length is not None and (not _LENGTH.match(length) or int(length) > limit)
        return TooLarge() if too_large else None

    async def _answer(self, scope: Scope, receive: Receive, exchange: "_Exchange") -> None:
        try:
            await self._app(scope, receive, exchange.send)
        except ClientDisconnect:
            _log.info("http.caller_left", method=scope["method"])
        except Exception:  # noqa: BLE001  the last resort of the process: answer, and tell the log where
            _log.exception("http.unhandled", method=scope["method"])
            if not exchange.status:
                await JSONResponse(_INTERNAL_FAULT, 500, media_type=PROBLEM_JSON)(
                    scope, receive, exchange.send
                )


def _told(refusal: HubError, headers: Mapping[str, str]) -> Response:
    """A program is told by a problem; a person's browser, that has no session, how to get one."""
    if isinstance(refusal, Unauthenticated) and "text/html" in headers.get("accept", ""):
        return HTMLResponse(_HOW_TO_SIGN_IN, 401, {"Content-Security-Policy": "default-src 'none'"})
    return problem(refusal)


class _Bounded:
    """A receive channel that stops at a limit, whatever the headers said."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive, self._left = receive, limit

    async def __call__(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            if message.get("more_body"):
                await _drop_rest(self._receive)
            raise TooLarge
        return message


async def _drop_rest(receive: Receive) -> None:
    """Drop what is still to come of a refused body, within bounds.

    A client whose connection closes while it is sending sees a reset and never the answer.
    """
    left = _DROPPED_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DROPPING_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body"):
                    return


class _Exchange:
    """One request and its answer, as telemetry sees them."""

    def __init__(self, scope: Scope, send: Send, correlation_id: str) -> None:
        self._scope, self._send = scope, send
        self.correlation_id = correlation_id
        self.status = 0
        self._started = monotonic_seconds()

    async def send(self, message: Message) -> None:
        """Pass the answer on, with the correlation id and the headers every answer carries."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [
                *message.get("headers", ()),
                (b"x-correlation-id", self.correlation_id.encode()),
                (b"x-content-type-options", b"nosniff"),
                (b"cache-control", b"no-store"),
            ]
        await self._send(message)

    def finish(self) -> None:
        """Count it, and log what went wrong or was slow. The route's template, never the path asked for."""
        route = getattr(self._scope.get("route"), "path", "unmatched")
        method = self._scope["method"] if self._scope["method"] in _METHODS else "other"
        seconds = monotonic_seconds() - self._started
        metrics.REQUESTS.labels(method, route, self.status).inc()
        metrics.REQUEST_SECONDS.labels(method, route).observe(seconds)
        is_fault = self.status >= 500 and route != _READY_PATH  # noqa: PLR2004  "not ready" is an answer
        if is_fault or seconds > _SLOW_SECONDS:
            _log.warning(
                "http.request", method=method, route=route, status=self.status, seconds=round(seconds, 3)
            )


def _correlation(asked: str | None) -> str:
    """The caller's correlation id if it is a UUID, otherwise a new one: free text could carry anything."""
    try:
        return str(UUID(asked)) if asked else str(new_id())
    except ValueError:
        return str(new_id())
