import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import httpx
import pytest
import structlog
from fastapi import APIRouter, Depends, Request
from joserfc import jwt
from joserfc.jwk import OKPKey
from prometheus_client import generate_latest
from pydantic import BaseModel, Field
from starlette.responses import Response
from tests.component.ledger_service import LEDGER

from hub_kernel.auth import LOCAL_ISSUER, ROLES, Principal
from hub_kernel.clock import epoch_seconds
from hub_kernel.errors import HTTP_STATUS, KINDS
from hub_kernel.runtime import NotBeyondLoopback, serve
from hub_kernel.service import Parts, Service, ServiceContext
from hub_kernel.settings import Settings
from hub_kernel.testing import RunningHub, run_hub
from hub_kernel.web import OPEN_PATHS, PROBLEM_JSON, SESSION_COOKIE, allow

SECRET = "Jane Doe of 12 Acacia Avenue"  # noqa: S105  a name, to look for where none may be
LIMIT_BYTES = 2_048
SOME_ID = "0190a5b0-0000-7000-8000-000000000001"


class Entry(BaseModel):
    """What a client posts."""

    amount: int = Field(ge=0)
    remark: str


def sample_routes() -> APIRouter:
    router = APIRouter()
    anyone = allow(*ROLES)
    for role in ROLES:

        @router.get(f"/v1/only/{role}")
        async def only(principal: Annotated[Principal, Depends(allow(role))]) -> str:
            return principal.role

    @router.get("/v1/entries/{entry_id}")
    async def entry(entry_id: UUID, principal: Annotated[Principal, Depends(anyone)]) -> str:
        return f"{principal.subject} {entry_id}"

    @router.post("/v1/entries")
    async def post_entry(body: Entry, _principal: Annotated[Principal, Depends(anyone)]) -> int:
        return body.amount

    @router.post("/v1/raw")
    async def post_raw(request: Request, _principal: Annotated[Principal, Depends(anyone)]) -> int:
        return len(await request.body())

    @router.get("/v1/errors/{name}")
    async def error(name: str, _principal: Annotated[Principal, Depends(anyone)]) -> None:
        raise next(kind for kind in KINDS if kind.__name__ == name)(fields={"name": "is wrong"})

    @router.get("/v1/unhandled")
    async def unhandled(_principal: Annotated[Principal, Depends(anyone)]) -> None:
        raise RuntimeError(SECRET)

    @router.get("/v1/database")
    async def database(_principal: Annotated[Principal, Depends(anyone)]) -> None:
        raise asyncpg.UniqueViolationError(SECRET)

    @router.get("/page")
    async def page(_principal: Annotated[Principal, Depends(allow("operator", session=True))]) -> str:
        return "page"

    return router


def serving(*routers: APIRouter) -> Service:
    def build(_context: ServiceContext) -> Parts:
        return Parts(routers=routers)

    return replace(LEDGER, build=build)


