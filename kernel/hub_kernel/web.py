"""The HTTP edge: problem details, limits on bodies, who may call what, telemetry. Closed by default."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from opentelemetry import trace
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
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
_SLOW_SECONDS: Final = 1.0
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_INTERNAL_FAULT: Final = {
    "type": "urn:referral-hub:problem:internal-fault",
    "title": "Internal fault",
    "status": 500,
    "detail": "The hub met a fault of its own. Nothing is half done; tell the operator the correlation id.",
}
_EDGE_HEADERS: Final = frozenset({b"x-correlation-id", b"content-length", b"traceparent"})
_DRIVER_ERRORS: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class Problem(BaseModel):
    """RFC 9457 problem details. ``errors`` maps field paths to what is wrong; no value is ever echoed."""

    type: str
    title: str
    status: int
    detail: str
    errors: dict[str, str] = {}


class Gate:
    """Lets the listed roles in and hands over the principal; everybody else gets a problem.

    ``session`` also takes the cookie that the one-time sign-in link sets, for pages a person opens.
    """

    def __init__(self, roles: Sequence[Role], *, session: bool = False) -> None:
        self.roles = tuple(roles)
        self.session = session

    async def __call__(self, request: Request) -> Principal:
        """Authenticate and authorise one request. Raises ``Unauthenticated`` or ``Forbidden``."""
        verifier: TokenVerifier = request.app.state.verifier
        principal = verifier.verify(self._token(request))
        if principal.role not in self.roles:
            raise Forbidden
        return principal

    def _token(self, request: Request) -> str:
        header = request.headers.get("authorization")
        if header is not None and (match := _BEARER.match(header)):
            return match[1]
        if self.session and (cookie := request.cookies.get(SESSION_COOKIE)):
            return cookie
        raise Unauthenticated


def allow(*roles: Role, session: bool = False) -> Gate:
    """The gate of a route: ``principal: Annotated[Principal, Depends(allow("assessor"))]``."""
    return Gate(roles, session=session)


OPEN_PATHS: Final = frozenset({"/health/live", "/health/ready", "/sign-in"})
"""Routes without a gate: health, and the sign-in link, whose one-time code is itself the credential."""


def check_every_route_is_closed(app: FastAPI) -> None:
    """Refuse to start with a route that names no roles, and write the roles into the OpenAPI document."""
    for route in app.routes:
        if not isinstance(route, APIRoute) or route.path in OPEN_PATHS:
            continue
        gates = [d.call for d in route.dependant.dependencies if isinstance(d.call, Gate)]
        if not gates:
            raise RuntimeError(f"route {route.path} has no gate: add Depends(allow(...))")
        route.openapi_extra = {
            **(route.openapi_extra or {}),
            "x-roles": sorted({role for gate in gates for role in gate.roles}),
            "security": [{"bearer": []}],
        }


def problem(error: HubError) -> JSONResponse:
    """The one way an error becomes an HTTP answer."""
    status = HTTP_STATUS[kind_of(error)]
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}  # noqa: PLR2004  RFC 9110 section 11.6.1
    if isinstance(error, Unavailable):
        headers["Retry-After"] = "1"
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
        path = ".".join(str(part) for part in fault["loc"] if part != "body") or "body"
        fields[path[:200]] = str(fault["type"]).replace("_", " ")
    return Malformed(fields=fields)


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
        responses={"4XX": {"model": Problem, "content": {PROBLEM_JSON: {}}}},
    )
    # The document itself is served behind a gate by the runtime.
    app.router.routes = [r for r in app.router.routes if getattr(r, "path", "") != "/openapi.json"]
    app.state.verifier = verifier
    app.add_exception_handler(HubError, _on_hub_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    for driver_error in _DRIVER_ERRORS:
        app.add_exception_handler(driver_error, _on_driver_error)
    app.add_middleware(Edge, limits=body_limits, default_limit=default_limit)
    return app


async def _on_hub_error(_request: Request, error: Exception) -> Response:
    return problem(error if isinstance(error, HubError) else Unavailable())


async def _on_validation_error(_request: Request, error: Exception) -> Response:
    return problem(malformed(error) if isinstance(error, RequestValidationError) else Malformed())


async def _on_driver_error(_request: Request, error: Exception) -> Response:
    _log.warning("http.database_error", error=type(error).__name__)
    return problem(Unavailable())


async def _on_http_exception(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 404:  # noqa: PLR2004
        return problem(NotFound())
    body = {
        "type": f"urn:referral-hub:problem:http-{status}",
        "title": "Request refused",
        "status": status,
        "detail": "This method or form of request is not served here. See the OpenAPI document.",
    }
    return JSONResponse(body, status, media_type=PROBLEM_JSON)


class Edge:
    """What happens to every request: correlation, a bound on its body, a span, metrics, a last resort.

    Plain ASGI, so that streaming stays streaming.
    """

    def __init__(self, app: ASGIApp, *, limits: Mapping[str, int], default_limit: int) -> None:
        self._app, self._limits, self._default = app, limits, default_limit

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
            await self._answer(
                scope, _Bounded(receive, limit), exchange, headers.get("content-length"), limit
            )
            exchange.finish()

    async def _answer(
        self, scope: Scope, receive: Receive, exchange: "_Exchange", length: str | None, limit: int
    ) -> None:
        if length is not None and (not length.isdigit() or int(length) > limit):
            await problem(TooLarge())(scope, receive, exchange.send)
            return
        try:
            await self._app(scope, receive, exchange.send)
        except Exception:  # noqa: BLE001  the last resort of the process: answer, and tell the log where
            _log.exception("http.unhandled", method=scope["method"])
            if not exchange.status:
                await JSONResponse(_INTERNAL_FAULT, 500, media_type=PROBLEM_JSON)(
                    scope, receive, exchange.send
                )


class _Bounded:
    """A receive channel that stops at a limit, whatever the headers said."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive, self._left = receive, limit

    async def __call__(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise TooLarge
        return message


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
        if self.status >= 500 or seconds > _SLOW_SECONDS:  # noqa: PLR2004
            _log.warning(
                "http.request", method=method, route=route, status=self.status, seconds=round(seconds, 3)
            )


def _correlation(asked: str | None) -> str:
    """The caller's correlation id if it is a UUID, otherwise a new one: free text could carry anything."""
    try:
        return str(UUID(asked)) if asked else str(new_id())
    except ValueError:
        return str(new_id())
