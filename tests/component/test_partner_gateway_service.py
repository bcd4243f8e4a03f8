import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import asyncpg
import httpx
import msgspec
import pytest

from hub_embedded.partner_simulators import Behaviour, Ledger, Mode, Tenancy, simulators
from hub_embedded.partner_simulators.running import served
from hub_kernel.clock import Clock, FixedClock, SystemClock, new_id
from hub_kernel.database import open_pool
from hub_kernel.event_store import ANY_VERSION, EventStore, StreamAppend
from hub_kernel.handling import Context, new_event
from hub_kernel.runtime import local_issuer
from hub_kernel.settings import Settings
from hub_kernel.testing import RunningHub, run_hub
from hub_partner_gateway.policies.routing import delivery_id_of, message_id_of
from hub_partner_gateway.service import SERVICE
from hub_schemas.codes import Agency, Authority
from hub_schemas.envelope import RecordedEvent
from hub_schemas.intake import Document, ReferralAmended, ReferralReceived, ReferralSummary, ReferralWithdrawn
from hub_schemas.triage import Recipient, ShareDecided

DEADLINE_SECONDS = 20
PARTNERS = {
    "884-childrens_services": "mosaic",
    "885-childrens_services": "liquidlogic",
    "885-adult_services": "liquidlogic",
}
FAST = {
    "retry_seconds": [0.05, 0.1, 0.2],
    "poll_seconds": [0.02, 0.05, 0.1, 0.2],
    "callback_seconds": [0.4, 0.4],
    "timeout_seconds": 5.0,
}
TRANSPORT = ["DeliveryPlanned", "Rendered", "Attempted", "TransportAccepted"]
GOLDEN = resources.files("hub_partner_gateway") / "partners/884-childrens_services/v1/golden"
DOCUMENT: dict[str, Any] = json.loads((GOLDEN / "withheld-refuge.in.json").read_bytes())["document"]
NAMES = (b"Sampleton", b"Ivy", b"Example Row", b"Example House", b"shouting", b"22/81234/26", b"9990012350")