@pytest.fixture
async def hub(ledger_dsn: str, tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with run_hub(
        [serving(sample_routes())], ledger_dsn, tmp_path, max_body_bytes=LIMIT_BYTES
    ) as running:
        yield running


@asynccontextmanager
async def with_token(hub: RunningHub, token: str) -> AsyncIterator[httpx.AsyncClient]:
    async with hub.client(None) as client:
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


def problem_of(response: httpx.Response) -> dict[str, Any]:
    """The problem in an answer, which every refusal must be."""
    assert response.headers["content-type"] == PROBLEM_JSON
    body: dict[str, Any] = response.json()
    assert (
        {"type", "title", "status", "detail"} <= set(body) <= {"type", "title", "status", "detail", "errors"}
    )
    assert body["status"] == response.status_code
    assert body["type"].startswith("urn:referral-hub:problem:")
    return body


# --- closed by default -----------------------------------------------------------------------------------


def ungated() -> APIRouter:
    router = APIRouter()

    @router.get("/v1/forgotten")
    async def forgotten() -> str:
        return "open to all"

    return router


def mounted() -> APIRouter:
    router = APIRouter()

    async def anything(_scope: object, _receive: object, _send: object) -> None:
        """An application of its own."""

    router.mount("/files", anything)
    return router


def nested() -> APIRouter:
    router = APIRouter(dependencies=[Depends(allow("operator"))])
    router.include_router(ungated())
    return router


def starlette_route() -> APIRouter:
    router = APIRouter()

    async def endpoint(_request: Request) -> Response:
        return Response()

    router.add_route("/plain", endpoint)
    return router


def websocket() -> APIRouter:
    router = APIRouter()

    @router.websocket("/socket")
    async def socket() -> None:
        """Talks to nobody."""

    return router


@pytest.mark.parametrize("make", [ungated, mounted, nested, starlette_route, websocket])
async def test_the_hub_refuses_to_start_with_a_route_that_names_no_roles(
    ledger_dsn: str, tmp_path: Path, make: Callable[[], APIRouter]
) -> None:
    with pytest.raises(RuntimeError, match="has no gate"):
        async with run_hub([serving(sample_routes(), make())], ledger_dsn, tmp_path):
            pass


async def test_every_route_but_health_and_sign_in_refuses_a_stranger(hub: RunningHub) -> None:
    answers = {}
    async with hub.client("operator") as operator, hub.client(None) as stranger:
        paths = (await operator.get("/openapi.json")).json()["paths"]
        for path, operations in paths.items():
            for method in operations:
                response = await stranger.request(method, path.replace("{entry_id}", SOME_ID))
                answers[path] = response.status_code
    assert {path for path, status in answers.items() if status != 401} == OPEN_PATHS - {"/sign-in"}
    assert {"/v1/entries", "/v1/entries/{entry_id}", "/page", "/metrics", "/openapi.json"} <= set(answers)


async def test_a_role_enters_where_it_is_named_and_nowhere_else(hub: RunningHub) -> None:
    entered = set()
    for role in ROLES:
        async with hub.client(role) as client:
            for place in ROLES:
                response = await client.get(f"/v1/only/{place}")
                if response.status_code == 200:
                    entered.add((role, place))
                else:
                    assert (response.status_code, problem_of(response)["title"]) == (403, "Forbidden")
    assert entered == {(role, role) for role in ROLES}


async def test_the_document_says_who_may_call_what(hub: RunningHub) -> None:
    async with hub.client("operator") as client:
        document = (await client.get("/openapi.json")).json()
    assert document["paths"]["/v1/only/auditor"]["get"]["x-roles"] == ["auditor"]
    assert document["paths"]["/v1/entries"]["post"]["x-roles"] == sorted(ROLES)
    assert document["paths"]["/v1/entries"]["post"]["security"] == [{"bearer": []}]
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert [path for path in document["paths"] if "x-roles" not in str(document["paths"][path])] == [
        "/health/live",
        "/health/ready",
    ]


async def test_no_page_of_documentation_is_served_around_the_gate(hub: RunningHub) -> None:
    async with hub.client(None) as stranger, hub.client("operator") as operator:
        for path in ("/docs", "/redoc", "/openapi.json", "/nothing"):
            assert (await stranger.get(path)).status_code == 401
        for path in ("/docs", "/redoc", "/nothing"):
            assert problem_of(await operator.get(path))["status"] == 404


async def test_a_session_cookie_opens_pages_and_nothing_else(hub: RunningHub) -> None:
    async with hub.client(None) as browser:
        browser.cookies.set(SESSION_COOKIE, hub.hub.issuer.token("operator", subject="person"))
        assert (await browser.get("/page")).json() == "page"
        assert (await browser.get("/v1/only/operator")).status_code == 401
        assert (await browser.get("/metrics")).status_code == 401


async def test_a_sign_in_link_works_once_for_one_browser(hub: RunningHub) -> None:
    assert hub.hub.sign_in is not None
    link = hub.hub.sign_in.link("http://hub.test")
    async with hub.client(None) as browser, hub.client(None) as other:
        first, again = await browser.get(link), await other.get(link)
        assert (first.status_code, first.headers["location"]) == (303, "/")
        assert "HttpOnly" in first.headers["set-cookie"]
        assert (await browser.get("/page")).status_code == 200
        assert (again.status_code, problem_of(again)["title"]) == (401, "Sign in link used")
        assert (await other.get("/page")).status_code == 401
        assert (await other.get("/sign-in?code=forged")).status_code == 401
    code = link.partition("code=")[2]
    async with with_token(hub, code) as client:
        assert (await client.get("/v1/only/operator")).status_code == 401


# --- tokens ----------------------------------------------------------------------------------------------


def segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def claims(**changes: object) -> dict[str, Any]:
    now = int(epoch_seconds())
    whole = {
        "iss": LOCAL_ISSUER,
        "aud": "referral-hub",
        "sub": "tester",
        "role": "operator",
        "iat": now,
        "exp": now + 600,
    }
    return {name: value for name, value in {**whole, **changes}.items() if value is not None}


def signed(hub: RunningHub, **changes: object) -> str:
    """A token signed with the hub's own key."""
    key = hub.hub.issuer._key
    return jwt.encode({"alg": "Ed25519"}, claims(**changes), key, algorithms=["Ed25519"])


async def test_a_token_with_all_its_claims_is_taken(hub: RunningHub) -> None:
    async with with_token(hub, signed(hub)) as client:
        assert (await client.get("/v1/only/operator")).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": 1}, {"exp": None}, {"exp": "soon"}, {"aud": "another"}, {"aud": None}, {"aud": ["another"]},
        {"iss": "another"}, {"iss": None}, {"sub": None}, {"nbf": 99_999_999_999}, {"iat": 99_999_999_999},
    ],
    ids=str,
)  # fmt: skip
async def test_a_token_with_a_claim_that_does_not_hold_is_refused(
    hub: RunningHub, changes: dict[str, object]
) -> None:
    async with with_token(hub, signed(hub, **changes)) as client:
        response = await client.get("/v1/only/operator")
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    assert problem_of(response)["title"] == "Token refused"


