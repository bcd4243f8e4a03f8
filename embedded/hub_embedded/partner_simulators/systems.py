"""The two kinds of partner system as HTTP services, each with its own way to take contacts and answer."""

import asyncio
import hmac
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import httpx
import msgspec
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from hub_embedded.partner_simulators.behaviour import Behaviour
from hub_embedded.partner_simulators.ledger import Contact, Decision, Ledger

CALLBACK_SECONDS: Final = (0.0, 0.1, 0.5, 2.0, 5.0)
"""Waits before each try of a callback; after the last the partner gives up, and the hub must ask."""
_MOSAIC_OUTCOMES: Final = ("Progress to referral", "Strategy discussion", "No further action")
_FLAGS: Final = (
    "NEW_REFERRAL", "EXISTING_REFERRAL", "CP_ENQUIRY", "NFA", "NON_AGENCY_ADOPTION", "PRIVATE_FOSTERING",
    "ADVICE", "MISSING", "OLA_CP", "OTHER",
)  # fmt: skip


class Tenancy(msgspec.Struct, frozen=True, kw_only=True):
    """One partner's installation. ``name`` is the hub's package; ``token`` is what the hub must send.

    ``hub_url`` and ``hub_token`` are where and as whom a Liquidlogic-shaped system calls back.
    """

    name: str
    shape: Literal["mosaic", "liquidlogic"]
    token: str
    hub_url: str | None = None
    hub_token: str | None = None


class LostAnswer(Response):
    """An answer that breaks off: the caller cannot know what became of its message."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Announce a body and close the connection instead."""
        del scope, receive
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"64")]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@dataclass
class _System:
    """What both kinds of system share: who may call, how it behaves now, and what it was sent."""

    tenancy: Tenancy
    ledger: Ledger
    behaviour: Behaviour

    def refusal(self, request: Request) -> Response | None:
        """Turn away strangers, and everybody while down."""
        wanted = f"Bearer {self.tenancy.token}"
        if not hmac.compare_digest(request.headers.get("authorization", ""), wanted):
            return JSONResponse({"error": "unauthorised"}, 401)
        if self.behaviour.mode == "down":
            return JSONResponse({"error": "unavailable"}, 503)
        return None

    async def take_in(self, request: Request, message_id: Any) -> Contact | Response:
        """Keep the message; a refusal instead of the contact when it cannot be kept."""
        if not isinstance(message_id, str) or request.headers.get("message-id") != message_id:
            return JSONResponse({"error": "message id missing or not that of the header"}, 422)
        contact, taken = self.ledger.take_in(self.tenancy.name, message_id, await request.body())
        if taken == "mismatch":
            return JSONResponse({"error": "other content under this message id"}, 409)
        return contact

    async def answer(self, contact: Contact, body: dict[str, Any], status: int) -> Response:
        """The answer to a message that was kept: at once, late, or broken off the first time."""
        mode = self.behaviour.mode_for(contact.message_id)
        if mode == "slow":
            await asyncio.sleep(self.behaviour.slow_seconds)
        if mode == "lose_answer" and len(self.ledger.attempts(contact.message_id)) == 1:
            return LostAnswer()
        return JSONResponse(body, status)

    async def decide(self, contact: Contact) -> Decision:
        """Let the partner's staff decide, once."""
        if contact.decision == "pending":
            await asyncio.sleep(self.behaviour.decide_seconds)
            rejects = self.behaviour.mode_for(contact.message_id) == "reject"
            decision: Decision = "rejected" if rejects else "accepted"
            self.ledger.decide(contact, decision)
            return decision
        return contact.decision


def mosaic(tenancy: Tenancy, ledger: Ledger, behaviour: Behaviour | None = None) -> FastAPI:
    """A Mosaic-shaped system: 202 and a tracking id; the step's status must be asked for."""
    system = _System(tenancy, ledger, behaviour or Behaviour())
    background = _Background()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        for contact in ledger.unfinished(tenancy.name, calls_back=False):
            background.start(system.decide(contact))
        yield
        await background.stop()

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    app.state.system = system

    @app.post("/api/workflow-steps")
    async def start_step(request: Request) -> Response:
        refusal = system.refusal(request)
        if refusal is not None:
            return refusal
        step = (await _json(request)).get("workflowStep")
        taken = await system.take_in(
            request, step.get("externalReference") if isinstance(step, dict) else None
        )
        if isinstance(taken, Response):
            return taken
        background.start(system.decide(taken))
        return await system.answer(taken, {"trackingId": f"T{taken.contact_id}"}, 202)

    @app.get("/api/workflow-steps/{message_id}")
    async def status(request: Request, message_id: str) -> Response:
        refusal = system.refusal(request)
        if refusal is not None:
            return refusal
        contact = ledger.find(tenancy.name, message_id)
        return _not_known() if contact is None else JSONResponse(_step(contact))

    return app