async def until(read: Callable[[], Awaitable[Any]], enough: Callable[[Any], bool]) -> Any:
    """What ``read`` gives once it is enough."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not enough(found := await read()):
        assert time.monotonic() < deadline, f"not in time; last seen: {found}"
        await asyncio.sleep(0.01)
    return found


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@dataclass
class World:
    """A gateway over real HTTP, its partners, and the other services' logs as if they had written them."""

    database: str
    data_dir: Path
    stack: AsyncExitStack
    ledger: Ledger
    clock: Clock = field(default_factory=SystemClock)
    hub: RunningHub | None = None
    partners_url: str = ""
    port: int = field(default_factory=free_port)
    _pools: dict[str, asyncpg.Pool] = field(default_factory=dict)

    async def start(
        self, *, partners: Sequence[str] = tuple(PARTNERS), behaviour: Behaviour | None = None
    ) -> None:
        """Start the partners, then the hub."""
        await self.start_partners(behaviour)
        await self.start_hub(partners)

    async def start_partners(self, behaviour: Behaviour | None = None) -> None:
        """Start the partners, who will call back at ``port``."""
        tenancies = [
            Tenancy(
                name=name,
                shape=shape,  # type: ignore[arg-type]
                token=f"token-{name}",
                hub_url=f"http://127.0.0.1:{self.port}",
                hub_token=self.token(name),
            )
            for name, shape in PARTNERS.items()
        ]
        app = simulators(tenancies, self.ledger, behaviour)
        self.partners_url = await self.stack.enter_async_context(served(app))

    def token(self, name: str) -> str:
        """A token for a partner of this hub, signed by its own issuer."""
        authority, _, agency = name.partition("-")
        issuer = local_issuer(Settings(data_dir=self.data_dir))
        return issuer.token("partner_client", subject=name, authority=authority, agency=agency)

    def setting(self, partners: Sequence[str]) -> str:
        """What HUB_PARTNERS says."""
        return json.dumps(
            {
                name: {"url": f"{self.partners_url}/{name}", "token": f"token-{name}", **FAST}
                for name in partners
            }
        )

    async def start_hub(self, partners: Sequence[str] = tuple(PARTNERS)) -> None:
        """Start the gateway and serve it at ``port``."""
        self.hub = await self.stack.enter_async_context(
            run_hub(
                [SERVICE], self.database, self.data_dir, clock=self.clock, partners=self.setting(partners)
            )
        )
        await self.stack.enter_async_context(served(self.hub.hub.app, self.port))

    @property
    def context(self) -> Any:
        """The gateway's own context."""
        assert self.hub is not None
        return self.hub.hub.contexts["partner-gateway"]

    async def behave(self, mode: Mode, **changes: Any) -> None:
        """Change how every partner behaves."""
        async with httpx.AsyncClient() as client:
            answer = await client.put(f"{self.partners_url}/control/*", json={"mode": mode, **changes})
        assert answer.status_code == 200

    async def say(self, service: str, stream: str, fact: Any) -> None:
        """Append a fact to another service's log."""
        if service not in self._pools:
            pool = await open_pool(self.database, role=f"hub_{service}", size=2)
            self._pools[service] = pool
            self.stack.push_async_callback(pool.close)
        context = Context(fact.referral_id, service, self.clock.now())
        key = await self.context.keyring.key_for(fact.referral_id)
        store = EventStore(self._pools[service], service, self.clock)
        event = new_event(fact, new_id(), context, key, None)
        await store.append([StreamAppend(f"{stream}-{fact.referral_id}", ANY_VERSION, [event])])

    async def receive(self, referral_id: UUID, document: dict[str, Any] | None = None) -> None:
        """Intake has received a referral."""
        await self.say("intake", "referral", received(referral_id, document or DOCUMENT, self.clock.now()))

    async def share(self, referral_id: UUID, *to: tuple[str, Authority, Agency], due_at: Any = None) -> None:
        """Triage has decided to share a referral."""
        decided = ShareDecided(
            referral_id=referral_id,
            decided_at=self.clock.now(),
            recipients=tuple(
                Recipient(subject_id=uuid5(referral_id, ref), authority=authority, agency=agency)
                for ref, authority, agency in to
            ),
            risk_grade="high",
            level_of_need="red",
            share_due_at=due_at,
        )
        await self.say("triage", "assessment", decided)

    async def withdraw(self, referral_id: UUID) -> None:
        """Intake has heard that a referral was withdrawn."""
        fact = ReferralWithdrawn(
            referral_id=referral_id, withdrawn_at=self.clock.now(), reason_code="duplicate"
        )
        await self.say("intake", "referral", fact)

    async def events(self, delivery_id: UUID) -> list[RecordedEvent]:
        """The delivery's events."""
        async with self.context.pool.acquire() as connection:
            found: list[RecordedEvent] = await self.context.store.read.stream(
                connection, f"delivery-{delivery_id}"
            )
            return found

    async def kinds(self, delivery_id: UUID, last: str) -> list[str]:
        """The delivery's facts by name, once the last is this one."""

        async def read() -> list[str]:
            return [event.type for event in await self.events(delivery_id)]

        found: list[str] = await until(read, lambda kinds: bool(kinds) and kinds[-1] == last)
        return found

    async def settled(self, delivery_id: UUID) -> None:
        """Wait until the sender has no more to do for a delivery."""

        async def read() -> Any:
            return await self.context.pool.fetchrow(
                """SELECT next_attempt_at, claimed_until FROM partner_gateway.deliveries
                    WHERE delivery_id = $1""",
                delivery_id,
            )

        await until(read, lambda row: row is not None and tuple(row) == (None, None))

    async def view(self, delivery_id: UUID, role: Any = "operator", **claims: Any) -> httpx.Response:
        """The delivery as a reader is shown it."""
        assert self.hub is not None
        async with self.hub.client(role, **claims) as client:
            return await client.get(f"/v1/deliveries/{delivery_id}")


def received(referral_id: UUID, document: dict[str, Any], at: datetime) -> ReferralReceived:
    return ReferralReceived(
        referral_id=referral_id,
        received_at=at,
        summary=ReferralSummary(
            source_system="records",
            source_version=1,
            content_hash="0" * 64,
            document_version=1,
            force="22",
            authority="884",
            referral_type="domestic_abuse",
            incident_at=None,
            submitted_at=at,
            subjects=(),
        ),
        sealed=Document(document=msgspec.Raw(json.dumps(document).encode())),
    )


HEREFORD: tuple[str, Authority, Agency] = ("child-1", "884", "childrens_services")
WORCESTER: tuple[str, Authority, Agency] = ("unborn-1", "885", "childrens_services")
ADULT: tuple[str, Authority, Agency] = ("adult-1", "885", "adult_services")