@pytest.mark.parametrize("role", [None, "superuser", "", ["operator"], {"operator": True}, 7], ids=str)
async def test_a_token_that_names_no_role_of_this_hub_is_forbidden(hub: RunningHub, role: object) -> None:
    async with with_token(hub, signed(hub, role=role)) as client:
        assert (await client.get("/v1/only/operator")).status_code == 403


async def test_a_token_expires_also_when_it_was_used_before(
    hub: RunningHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_token(hub, signed(hub, exp=int(epoch_seconds()) + 60)) as client:
        assert (await client.get("/v1/only/operator")).status_code == 200
        later = epoch_seconds() + 3_600
        monkeypatch.setattr("hub_kernel.auth.epoch_seconds", lambda: later)
        monkeypatch.setattr("time.time", lambda: later)
        assert (await client.get("/v1/only/operator")).status_code == 401


def hs256(secret: bytes) -> str:
    """A token signed with a shared secret, for verifiers that would take a public key for one."""
    said = f"{segment({'alg': 'HS256'})}.{segment(claims())}"
    signature = hmac.digest(secret, said.encode(), "sha256")
    return f"{said}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def forged(hub: RunningHub) -> dict[str, str]:
    """Tokens nobody of ours signed, and words that are no tokens."""
    good = signed(hub)
    header, payload, signature = good.split(".")
    public = hub.hub.issuer._key.as_dict(private=False)
    x = base64.urlsafe_b64decode(str(public["x"]) + "==")
    confusing = {
        f"HS256 under {name}": hs256(secret)
        for name, secret in (
            ("the public bytes", x),
            ("the public PEM", hub.hub.issuer._key.as_pem(private=False)),
            ("the public JWK", json.dumps(public).encode()),
            ("nothing", b""),
        )
    }
    stranger = OKPKey.generate_key("Ed25519", private=True)
    embedded = {"alg": "Ed25519", "jwk": stranger.as_dict(private=False)}
    none = segment({"alg": "none", "typ": "JWT"})
    return confusing | {
        "another signer": jwt.encode({"alg": "Ed25519"}, claims(), stranger, algorithms=["Ed25519"]),
        "a key of its own inside": jwt.encode(embedded, claims(), stranger, algorithms=["Ed25519"]),
        "none with a signature": f"{none}.{payload}.{signature}",
        "none": f"{none}.{payload}.",
        "no algorithm": f"{segment({})}.{payload}.{signature}",
        "a header that is a list": f"{segment([])}.{payload}.{signature}",
        "a header that is null": f"{segment(None)}.{payload}.{signature}",
        "an algorithm that is a number": f"{segment({'alg': 5})}.{payload}.{signature}",
        "an algorithm that is a list": f"{segment({'alg': ['Ed25519']})}.{payload}.{signature}",
        "an unknown key id": f"{segment({'alg': 'Ed25519', 'kid': 'x'})}.{payload}.{signature}",
        "a key id that is a list": f"{segment({'alg': 'Ed25519', 'kid': ['x']})}.{payload}.{signature}",
        "a critical extension": f"{segment(embedded | {'crit': ['b64']})}.{payload}.{signature}",
        "a changed payload": f"{header}.{segment(claims(role='auditor'))}.{signature}",
        "a payload that is a list": f"{header}.{segment([])}.{signature}",
        "a cut signature": good[:-8],
        "no signature": f"{header}.{payload}",
        "not base64": "a.b.c",
        "one word": "hello",
        "dots": "..",
        "five parts": "a.b.c.d.e",
        "long": "A" * 20_000,
    }


async def test_no_forged_token_opens_anything(hub: RunningHub) -> None:
    statuses = {}
    for name, token in forged(hub).items():
        async with with_token(hub, token) as client:
            response = await client.get("/v1/only/operator")
        statuses[name] = response.status_code
        assert token not in response.text
    assert statuses == dict.fromkeys(statuses, 401)


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic b3BlcmF0b3I6", "Token x", "Bearer a b", "Bearer é"]
)
async def test_an_authorization_header_that_is_no_bearer_token_is_refused(
    hub: RunningHub, header: str
) -> None:
    async with hub.client(None) as client:
        response = await client.get("/v1/only/operator", headers={b"Authorization": header.encode()})
    assert response.status_code == 401


