import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts
from joserfc import jwt
from joserfc.jwk import OctKey

from hub_embedded.services import SERVICES
from hub_kernel.auth import LOCAL_ISSUER, ROLES, LocalIssuer, Role
from hub_kernel.clock import epoch_seconds
from hub_kernel.inbox import Inbox, ParkedEvent
from hub_kernel.ports import Message
from hub_kernel.testing import RunningHub, fresh_database, run_hub
from hub_kernel.web import include_closed
from hub_schemas.envelope import to_cloudevent

Json = dict[str, Any]
FULL: Json = json.loads((Path(__file__).parents[1] / "unit" / "intake" / "full_referral.json").read_bytes())
RMS = "west-mercia-rms"
NOBODY = UUID(int=404)
RATIONALE = "Discussed with the strategy meeting; Ivy Sampleton is not safe at home."
PERSONAL = ("Sampleton", "Ivy", "Example Row", "9990012350", "22/81234/26", "shouting", "900123")
DEADLINE_SECONDS = 20
WHY = {"Access-Reason": "audit"}
# Nobody listens there: the delivery stays planned, and is there to be seen and answered.
PARTNERS = {"884-childrens_services": {"url": "http://127.0.0.1:9", "token": "unused"}}

EVERYBODY = frozenset(ROLES)
STAFF = frozenset({"assessor", "operator"})
OVERSEERS = STAFF | {"auditor"}
PARTNERS_TOO = OVERSEERS | {"partner_client"}
SENDER = frozenset({"records_system"})
CLOSED: dict[tuple[str, str], frozenset[str]] = {
    ("POST", "/v1/referrals"): SENDER,
    ("POST", "/v1/referrals/batch"): SENDER,
    ("POST", "/v1/referrals/{referral_id}/amendments"): SENDER,
    ("POST", "/v1/referrals/{referral_id}/information"): SENDER,
    ("POST", "/v1/referrals/{referral_id}/withdrawal"): SENDER,
    ("GET", "/v1/referrals/{referral_id}"): OVERSEERS | SENDER,
    ("GET", "/v1/referrals/{referral_id}/events"): OVERSEERS | SENDER,
    ("GET", "/v1/worklist"): STAFF,
    ("GET", "/v1/assessments/{referral_id}"): OVERSEERS,
    ("POST", "/v1/assessments/{referral_id}/decision"): frozenset({"assessor"}),
    ("POST", "/v1/assessments/{referral_id}/grade"): frozenset({"assessor"}),
    ("GET", "/v1/deliveries"): PARTNERS_TOO,
    ("GET", "/v1/deliveries/{delivery_id}"): PARTNERS_TOO,
    ("POST", "/v1/acknowledgements/{message_id}"): frozenset({"partner_client"}),
    ("GET", "/v1/timeline/{referral_id}"): OVERSEERS,
    ("GET", "/v1/backlog"): STAFF,
    ("GET", "/v1/timeliness"): STAFF,
    ("GET", "/v1/breaches"): STAFF,
    ("GET", "/v1/parked/{service}"): frozenset({"operator", "auditor"}),
    ("GET", "/v1/parked/{service}/summary"): frozenset({"operator", "auditor"}),
    ("GET", "/v1/parked/{service}/{source}/{stream_id}"): frozenset({"operator", "auditor"}),
    ("POST", "/v1/parked/{service}/{source}/{stream_id}/retry"): frozenset({"operator"}),
    ("POST", "/v1/parked/{service}/retry"): frozenset({"operator"}),
    ("GET", "/metrics"): frozenset({"operator"}),
    ("GET", "/openapi.json"): EVERYBODY,
}
PAGES: dict[tuple[str, str], frozenset[str]] = {
    ("GET", "/"): STAFF,
    ("GET", "/referrals/{referral_id}"): OVERSEERS,
    ("GET", "/static/{name}"): OVERSEERS,
}
OPEN = {("GET", "/health/live"), ("GET", "/health/ready"), ("GET", "/sign-in")}


@asynccontextmanager
async def four_services(dsn: str, data_dir: Path) -> AsyncIterator[RunningHub]:
    async with run_hub(SERVICES, dsn, data_dir, partners=json.dumps(PARTNERS)) as hub:
        yield hub