def liquidlogic(tenancy: Tenancy, ledger: Ledger, behaviour: Behaviour | None = None) -> FastAPI:
    """A Liquidlogic-shaped system: 201 and a contact id; the decision is called back to the hub."""
    system = _System(tenancy, ledger, behaviour or Behaviour())
    background = _Background()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as hub:
            app.state.hub = hub
            for contact in ledger.unfinished(tenancy.name, calls_back=True):
                background.start(_decide_and_call_back(system, hub, contact))
            yield
            await background.stop()

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    app.state.system = system

    @app.post("/contacts")
    async def create(request: Request) -> Response:
        refusal = system.refusal(request)
        if refusal is not None:
            return refusal
        taken = await system.take_in(request, (await _json(request)).get("message_id"))
        if isinstance(taken, Response):
            return taken
        background.start(_decide_and_call_back(system, app.state.hub, taken))
        return await system.answer(taken, {"contact_id": taken.contact_id}, 201)

    @app.get("/contacts/{message_id}")
    async def find(request: Request, message_id: str) -> Response:
        refusal = system.refusal(request)
        if refusal is not None:
            return refusal
        contact = ledger.find(tenancy.name, message_id)
        return _not_known() if contact is None else JSONResponse(_contact(contact))

    return app


def simulators(tenancies: Sequence[Tenancy], ledger: Ledger, behaviour: Behaviour | None = None) -> FastAPI:
    """All partners on one port, each below its name; ``PUT /control/{name}`` sets a behaviour, ``*`` all."""
    kinds = {"mosaic": mosaic, "liquidlogic": liquidlogic}
    apps = {tenancy.name: kinds[tenancy.shape](tenancy, ledger, behaviour) for tenancy in tenancies}

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for app in apps.values():  # a mounted application's own lifespan is not run by its host
                await stack.enter_async_context(app.router.lifespan_context(app))
            yield

    root = FastAPI(lifespan=lifespan, openapi_url=None)

    @root.put("/control/{name}")
    async def control(request: Request, name: str) -> Response:
        chosen = list(apps) if name == "*" else [name] if name in apps else []
        try:
            wanted = msgspec.json.decode(await request.body(), type=Behaviour)
        except msgspec.DecodeError:
            return JSONResponse({"error": "not a behaviour"}, 422)
        for one in chosen:
            apps[one].state.system.behaviour = wanted
        return JSONResponse({"set": chosen}, 200 if chosen else 404)

    @root.get("/control")
    async def totals() -> Response:
        return JSONResponse(ledger.counts()._asdict())

    for name, app in apps.items():
        root.mount(f"/{name}", app)
    return root


class _Background:
    """Work that goes on after an answer was given."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _decide_and_call_back(system: _System, hub: httpx.AsyncClient, contact: Contact) -> None:
    await system.decide(contact)
    decided = system.ledger.find(contact.tenancy, contact.message_id)
    tenancy = system.tenancy
    if decided is None or decided.called_back or tenancy.hub_url is None:
        return
    for wait in CALLBACK_SECONDS:
        await asyncio.sleep(wait)
        try:
            answer = await hub.post(
                f"{tenancy.hub_url}/v1/acknowledgements/{contact.message_id}",
                json=_contact(decided),
                headers={"Authorization": f"Bearer {tenancy.hub_token}"},
            )
        except httpx.HTTPError:
            continue
        if answer.is_success:
            system.ledger.note_called_back(contact)
            return


def _step(contact: Contact) -> dict[str, Any]:
    if contact.decision == "pending":
        return {"workflowStepId": contact.contact_id, "status": "In progress"}
    if contact.decision == "rejected":
        reason = "Person not identified"
        return {"workflowStepId": contact.contact_id, "status": "Refused", "reason": reason}
    outcome = _MOSAIC_OUTCOMES[_lot(contact) % len(_MOSAIC_OUTCOMES)]
    return {"workflowStepId": contact.contact_id, "status": "Completed", "outcome": outcome}


def _contact(contact: Contact) -> dict[str, Any]:
    body: dict[str, Any] = {"contact_id": contact.contact_id, "status": contact.decision}
    if contact.decision == "accepted":
        chosen = _FLAGS[_lot(contact) % 4]
        body["outcome"] = {flag: flag == chosen for flag in _FLAGS}
    elif contact.decision == "rejected":
        body["refusal_reason_id"] = "2"
    return body


def _lot(contact: Contact) -> int:
    """What chance gives a contact: by its message, so that the same message always fares the same."""
    return int.from_bytes(contact.message_id.encode()[-4:])


async def _json(request: Request) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(await request.body())
    except msgspec.DecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _not_known() -> Response:
    return JSONResponse({"error": "not known"}, 404)