async def test_a_stranger_is_refused_before_its_body_is_read(hub: RunningHub) -> None:
    async def body() -> AsyncIterator[bytes]:
        read.append(1)
        yield b"{"

    read: list[int] = []
    async with hub.client(None) as client:
        unreadable = await client.post(
            "/v1/entries", content=b"{", headers={"content-type": "application/json"}
        )
        too_large = await client.post("/v1/entries", content=b"x" * (LIMIT_BYTES + 1))
        await client.post("/v1/entries", content=body())
    assert (unreadable.status_code, too_large.status_code) == (401, 401)


# --- bodies ----------------------------------------------------------------------------------------------


async def chunks(size: int, chunk: int = 128) -> AsyncIterator[bytes]:
    for _ in range(size // chunk):
        yield b" " * chunk


@pytest.mark.parametrize("path", ["/v1/raw", "/v1/entries"])
async def test_a_body_over_the_limit_is_too_large_whether_it_says_its_length_or_not(
    hub: RunningHub, path: str
) -> None:
    async with hub.client("operator") as client:
        json_type = {"content-type": "application/json"}
        told = await client.post(path, content=b" " * (LIMIT_BYTES + 1), headers=json_type)
        untold = await client.post(path, content=chunks(LIMIT_BYTES + 128), headers=json_type)
        lied = await client.post(
            path, content=chunks(LIMIT_BYTES + 128), headers=json_type | {"content-length": "10"}
        )
    assert [problem_of(response)["title"] for response in (told, untold, lied)] == ["Too large"] * 3
    assert [response.status_code for response in (told, untold, lied)] == [413] * 3


async def test_a_body_at_the_limit_is_taken(hub: RunningHub) -> None:
    async with hub.client("operator") as client:
        assert (await client.post("/v1/raw", content=chunks(LIMIT_BYTES))).json() == LIMIT_BYTES
        assert (await client.post("/v1/raw", content=b"x" * LIMIT_BYTES)).json() == LIMIT_BYTES


@pytest.mark.parametrize("length", ["-1", "1e3", "", "²", "9" * 5_000, "0x10"])
async def test_a_length_that_is_no_number_is_refused(hub: RunningHub, length: str) -> None:
    async with hub.client("operator") as client:
        headers = [(b"content-length", length.encode("latin-1"))]
        response = await client.post("/v1/raw", content=chunks(128), headers=headers)
    assert response.status_code == 413


# --- problems --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_error_is_a_problem_of_its_own_status(hub: RunningHub, kind: type) -> None:
    async with hub.client("operator") as client:
        response = await client.get(f"/v1/errors/{kind.__name__}")
    assert (response.status_code, problem_of(response)["errors"]) == (HTTP_STATUS[kind], {"name": "is wrong"})


@pytest.mark.parametrize(
    ("content", "errors"),
    [
        (json.dumps({"amount": -1, "remark": SECRET, SECRET: 1}), {"amount": "greater than equal"}),
        (json.dumps({"amount": SECRET}), {"amount": "int parsing", "remark": "missing"}),
        (f'{{"amount": 1, "remark": "{SECRET}', {"24": "json invalid"}),
        (json.dumps([SECRET]), {"body": "model attributes type"}),
        ("", {"body": "missing"}),
    ],
)
async def test_a_malformed_body_is_named_by_field_and_never_echoed(
    hub: RunningHub, content: str, errors: dict[str, str]
) -> None:
    async with hub.client("operator") as client:
        response = await client.post(
            "/v1/entries", content=content, headers={"content-type": "application/json"}
        )
    assert (response.status_code, problem_of(response)["errors"]) == (422, errors)
    assert SECRET not in response.text


@pytest.mark.parametrize(("path", "status"), [("/v1/unhandled", 500), ("/v1/database", 503)])
async def test_an_error_nobody_foresaw_shows_none_of_its_text(
    hub: RunningHub, path: str, status: int
) -> None:
    with structlog.testing.capture_logs() as logged:
        async with hub.client("operator") as client:
            response = await client.get(path)
            assert (await client.get("/v1/only/operator")).status_code == 200
    assert (response.status_code, problem_of(response)["status"]) == (status, status)
    assert "Jane" not in response.text + str([{**line, "exc_info": ""} for line in logged])
    assert logged


async def test_a_method_that_is_not_served_and_an_id_that_is_none_are_problems(hub: RunningHub) -> None:
    async with hub.client("operator") as client:
        method, no_id = await client.delete("/v1/entries"), await client.get(f"/v1/entries/{SECRET}")
    assert (problem_of(method)["status"], problem_of(no_id)["errors"]) == (
        405,
        {"path.entry_id": "uuid parsing"},
    )


# --- telemetry -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [SECRET, "", "x" * 500, "0190a5b0", "' OR 1=1 --"])
async def test_a_correlation_id_that_is_no_uuid_is_replaced(hub: RunningHub, asked: str) -> None:
    async with hub.client("operator") as client:
        response = await client.get("/v1/only/operator", headers={"x-correlation-id": asked})
    assert UUID(response.headers["x-correlation-id"]).version == 7


async def test_a_correlation_id_that_is_a_uuid_comes_back_on_answers_and_on_problems(hub: RunningHub) -> None:
    async with hub.client("operator") as client:
        client.headers["x-correlation-id"] = SOME_ID
        with structlog.testing.capture_logs():
            answers = [await client.get(path) for path in ("/v1/only/operator", "/v1/unhandled", "/nothing")]
    assert [answer.headers["x-correlation-id"] for answer in answers] == [SOME_ID] * 3
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}
    assert {answer.headers["x-content-type-options"] for answer in answers} == {"nosniff"}