@pytest.fixture(scope="module")
async def hub(
    postgres_dsn: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningHub]:
    """The four services; the tests here share it, and each sends records of its own."""
    async with (
        fresh_database(postgres_dsn, template) as dsn,
        four_services(dsn, tmp_path_factory.mktemp("hub")) as running,
    ):
        yield running


def filled(path: str, an_id: UUID = NOBODY) -> str:
    for name in ("referral_id", "delivery_id", "message_id"):
        path = path.replace(f"{{{name}}}", str(an_id))
    for name, value in {"service": "triage", "source": "intake", "stream_id": f"referral-{an_id}"}.items():
        path = path.replace(f"{{{name}}}", value)
    return path.replace("{name}", "hub.css")


def caller(hub: RunningHub, role: Role | None, **claims: str) -> httpx.AsyncClient:
    """A client with all the claims its role may need."""
    if role == "records_system":
        claims = {"system": RMS} | claims
    if role == "partner_client":
        claims = {"authority": "893", "agency": "childrens_services"} | claims
    return hub.client(role, subject=f"a-{role}", **claims)


async def ask(client: httpx.AsyncClient, method: str, path: str, **options: Any) -> httpx.Response:
    parameters = {"referral_id": str(NOBODY)} if path == "/v1/deliveries" else None
    body = {"json": {}} if method == "POST" and "content" not in options else {}
    return await client.request(method, filled(path), params=parameters, **body, **options)


async def until(read: Callable[[], Awaitable[Any]], enough: Callable[[Any], bool]) -> Any:
    """What ``read`` gives once it is enough."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not enough(found := await read()):
        assert time.monotonic() < deadline, f"not in time; last seen: {found}"
        await asyncio.sleep(0.02)
    return found


async def post_referral(hub: RunningHub, record: str, **change: Any) -> str:
    document = json.loads(json.dumps(FULL | change))
    document["source"]["record_id"] = record
    answer = await caller(hub, "records_system").post("/v1/referrals", json=document)
    assert answer.status_code == 201, answer.text
    referral_id: str = answer.json()["referral_id"]
    return referral_id


async def sealed_reads(hub: RunningHub, referral_id: str) -> list[Json]:
    """The rows that people's reads of a referral left, in order."""
    rows = await hub.hub.contexts["intake"].pool.fetch(
        "SELECT open FROM intake_access.events WHERE correlation_id = $1 ORDER BY position", UUID(referral_id)
    )
    return [json.loads(row["open"]) for row in rows]


def test_every_route_is_in_the_table_and_says_so_itself(hub: RunningHub) -> None:
    served: dict[tuple[str, str], list[str] | None] = {}
    for context in iter_route_contexts(hub.hub.app.routes):
        for method in context.methods or {"*"}:
            assert (method, context.path) not in served
            served[method, str(context.path)] = (getattr(context, "openapi_extra", None) or {}).get("x-roles")
    assert {route for route, roles in served.items() if roles is None} == OPEN
    assert {route: frozenset(roles) for route, roles in served.items() if roles} == CLOSED | PAGES