def delivery_to(referral_id: UUID, to: tuple[str, Authority, Agency]) -> UUID:
    ref, authority, agency = to
    return delivery_id_of(referral_id, uuid5(referral_id, ref), agency, authority)


@pytest.fixture
async def world(database: str, tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        ledger = Ledger(tmp_path / "partners.sqlite")
        stack.callback(ledger.close)
        yield World(database, tmp_path, stack, ledger)


async def test_each_subject_reaches_its_own_partner_in_that_partners_form(world: World) -> None:
    await world.start()
    referral_id = new_id()
    await world.receive(referral_id)
    await world.share(referral_id, HEREFORD, WORCESTER, ADULT)
    for to in (HEREFORD, WORCESTER, ADULT):
        delivery_id = delivery_to(referral_id, to)
        assert await world.kinds(delivery_id, "Acknowledged") == [*TRANSPORT, "Acknowledged"]
        await world.settled(delivery_id)
    assert world.ledger.counts() == (3, 3, 0)
    views = (await world.view(delivery_to(referral_id, HEREFORD))).json()
    [contact] = [one for one in world.ledger.contacts() if one.tenancy == "884-childrens_services"]
    assert views["body_hash"] == contact.body_hash
    assert views["message_id"] == contact.message_id
    assert views["outcome"] in {"partner_referral", "strategy_discussion", "nfa"}
    assert (views["status"], views["attempts"], views["reconciled"]) == ("acknowledged", 1, False)
    assert "subjects.ethnicity.dfe" in views["lost_fields"]


@pytest.mark.parametrize("to", [HEREFORD, WORCESTER])
async def test_a_partners_refusal_asks_a_person(world: World, to: tuple[str, Authority, Agency]) -> None:
    await world.start(behaviour=Behaviour(mode="reject"))
    referral_id = new_id()
    await world.receive(referral_id)
    await world.share(referral_id, to)
    delivery_id = delivery_to(referral_id, to)
    assert await world.kinds(delivery_id, "HumanFallbackRaised") == [
        *TRANSPORT, "Rejected", "HumanFallbackRaised",
    ]  # fmt: skip
    await world.settled(delivery_id)
    view = (await world.view(delivery_id)).json()
    assert (view["status"], view["rejected_because"]) == ("rejected", "person_not_identified")
    assert view["fallbacks"] == ["rejected"]


@pytest.mark.parametrize("to", [HEREFORD, WORCESTER])
async def test_a_lost_answer_leaves_one_contact_and_no_second_sending(
    world: World, to: tuple[str, Authority, Agency]
) -> None:
    await world.start(behaviour=Behaviour(mode="lose_answer"))
    referral_id = new_id()
    await world.receive(referral_id)
    await world.share(referral_id, to)
    delivery_id = delivery_to(referral_id, to)
    assert await world.kinds(delivery_id, "Acknowledged") == [*TRANSPORT, "Acknowledged"]
    assert (await world.view(delivery_id)).json()["reconciled"] is True
    assert world.ledger.counts() == (1, 1, 0)


async def test_a_partner_that_is_down_gets_the_same_bytes_when_it_is_up(world: World) -> None:
    await world.start(behaviour=Behaviour(mode="down"))
    referral_id = new_id()
    await world.receive(referral_id)
    await world.share(referral_id, HEREFORD)
    delivery_id = delivery_to(referral_id, HEREFORD)

    async def failures() -> int:
        return [event.type for event in await world.events(delivery_id)].count("AttemptFailed")

    await until(failures, lambda count: count >= 2)
    await world.behave("accept")
    kinds = await world.kinds(delivery_id, "Acknowledged")
    assert kinds.count("Rendered") == 1
    assert kinds.count("Attempted") == kinds.count("AttemptFailed") + 1
    assert world.ledger.counts() == (1, 1, 0)
    assert (await world.view(delivery_id)).json()["last_failure"] == "server_error"


async def test_a_partner_nobody_listens_at_is_tried_again(world: World) -> None:
    await world.start_partners()
    url, world.partners_url = world.partners_url, f"http://127.0.0.1:{free_port()}"
    await world.start_hub()
    world.partners_url = url
    referral_id = new_id()
    await world.receive(referral_id)
    await world.share(referral_id, HEREFORD)
    delivery_id = delivery_to(referral_id, HEREFORD)
    await world.kinds(delivery_id, "AttemptFailed")
    assert (await world.view(delivery_id)).json()["last_failure"] == "refused_connection"


async def test_an_acknowledgement_may_overtake_the_transports_answer(world: World) -> None:
    await world.start(behaviour=Behaviour(mode="slow", slow_seconds=0.6))
    referral_id = new_id()
    await world.receive(referral_id)
    await world.share(referral_id, WORCESTER)
    delivery_id = delivery_to(referral_id, WORCESTER)
    assert await world.kinds(delivery_id, "Acknowledged") == [*TRANSPORT, "Acknowledged"]
    assert (await world.view(delivery_id)).json()["reconciled"] is True
    await world.settled(delivery_id)
    assert len(await world.events(delivery_id)) == 5


async def test_a_partner_that_never_calls_back_is_asked(world: World) -> None:
    world.port = free_port()
    await world.start_partners()
    world.port = free_port()  # the partner calls a port where nobody listens
    await world.start_hub()
    referral_id = new_id()
    await world.receive(referral_id)
    await world.share(referral_id, WORCESTER)
    delivery_id = delivery_to(referral_id, WORCESTER)
    assert await world.kinds(delivery_id, "Acknowledged") == [*TRANSPORT, "Acknowledged"]


async def test_a_hub_that_stopped_between_sending_and_recording_asks_first(world: World) -> None:
    await world.start(behaviour=Behaviour(mode="slow", slow_seconds=30))
    referral_id = new_id()
    await world.receive(referral_id)
    await world.share(referral_id, HEREFORD)
    delivery_id = delivery_to(referral_id, HEREFORD)

    async def arrived() -> int:
        return world.ledger.counts().contacts

    await until(arrived, lambda count: count == 1)
    assert await world.kinds(delivery_id, "Attempted") == TRANSPORT[:3]
    first = world.hub
    assert first is not None
    # A second hub on the same log, as after a kill: the first one's claim is freed, its attempt left open.
    await world.context.pool.execute("UPDATE partner_gateway.deliveries SET claimed_until = NULL")
    world.port = free_port()
    await world.behave("accept")
    await world.start_hub()
    assert await world.kinds(delivery_id, "Acknowledged") == [*TRANSPORT, "Acknowledged"]
    assert world.ledger.attempts(str(message_id_of(delivery_id))) == [
        (await world.view(delivery_id)).json()["body_hash"]
    ]


async def test_an_attempt_the_partner_never_got_is_sent_again_with_the_same_bytes(world: World) -> None:
    await world.start_partners()
    listener = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    url, world.partners_url = world.partners_url, f"http://127.0.0.1:{port}"
    await world.start_hub()
    referral_id = new_id()
    await world.receive(referral_id)
    await world.share(referral_id, HEREFORD)
    delivery_id = delivery_to(referral_id, HEREFORD)
    await world.kinds(delivery_id, "Attempted")
    listener.close()
    world.partners_url, world.port = url, free_port()
    await world.context.pool.execute("UPDATE partner_gateway.deliveries SET destination = NULL")
    await world.context.pool.execute(
        "UPDATE partner_gateway.deliveries SET claimed_until = NULL, next_attempt_at = now()"
    )
    await world.start_hub()
    await world.context.pool.execute(
        "UPDATE partner_gateway.deliveries SET destination = '884-childrens_services', claimed_until = NULL"
    )
    kinds = await world.kinds(delivery_id, "Acknowledged")
    assert kinds[:3] == TRANSPORT[:3]
    assert kinds.count("Rendered") == 1
    assert world.ledger.counts() == (1, 1, 0)
    [body_hash] = world.ledger.attempts(str(message_id_of(delivery_id)))
    assert body_hash == (await world.view(delivery_id)).json()["body_hash"]


async def test_a_decision_may_arrive_before_the_document(world: World) -> None:
    await world.start()
    referral_id = new_id()
    await world.share(referral_id, HEREFORD)
    delivery_id = delivery_to(referral_id, HEREFORD)
    assert await world.kinds(delivery_id, "DeliveryPlanned") == ["DeliveryPlanned"]
    await world.receive(referral_id)
    assert await world.kinds(delivery_id, "Acknowledged") == [*TRANSPORT, "Acknowledged"]


async def test_a_subject_that_is_not_in_the_document_is_a_persons_until_an_amendment(world: World) -> None:
    await world.start()
    referral_id = new_id()
    await world.receive(referral_id)
    late: tuple[str, Authority, Agency] = ("child-2", "884", "childrens_services")
    await world.share(referral_id, late)
    delivery_id = delivery_to(referral_id, late)
    await world.kinds(delivery_id, "HumanFallbackRaised")
    document = {**DOCUMENT, "subjects": [*DOCUMENT["subjects"], {"ref": "child-2", "kind": "child"}]}
    first = received(referral_id, document, world.clock.now())
    amended = ReferralAmended(
        referral_id=referral_id, amended_at=world.clock.now(), summary=first.summary, sealed=first.sealed
    )
    await world.say("intake", "referral", amended)
    await world.kinds(delivery_id, "Acknowledged")
    view = (await world.view(delivery_id)).json()
    assert (view["referral_version"], view["fallbacks"]) == (2, ["cannot_render"])


async def test_a_withdrawal_stops_what_has_not_left(world: World) -> None:
    await world.start(behaviour=Behaviour(mode="down"))
    referral_id = new_id()
    await world.receive(referral_id)
    await world.share(referral_id, HEREFORD)
    delivery_id = delivery_to(referral_id, HEREFORD)
    await world.kinds(delivery_id, "AttemptFailed")
    await world.withdraw(referral_id)

    async def cancelled() -> list[str]:
        return [event.type for event in await world.events(delivery_id)]

    await until(cancelled, lambda kinds: "Cancelled" in kinds)
    await world.settled(delivery_id)
    await world.behave("accept")
    assert (await world.view(delivery_id)).json()["status"] == "cancelled"
    assert world.ledger.counts().contacts == 0


async def test_a_withdrawal_after_sending_asks_a_person(world: World) -> None:
    await world.start()
    referral_id = new_id()
    await world.receive(referral_id)
    await world.share(referral_id, HEREFORD)
    delivery_id = delivery_to(referral_id, HEREFORD)
    await world.kinds(delivery_id, "Acknowledged")
    await world.withdraw(referral_id)
    await world.kinds(delivery_id, "HumanFallbackRaised")
    assert (await world.view(delivery_id)).json()["fallbacks"] == ["withdrawn_after_send"]


async def test_a_share_of_what_was_withdrawn_goes_nowhere(world: World) -> None:
    await world.start()
    referral_id = new_id()
    await world.receive(referral_id)
    await world.withdraw(referral_id)

    async def dropped() -> Any:
        return await world.context.pool.fetchval(
            "SELECT withdrawn AND sealed IS NULL FROM partner_gateway.documents WHERE referral_id = $1",
            referral_id,
        )

    await until(dropped, bool)
    await world.share(referral_id, HEREFORD)
    delivery_id = delivery_to(referral_id, HEREFORD)
    assert await world.kinds(delivery_id, "Cancelled") == ["DeliveryPlanned", "Cancelled"]


async def test_an_erased_referral_is_not_sent(world: World) -> None:
    await world.start()
    referral_id = new_id()
    await world.receive(referral_id)
    await world.context.keyring.erase(referral_id)
    decided = ShareDecided(
        referral_id=referral_id,
        decided_at=world.clock.now(),
        recipients=(
            Recipient(subject_id=uuid5(referral_id, "child-1"), authority="884", agency="childrens_services"),
        ),
        risk_grade="high",
        level_of_need="red",
        share_due_at=None,
    )
    context = Context(referral_id, "triage", world.clock.now())
    pool = await open_pool(world.database, role="hub_triage", size=1)
    event = new_event(decided, new_id(), context, None, None)
    await EventStore(pool, "triage", world.clock).append(
        [StreamAppend(f"assessment-{referral_id}", ANY_VERSION, [event])]
    )
    await pool.close()
    delivery_id = delivery_to(referral_id, HEREFORD)
    assert await world.kinds(delivery_id, "Cancelled") == ["DeliveryPlanned", "Cancelled"]


async def test_an_agency_without_a_way_is_a_persons_at_once(world: World) -> None:
    await world.start(partners=["884-childrens_services"])
    referral_id = new_id()
    await world.receive(referral_id)
    await world.share(referral_id, WORCESTER)
    delivery_id = delivery_to(referral_id, WORCESTER)
    assert await world.kinds(delivery_id, "HumanFallbackRaised") == ["DeliveryPlanned", "HumanFallbackRaised"]
    view = (await world.view(delivery_id)).json()
    assert (view["status"], view["package"], view["fallbacks"]) == ("unroutable", None, ["unroutable"])


async def test_a_missed_deadline_asks_a_person_and_the_gateway_goes_on(world: World) -> None:
    start = datetime(2026, 3, 7, 9, 0, tzinfo=UTC)
    clock = world.clock = FixedClock(start)
    await world.start(behaviour=Behaviour(mode="down"))
    referral_id = new_id()
    await world.receive(referral_id)
    await world.share(referral_id, HEREFORD, due_at=start + timedelta(hours=1))
    delivery_id = delivery_to(referral_id, HEREFORD)
    await world.kinds(delivery_id, "AttemptFailed")
    clock.instant = start + timedelta(hours=1)

    async def expired() -> list[str]:
        return [event.type for event in await world.events(delivery_id)]

    await until(expired, lambda kinds: kinds[-1] == "AttemptFailed" and "Expired" in kinds)
    await world.behave("accept")
    clock.instant += timedelta(hours=1)
    kinds = await world.kinds(delivery_id, "Acknowledged")
    assert kinds.count("Expired") == kinds.count("HumanFallbackRaised") == 1


async def test_a_repeated_callback_changes_nothing_and_a_later_outcome_is_recorded(world: World) -> None:
    await world.start()
    referral_id = new_id()
    await world.receive(referral_id)
    await world.share(referral_id, WORCESTER)
    delivery_id = delivery_to(referral_id, WORCESTER)
    await world.kinds(delivery_id, "Acknowledged")
    [contact] = world.ledger.contacts()
    path = f"/v1/acknowledgements/{message_id_of(delivery_id)}"
    later = {"contact_id": contact.contact_id, "status": "accepted", "outcome": {"OLA_CP": True}}
    other = later | {"contact_id": 999}
    assert world.hub is not None
    async with world.hub.client("partner_client", authority="885", agency="childrens_services") as client:
        answers = [await client.post(path, json=body) for body in (later, later, other)]
    assert [answer.status_code for answer in answers] == [204, 204, 409]
    assert (await world.view(delivery_id)).json()["outcome"] == "other_authority_plan"
    assert answers[2].json()["type"] == "urn:referral-hub:problem:contact-contradicts"
    assert (await world.kinds(delivery_id, "OutcomeRecorded")).count("OutcomeRecorded") == 1


@pytest.mark.parametrize(
    ("role", "claims", "status"),
    [
        ("partner_client", {"authority": "885", "agency": "childrens_services"}, 200),
        ("partner_client", {"authority": "884", "agency": "childrens_services"}, 404),
        ("partner_client", {"authority": "885", "agency": "adult_services"}, 404),
        ("partner_client", {}, 404),
        ("assessor", {}, 200),
        ("assessor", {"authority": "884"}, 404),
        ("auditor", {}, 200),
        ("operator", {}, 200),
        ("records_system", {"system": "rms"}, 403),
        (None, {}, 401),
    ],
)
async def test_a_delivery_is_shown_to_its_own_partner_and_the_force_alone(
    world: World, role: Any, claims: dict[str, str], status: int
) -> None:
    await world.start()
    referral_id = new_id()
    await world.share(referral_id, WORCESTER)
    delivery_id = delivery_to(referral_id, WORCESTER)
    await world.kinds(delivery_id, "DeliveryPlanned")
    assert world.hub is not None
    async with world.hub.client(role, **claims) as client:
        one = await client.get(f"/v1/deliveries/{delivery_id}")
        listed = await client.get("/v1/deliveries", params={"referral_id": str(referral_id)})
    assert one.status_code == status
    assert listed.status_code == (status if status != 404 else 200)
    if listed.status_code == 200:
        assert len(listed.json()["deliveries"]) == (1 if status == 200 else 0)


async def test_only_the_partner_itself_may_acknowledge(world: World) -> None:
    await world.start(behaviour=Behaviour(mode="down"))
    referral_id = new_id()
    await world.receive(referral_id)
    await world.share(referral_id, WORCESTER)
    delivery_id = delivery_to(referral_id, WORCESTER)
    await world.kinds(delivery_id, "AttemptFailed")
    body = {"contact_id": 1, "status": "accepted"}
    path = f"/v1/acknowledgements/{message_id_of(delivery_id)}"
    seen = []
    assert world.hub is not None
    for role, claims in (
        ("partner_client", {"authority": "884", "agency": "childrens_services"}),
        ("partner_client", {"authority": "885", "agency": "adult_services"}),
        ("partner_client", {}),
        ("assessor", {}),
        ("operator", {}),
    ):
        async with world.hub.client(role, **claims) as client:  # type: ignore[arg-type]
            seen.append((await client.post(path, json=body)).status_code)
    assert seen == [404, 404, 404, 403, 403]
    async with world.hub.client("partner_client", authority="885", agency="childrens_services") as client:
        unknown = await client.post(f"/v1/acknowledgements/{new_id()}", json=body)
        bodies: list[Any] = [{}, {"status": "maybe"}, {"status": "accepted"}, [], "x"]
        malformed = [(await client.post(path, json=body)).status_code for body in bodies]
    assert (unknown.status_code, malformed) == (404, [422] * 5)


async def test_nothing_personal_stands_in_the_open(
    world: World, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    await world.start(behaviour=Behaviour(mode="lose_answer"))
    referral_id = new_id()
    await world.receive(referral_id)
    await world.share(referral_id, HEREFORD, WORCESTER, ADULT)
    for to in (HEREFORD, WORCESTER, ADULT):
        await world.kinds(delivery_to(referral_id, to), "Acknowledged")
    sealed = [
        event for to in (HEREFORD, WORCESTER) for event in await world.events(delivery_to(referral_id, to))
    ]
    assert {event.type for event in sealed if event.sealed} == {"Rendered", "Acknowledged"}
    connection = await asyncpg.connect(world.database)
    seen = b""
    for table in ("partner_gateway.events", "partner_gateway.documents", "partner_gateway.deliveries"):
        for row in await connection.fetch(f"SELECT t.*::text FROM {table} AS t"):
            seen += str(tuple(row)).encode()
    for row in await connection.fetch("SELECT open, sealed FROM partner_gateway.events"):
        seen += row["open"] + (row["sealed"] or b"")
    await connection.close()
    seen += caplog.text.encode() + "".join(capfd.readouterr()).encode()
    assert not [name for name in NAMES if name in seen]


async def test_every_opening_of_a_document_is_on_record(world: World) -> None:
    await world.start()
    referral_id = new_id()
    await world.receive(referral_id)
    await world.share(referral_id, HEREFORD)
    await world.kinds(delivery_to(referral_id, HEREFORD), "Acknowledged")
    async with world.context.pool.acquire() as connection:
        [read] = await world.context.access_log.store.read.stream(connection, f"access-{referral_id}")
    row = msgspec.json.decode(read.open)
    assert (row["reader"], row["role"], row["reason"]) == ("partner-gateway", "service", "disclosure")


async def test_a_hundred_referrals_make_one_contact_each(world: World) -> None:
    mix: dict[Mode, float] = {"reject": 0.1, "slow": 0.1, "lose_answer": 0.2}
    await world.start(behaviour=Behaviour(mix=mix, seed=7, slow_seconds=0.2))
    many = [new_id() for _ in range(50)]
    for referral_id in many:
        await world.receive(referral_id)
        await world.share(referral_id, HEREFORD, WORCESTER)
    for referral_id in many:
        for to in (HEREFORD, WORCESTER):
            await world.settled(delivery_to(referral_id, to))
    assert world.ledger.counts() == (100, 100, 0)
    contacts = {contact.message_id: contact for contact in world.ledger.contacts()}
    for referral_id in many:
        for to in (HEREFORD, WORCESTER):
            delivery_id = delivery_to(referral_id, to)
            view = (await world.view(delivery_id)).json()
            contact = contacts[str(message_id_of(delivery_id))]
            assert view["body_hash"] == contact.body_hash
            assert view["status"] == {"accepted": "acknowledged", "rejected": "rejected"}[contact.decision]


def test_a_ledger_tells_a_repeat_from_other_bytes(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    assert ledger.take_in("a", "m", b"1")[1] == "new"
    assert ledger.take_in("a", "m", b"1")[1] == "repeat"
    ledger.close()
    ledger = Ledger(tmp_path / "ledger.sqlite")
    assert ledger.take_in("a", "m", b"2")[1] == "mismatch"
    assert ledger.counts() == (1, 3, 1)
    assert ledger.attempts("m") == [sha256(body).hexdigest() for body in (b"1", b"1", b"2")]
    ledger.close()