async def test_the_metrics_name_a_routes_template_and_never_what_was_asked_for(hub: RunningHub) -> None:
    async with hub.client("operator") as client:
        await client.get(f"/v1/entries/{SOME_ID}")
        await client.get("/v1/nothing/of/jane-doe")
        await client.request("JANE-DOE", "/v1/entries")
        shown = (await client.get("/metrics")).text
    assert 'hub_http_requests_total{method="GET",route="/v1/entries/{entry_id}",status="200"}' in shown
    assert 'route="unmatched",status="404"' in shown
    for private in (SOME_ID, "jane-doe", "JANE-DOE"):
        assert private not in shown
    assert generate_latest()


async def test_health_says_live_and_ready_to_anyone(hub: RunningHub) -> None:
    async with hub.client(None) as client:
        live, ready = await client.get("/health/live"), await client.get("/health/ready")
    assert (live.json(), ready.json()) == (
        {"status": "live"},
        {"status": "ready", "services": {"ledger": True}, "bus": {}},
    )


async def test_a_service_that_lost_its_database_is_live_and_not_ready(hub: RunningHub) -> None:
    hub.hub.contexts["ledger"].pool.terminate()
    async with hub.client(None) as client:
        live, ready = await client.get("/health/live"), await client.get("/health/ready")
    assert (live.status_code, ready.status_code, ready.json()["services"]) == (200, 503, {"ledger": False})