def test_the_openapi_document_names_the_roles_of_each_operation(hub: RunningHub) -> None:
    document = hub.hub.app.openapi()
    said = {
        (method.upper(), path): (frozenset(operation.get("x-roles", ())), operation.get("security"))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    closed = {route: (roles, [{"bearer": []}]) for route, roles in CLOSED.items()}
    assert said == closed | dict.fromkeys(OPEN - {("GET", "/sign-in")}, (frozenset(), None))
    assert document["components"]["securitySchemes"] == {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    }


@pytest.mark.parametrize("role", ROLES)
async def test_exactly_the_listed_roles_get_past_each_gate(hub: RunningHub, role: Role) -> None:
    client = caller(hub, role)
    statuses = {route: (await ask(client, *route)).status_code for route in CLOSED | PAGES}
    refused = {route: status for route, status in statuses.items() if status in {401, 403}}
    assert refused == {route: 403 for route, roles in (CLOSED | PAGES).items() if role not in roles}
    assert {route: status for route, status in statuses.items() if status >= 500} == {}


async def bad_tokens(hub: RunningHub, elsewhere: Path) -> dict[str, str]:
    """Tokens that look right and are not, each for the most powerful reader."""
    issuer = hub.hub.issuer
    good = issuer.token("auditor", subject="x")
    head, claims, signature = good.split(".")
    now = int(epoch_seconds())
    stated = {"aud": "referral-hub", "sub": "x", "exp": now + 600, "role": "auditor"}

    def signed(**change: Any) -> str:
        whole = {"iss": LOCAL_ISSUER} | stated | change
        return jwt.encode({"alg": "Ed25519"}, whole, issuer._key, algorithms=["Ed25519"])

    public = OctKey.import_key(json.dumps(issuer._key.as_dict(private=False)))
    return {
        "expired": issuer.token("auditor", subject="x", lifetime_seconds=-60),
        "of another key": LocalIssuer(elsewhere / "other.key", "referral-hub").token("auditor", subject="x"),
        "of another issuer": signed(iss="https://elsewhere.example"),
        "for another audience": issuer.token("auditor", subject="x", audience="another-hub"),
        "for the sign-in": issuer.token("auditor", subject="x", audience="referral-hub/sign-in"),
        "not yet valid": signed(nbf=now + 600),
        "without an end": signed(exp=None),
        "with an unreadable bound": signed(authority=["884"]),
        "with the public key as a secret": jwt.encode(
            {"alg": "HS256"}, {"iss": LOCAL_ISSUER} | stated, public, algorithms=["HS256"]
        ),
        "unsigned": f"eyJhbGciOiJub25lIn0.{claims}.",
        "signed for other claims": f"{head}.{signed(sub='y').split('.')[1]}.{signature}",
        "with a hostile header": f"eyJhbGciOiJFZDI1NTE5IiwiY3JpdCI6MX0.{claims}.{signature}",
        "with a header nested without end": f"{'W1tb' * 9_000}.{claims}.{signature}",
        "of no form": "letmein",
    }


async def test_without_a_valid_token_every_closed_route_answers_401(hub: RunningHub, tmp_path: Path) -> None:
    tokens = await bad_tokens(hub, tmp_path)
    headers = [
        {},
        {"Authorization": "Basic YTpi"},
        *({"Authorization": f"Bearer {t}"} for t in tokens.values()),
    ]
    headers += [{"Cookie": f"hub_session={token}"} for token in tokens.values()]
    stranger = caller(hub, None)
    seen = {
        (route, number, answer.status_code, answer.headers.get("www-authenticate"), answer.json()["status"])
        for route in CLOSED | PAGES
        for number, header in enumerate(headers)
        for answer in [await ask(stranger, *route, headers=header)]
    }
    assert {(status, challenge, told) for _, _, status, challenge, told in seen} == {(401, "Bearer", 401)}
    assert len(seen) == len(CLOSED | PAGES) * len(headers)


async def test_a_stranger_is_refused_before_what_is_sent_is_read(hub: RunningHub) -> None:
    stranger = caller(hub, None)
    for method, path in CLOSED:
        if method == "POST":
            answer = await ask(
                stranger, method, path, content=b"{", headers={"Content-Type": "application/json"}
            )
            assert answer.status_code == 401
    assert (await stranger.get("/v1/no-such-route")).status_code == 401
    assert (await stranger.put("/v1/referrals", json={})).status_code == 401


async def test_the_open_routes_answer_anybody_and_say_nothing(hub: RunningHub) -> None:
    stranger = caller(hub, None)
    assert (await stranger.get("/health/live")).json() == {"status": "live"}
    async with asyncio.timeout(20):
        while (ready := await stranger.get("/health/ready")).json()["status"] != "ready":  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # its consumers are just finding the bus
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert (await stranger.get("/sign-in")).status_code == 422


def test_a_route_without_a_gate_does_not_start() -> None:
    app, router = FastAPI(), APIRouter()
    router.add_api_route("/v1/open-by-mistake", lambda: None)
    with pytest.raises(RuntimeError, match="/v1/open-by-mistake has no gate"):
        include_closed(app, router, [])
    nested = APIRouter()
    nested.include_router(router)
    with pytest.raises(RuntimeError, match="no gate"):
        include_closed(app, nested, [])


async def test_a_records_system_reads_and_changes_only_what_it_sent(hub: RunningHub) -> None:
    referral_id = await post_referral(hub, "own/1")
    other = caller(hub, "records_system", system="other-rms")
    bodies = {
        "amendments": FULL | {"source": {"system": "other-rms", "record_id": "own/1", "version": 2}},
        "information": {"information_id": str(NOBODY), "text": "Mine now"},
        "withdrawal": {"reason_code": "duplicate"},
    }
    for headers in ({}, WHY):
        for path in ("", "/events"):
            taken = await other.get(f"/v1/referrals/{referral_id}{path}", headers=headers)
            none = await other.get(f"/v1/referrals/{NOBODY}{path}", headers=headers)
            assert (taken.status_code, taken.json()) == (404, none.json())
    for path, body in bodies.items():
        taken = await other.post(f"/v1/referrals/{referral_id}/{path}", json=body)
        none = await other.post(f"/v1/referrals/{NOBODY}/{path}", json=body)
        assert (taken.status_code, taken.json()) == (404, none.json())
    assert await sealed_reads(hub, referral_id) == []


@pytest.mark.parametrize("path", ["/v1/referrals/{}", "/v1/referrals/{}/events", "/v1/assessments/{}"])
async def test_a_token_bound_to_an_authority_finds_nothing_of_another(hub: RunningHub, path: str) -> None:
    referral_id = await post_referral(hub, f"bound/{path}")
    own, other = (caller(hub, "auditor", authority=a) for a in (FULL["authority"], "885"))

    async def read() -> httpx.Response:
        return await own.get(path.format(referral_id), headers=WHY)

    await until(read, lambda answer: answer.status_code == 200)
    rows = await sealed_reads(hub, referral_id)
    taken = await other.get(path.format(referral_id), headers=WHY)
    none = await other.get(path.format(NOBODY), headers=WHY)
    assert (taken.status_code, taken.json()) == (404, none.json())
    assert await sealed_reads(hub, referral_id) == rows


@dataclass(frozen=True)
class SealedRoute:
    """A way to sealed data: who asks, where, and what the answer is without a reason."""

    role: Role
    path: str
    without_reason: int


SEALED_ROUTES = [
    SealedRoute("assessor", "/v1/referrals/{}", 422),
    SealedRoute("auditor", "/v1/referrals/{}", 422),
    SealedRoute("records_system", "/v1/referrals/{}", 200),
    SealedRoute("auditor", "/v1/referrals/{}/events", 200),
]


@pytest.mark.parametrize("route", SEALED_ROUTES, ids=str)
async def test_each_read_of_sealed_data_takes_a_reason_and_leaves_one_row(
    hub: RunningHub, route: SealedRoute
) -> None:
    referral_id = await post_referral(hub, f"sealed/{route.role}{len(route.path)}")
    reader, url = caller(hub, route.role), route.path.format(referral_id)
    plain = await reader.get(url)
    assert plain.status_code == route.without_reason
    assert [word for word in PERSONAL if word in plain.text] == []
    for wrong in ("", "curiosity", "audit, audit", "Audit"):
        refused = await reader.get(url, headers={"Access-Reason": wrong})
        assert (refused.status_code, list(refused.json()["errors"])) == (422, ["Access-Reason"])
    assert await sealed_reads(hub, referral_id) == []
    for count in (1, 2):
        opened = await reader.get(url, headers=WHY)
        assert (opened.status_code, "Sampleton" in opened.text) == (200, True)
        rows = await sealed_reads(hub, referral_id)
        assert [(row["reader"], row["role"], row["reason"]) for row in rows] == [
            (f"a-{route.role}", route.role, "audit")
        ] * count


@pytest.mark.parametrize("route", SEALED_ROUTES, ids=str)
async def test_nothing_sealed_is_returned_when_the_read_cannot_be_recorded(
    hub: RunningHub, route: SealedRoute
) -> None:
    referral_id = await post_referral(hub, f"unrecorded/{route.role}{len(route.path)}")
    owner = await asyncpg.connect(hub.dsn)
    await owner.execute("REVOKE INSERT ON intake_access.events FROM hub_intake")
    try:
        answer = await caller(hub, route.role).get(route.path.format(referral_id), headers=WHY)
    finally:
        await owner.execute("GRANT INSERT ON intake_access.events TO hub_intake")
        await owner.close()
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert [word for word in PERSONAL if word in answer.text] == []
    assert await sealed_reads(hub, referral_id) == []
    assert (
        "Sampleton" in (await caller(hub, route.role).get(route.path.format(referral_id), headers=WHY)).text
    )


@pytest.fixture(scope="module")
async def shared(hub: RunningHub) -> Json:
    """A referral that went all the way to planned deliveries; the one to 884's children's services."""
    referral_id = await post_referral(hub, "shared/1")
    assessor, operator = caller(hub, "assessor"), caller(hub, "operator")

    async def assessment() -> httpx.Response:
        return await assessor.get(f"/v1/assessments/{referral_id}")

    graded = await until(assessment, lambda answer: answer.status_code == 200)
    if graded.json()["state"] == "open":
        decided = await assessor.post(
            f"/v1/assessments/{referral_id}/decision", json={"decision": "share", "rationale": RATIONALE}
        )
        assert decided.status_code == 200

    async def deliveries() -> list[Json]:
        answer = await operator.get("/v1/deliveries", params={"referral_id": referral_id})
        found: list[Json] = answer.json()["deliveries"]
        return found

    planned: list[Json] = await until(deliveries, lambda found: len(found) == 3)

    async def timeline() -> str:
        return (await operator.get(f"/v1/timeline/{referral_id}")).text

    await until(timeline, lambda text: "was planned" in text)
    return next(d for d in planned if (d["authority"], d["agency"]) == ("884", "childrens_services"))


async def test_a_partner_sees_its_own_authority_and_agency_and_nothing_else(
    hub: RunningHub, shared: Json
) -> None:
    own = {"authority": shared["authority"], "agency": shared["agency"]}
    bounds: list[dict[str, str]] = [
        own | {"authority": "885"},  # this one and the next have deliveries of the same referral
        own | {"agency": "adult_services"},
        own | {"authority": "893", "agency": "adult_services"},
        {"authority": own["authority"]},
        {"agency": own["agency"]},
        {},
    ]
    partner = hub.client("partner_client", **own)
    one, answer_to = "/v1/deliveries/{}", "/v1/acknowledgements/{}"

    async def listed(client: httpx.AsyncClient) -> list[tuple[str, str]]:
        answer = await client.get("/v1/deliveries", params={"referral_id": shared["referral_id"]})
        return [(delivery["authority"], delivery["agency"]) for delivery in answer.json()["deliveries"]]

    assert await listed(partner) == [(own["authority"], own["agency"])]
    assert (await partner.get(one.format(shared["delivery_id"]))).json()["agency"] == own["agency"]
    answered = await partner.post(answer_to.format(shared["message_id"]), json={})
    assert answered.status_code not in {401, 403, 404}
    seen = [await listed(hub.client("partner_client", **claims)) for claims in bounds]
    assert seen == [[("885", "childrens_services")], [("884", "adult_services")], [], [], [], []]
    for claims in bounds:
        stranger = hub.client("partner_client", **claims)
        for taken, none in (
            (await stranger.get(one.format(shared["delivery_id"])), await stranger.get(one.format(NOBODY))),
            (
                await stranger.post(answer_to.format(shared["message_id"]), json={"status": "open"}),
                await stranger.post(answer_to.format(NOBODY), json={"status": "open"}),
            ),
        ):
            assert (taken.status_code, taken.json()) == (404, none.json())


async def park(hub: RunningHub, referral_id: UUID) -> None:
    """Park what was received at triage, as if by a consumer of its own, so that nothing is held up by it."""
    contexts, inbox = hub.hub.contexts, Inbox("triage", "nobody", "intake")
    async with contexts["intake"].pool.acquire() as connection:
        events = await contexts["intake"].store.read.stream(connection, f"referral-{referral_id}")
    parked = [
        ParkedEvent(
            Message("intake", 0, e.position, *to_cloudevent(e)), e.stream_id, e.version, "rejected", 1
        )
        for e in events
    ]
    async with contexts["triage"].pool.acquire() as connection:
        await inbox.park(connection, parked, contexts["triage"].clock.now(), None)


async def test_an_operator_sees_nobodys_data_on_any_route(hub: RunningHub, shared: Json) -> None:
    operator, referral_id = caller(hub, "operator"), UUID(shared["referral_id"])
    await park(hub, referral_id)
    before = await sealed_reads(hub, str(referral_id))
    ids = {"delivery_id": UUID(shared["delivery_id"])}
    for method, path in CLOSED | PAGES:
        if method != "GET" or "operator" not in (CLOSED | PAGES)[method, path]:
            continue
        url = filled(path, ids.get(path.rpartition("{")[2].rstrip("}"), referral_id))
        parameters = {"referral_id": str(referral_id)} if path == "/v1/deliveries" else None
        answer = await operator.get(url, params=parameters, headers=WHY)
        assert answer.status_code == 200, path
        seen = answer.text + repr(answer.headers)
        assert [word for word in (*PERSONAL, "strategy meeting") if word in seen] == [], path
    assert await sealed_reads(hub, str(referral_id)) == before


def sign_in_code(hub: RunningHub) -> str:
    assert hub.hub.sign_in is not None
    return hub.hub.sign_in.link("http://hub.test").partition("code=")[2]


async def test_a_session_opens_the_pages_and_nothing_else(hub: RunningHub) -> None:
    browser = caller(hub, None)
    entered = await browser.get("/sign-in", params={"code": sign_in_code(hub)})
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    assert "no-store" in entered.headers["cache-control"]
    name, *attributes = entered.headers["set-cookie"].lower().split("; ")
    assert name.startswith("hub_session=")
    assert {"httponly", "samesite=strict", "path=/"} <= set(attributes)
    statuses = {route: (await ask(browser, *route)).status_code for route in CLOSED | PAGES}
    assert {route for route, status in statuses.items() if status != 401} == set(PAGES)
    assert statuses["GET", "/"] == 200


async def test_a_sign_in_link_works_once_whatever_is_done_to_it(hub: RunningHub) -> None:
    code = sign_in_code(hub)
    browser = caller(hub, None)
    assert (await browser.get("/sign-in", params={"code": code})).status_code == 303
    head, claims, signature = code.split(".")
    last = signature[-1]
    again = [
        code,
        f"{code}=",
        f"{code} ",
        f"{code}\n",
        f"{head}.{claims}.{signature[:10]}!!!!{signature[10:]}",
        f"{head}=.{claims}.{signature}",
        *(f"{code[:-1]}{chr(ord(last) + step)}" for step in (-1, 1, 2, 3)),
        "../../etc/passwd",
        "\0",
        "",
    ]
    for used in again:
        answer = await browser.get("/sign-in", params={"code": used})
        assert (answer.status_code, "set-cookie" in answer.headers) == (401, False), used
    long = await browser.get("/sign-in", params={"code": "x" * 5_000})
    assert (long.status_code, "xxx" in long.text) == (422, False)


async def test_a_used_sign_in_link_stays_used_after_a_restart(database: str, tmp_path: Path) -> None:
    async with four_services(database, tmp_path) as hub:
        used, unused = sign_in_code(hub), sign_in_code(hub)
        assert (await caller(hub, None).get("/sign-in", params={"code": used})).status_code == 303
    async with four_services(database, tmp_path) as hub:
        browser = caller(hub, None)
        assert (await browser.get("/sign-in", params={"code": used})).status_code == 401
        assert (await browser.get("/sign-in", params={"code": unused})).status_code == 303


async def test_a_browser_without_a_session_is_told_how_to_sign_in(start_hub: Any) -> None:
    hub = await start_hub()
    async with hub.client(None) as client:
        told = await client.get("/", headers={"Accept": "text/html"})
        refused = await client.get("/v1/backlog")
    assert (told.status_code, "hub sign-in" in told.text) == (401, True)
    assert (refused.status_code, refused.headers["content-type"]) == (401, "application/problem+json")