# --- listening -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "hub.example", ""])  # noqa: S104  refused
async def test_without_an_identity_provider_the_hub_listens_on_loopback_only(
    ledger_dsn: str, tmp_path: Path, host: str
) -> None:
    with pytest.raises(NotBeyondLoopback):
        await serve([LEDGER], Settings(data_dir=tmp_path, host=host), ledger_dsn)
    with pytest.raises(NotBeyondLoopback):
        await serve(
            [LEDGER], Settings(data_dir=tmp_path, host=host, issuer="https://idp.example"), ledger_dsn
        )


async def test_with_an_identity_provider_only_its_tokens_count(ledger_dsn: str, tmp_path: Path) -> None:
    provider = OKPKey.generate_key("Ed25519", private=True)
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps({"keys": [provider.as_dict(private=False)]}))
    there: AbstractAsyncContextManager[RunningHub] = run_hub(
        [serving(sample_routes())], ledger_dsn, tmp_path, issuer="https://idp.example", issuer_jwks_file=jwks
    )
    async with there as hub:
        token = jwt.encode(
            {"alg": "Ed25519"}, claims(iss="https://idp.example"), provider, algorithms=["Ed25519"]
        )
        async with with_token(hub, token) as known, hub.client("operator") as local:
            assert (await known.get("/v1/only/operator")).status_code == 200
            assert (await local.get("/v1/only/operator")).status_code == 401
            assert (await known.get("/sign-in?code=x")).status_code == 404


async def test_a_hub_served_over_a_socket_refuses_the_same_as_in_process(
    ledger_dsn: str, tmp_path: Path
) -> None:
    bases: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    async def started(hub: Any, base: str) -> None:
        await bases.put((base, hub.issuer.token("operator", subject="tester")))

    settings = Settings(data_dir=tmp_path, port=0, max_body_bytes=LIMIT_BYTES, shutdown_seconds=1)
    server = asyncio.create_task(
        serve([serving(sample_routes())], settings, ledger_dsn, started=started), name="server"
    )
    base, token = await asyncio.wait_for(bases.get(), 15)
    async with httpx.AsyncClient(base_url=base) as client:
        assert (await client.get("/v1/only/operator")).status_code == 401
        client.headers["Authorization"] = f"Bearer {token}"
        assert (await client.get("/v1/only/operator")).status_code == 200
        for body in (
            chunks(LIMIT_BYTES * 2),
            chunks(5_000_000, 50_000),
            b"x" * LIMIT_BYTES * 2,
            b"x" * 50_000_000,
        ):
            assert problem_of(await client.post("/v1/raw", content=body))["status"] == 413
        assert (await client.post("/v1/raw", content=b"x" * LIMIT_BYTES)).json() == LIMIT_BYTES
    server.cancel()
    await asyncio.wait([server])
