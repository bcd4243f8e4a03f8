"""Partners that read Kafka: each county's topic on a real broker, fed by a running gateway."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid5

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from hub_embedded.kafka_broker import KafkaBroker
from hub_intake.service import SERVICE as INTAKE
from hub_kernel.clock import SystemClock, new_id
from hub_kernel.event_store import ANY_VERSION, StreamAppend
from hub_kernel.handling import Context, new_event
from hub_kernel.service import Parts
from hub_kernel.testing import RunningHub, run_hub
from hub_partner_gateway.adapters import topic_partners
from hub_partner_gateway.adapters.package_files import shipped_packages
from hub_partner_gateway.policies.destinations import PartnersMisconfigured
from hub_partner_gateway.policies.rendering import RenderContext, document_of, render
from hub_partner_gateway.policies.routing import delivery_id_of, message_id_of
from hub_partner_gateway.service import SERVICE as GATEWAY
from hub_schemas.codes import Agency, Authority
from hub_schemas.envelope import RecordedEvent
from hub_schemas.intake import Document, ReferralReceived, ReferralSummary, ReferralWithdrawn
from hub_schemas.triage import Recipient, ShareDecided
from hub_triage.service import SERVICE as TRIAGE

DEADLINE_SECONDS = 40
SHIPPED = resources.files("hub_partner_gateway") / "partners"
GOLDEN = SHIPPED / "884-childrens_services/v1/golden"
DOCUMENT: dict[str, Any] = json.loads((GOLDEN / "withheld-refuge.in.json").read_bytes())["document"]
GOLDEN_MESSAGE = b"00000000-0000-0000-0000-000000000009"
To = tuple[str, Authority, Agency]
HEREFORD: To = ("child-1", "884", "childrens_services")
HEREFORD_TOO: To = ("unborn-1", "884", "childrens_services")
WORCESTER: To = ("unborn-1", "885", "childrens_services")
HEREFORD_TOPIC, WORCESTER_TOPIC = "partner.884.childrens_services.v1", "partner.885.childrens_services.v1"
TAKEN = ["DeliveryPlanned", "Rendered", "Attempted", "TransportAccepted"]
SILENT = [replace(service, build=lambda _: Parts()) for service in (INTAKE, TRIAGE)]
"""The other two services' logs and relays, without anything that would write to them but the test."""


class Read(NamedTuple):
    """One record of a topic."""

    partition: int
    key: str
    headers: dict[str, str]
    value: bytes


def delivery_to(referral_id: UUID, to: To) -> UUID:
    ref, authority, agency = to
    return delivery_id_of(referral_id, uuid5(referral_id, ref), agency, authority)


@dataclass
class Counties:
    """A gateway whose partners read Kafka, and what the other services would have recorded."""

    running: RunningHub
    broker: KafkaBroker
    prefix: str

    @property
    def context(self) -> Any:
        """The gateway's own context."""
        return self.running.hub.contexts["partner-gateway"]

    async def say(self, service: str, stream: str, fact: Any) -> None:
        """Append a fact to another service's log; its relay brings it."""
        context = Context(fact.referral_id, service, SystemClock().now())
        key = await self.context.keyring.key_for(fact.referral_id)
        event = new_event(fact, new_id(), context, key, None)
        store = self.running.hub.contexts[service].store
        await store.append([StreamAppend(f"{stream}-{fact.referral_id}", ANY_VERSION, [event])])

    async def receive(self, referral_id: UUID) -> None:
        """Intake has received the golden referral."""
        now = SystemClock().now()
        summary = ReferralSummary(
            source_system="west-mercia-rms", source_version=1, content_hash="0" * 64, document_version=1,
            force="west-mercia", authority="884", referral_type="domestic_abuse", incident_at=None,
            submitted_at=now, subjects=(),
        )  # fmt: skip
        sealed = Document(document=msgspec.Raw(json.dumps(DOCUMENT).encode()))
        fact = ReferralReceived(referral_id=referral_id, received_at=now, summary=summary, sealed=sealed)
        await self.say("intake", "referral", fact)

    async def share(self, referral_id: UUID, *to: To) -> None:
        """Triage has decided to share it."""
        recipients = tuple(
            Recipient(subject_id=uuid5(referral_id, ref), authority=authority, agency=agency)
            for ref, authority, agency in to
        )
        decided = ShareDecided(
            referral_id=referral_id, decided_at=SystemClock().now(), recipients=recipients,
            risk_grade="high", level_of_need="red", share_due_at=None,
        )  # fmt: skip
        await self.say("triage", "assessment", decided)

    async def send(self, referral_id: UUID, *to: To) -> None:
        """Receive and share it, and wait until each contact is on its topic."""
        await self.receive(referral_id)
        await self.share(referral_id, *to)
        for one in to:
            await self.kinds(delivery_to(referral_id, one), "TransportAccepted")

    async def held_back(self, referral_id: UUID, to: To) -> None:
        """Bring a delivery to where its first sending needs nothing more, and hold it there."""
        delivery_id = delivery_to(referral_id, to)
        await self.share(referral_id, to)
        await self.kinds(delivery_id, "DeliveryPlanned")
        await self.context.pool.execute("UPDATE partner_gateway.deliveries SET destination = NULL")
        await self.receive(referral_id)
        kept = "SELECT EXISTS (SELECT FROM partner_gateway.documents WHERE referral_id = $1)"
        await until(lambda: self.context.pool.fetchval(kept, referral_id), bool)

    async def let_go(self, to: To) -> None:
        """Let what was held back be sent."""
        await self.context.pool.execute(
            """UPDATE partner_gateway.deliveries SET destination = $1, claimed_until = NULL,
                      next_attempt_at = now() WHERE destination IS NULL""",
            f"{to[1]}-{to[2]}",
        )

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

        return list(await until(read, lambda kinds: bool(kinds) and kinds[-1] == last))

    async def due(self, delivery_id: UUID) -> tuple[float | None, bool]:
        """In how many seconds the sender looks at a delivery again, and whether it has it in hand."""
        row = await self.context.pool.fetchrow(
            """SELECT extract(epoch FROM next_attempt_at - now())::float AS seconds,
                      claimed_until IS NOT NULL AS claimed
                 FROM partner_gateway.deliveries WHERE delivery_id = $1""",
            delivery_id,
        )
        return row["seconds"], row["claimed"]

    async def settled(self, delivery_id: UUID) -> None:
        """Wait until the sender has no more to do for a delivery."""
        await until(lambda: self.due(delivery_id), lambda due: due == (None, False))

    async def read(self, topic: str) -> list[Read]:
        """All a topic holds, by partition."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.broker.bootstrap, enable_auto_commit=False)
        await consumer.start()
        try:
            places = [TopicPartition(f"{self.prefix}{topic}", partition) for partition in (0, 1)]
            ends = await consumer.end_offsets(places)
            consumer.assign(places)
            await consumer.seek_to_beginning()
            read: list[Read] = []
            async with asyncio.timeout(DEADLINE_SECONDS):
                while len(read) < sum(ends.values()):
                    for records in (await consumer.getmany(timeout_ms=200)).values():
                        read += [
                            Read(r.partition, r.key.decode(), {n: v.decode() for n, v in r.headers}, r.value)
                            for r in records
                        ]
            return read
        finally:
            await consumer.stop()


async def until(read: Callable[[], Awaitable[Any]], enough: Callable[[Any], bool]) -> Any:
    """What ``read`` gives once it is enough."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not enough(found := await read()):
        assert time.monotonic() < deadline, f"not in time; last seen: {found}"
        await asyncio.sleep(0.02)
    return found


def on_topics(*partners: str, **waits: Any) -> str:
    """What HUB_PARTNERS says of partners that read Kafka."""
    return json.dumps({name: {"topic": True, "principal": f"User:{name}", **waits} for name in partners})


def rendered(referral_id: UUID, to: To) -> bytes:
    """What the partner would be sent over HTTP."""
    ref, authority, agency = to
    package = shipped_packages().find(authority, agency)
    assert package is not None
    context = RenderContext(
        referral_id=referral_id, subject_id=uuid5(referral_id, ref),
        message_id=message_id_of(delivery_to(referral_id, to)), referral_version=1,
        risk_grade="high", level_of_need="red", lawful_basis="public_task",
    )  # fmt: skip
    return render(package, document_of(json.dumps(DOCUMENT).encode()), context).body.encode()


Start = Callable[..., Awaitable[Counties]]


@pytest.fixture
async def start(database: str, tmp_path: Path, kafka: KafkaBroker) -> AsyncIterator[Start]:
    """Starts a gateway with two counties' children's services on topics."""
    async with AsyncExitStack() as stack:

        async def start(broker: KafkaBroker = kafka, **waits: Any) -> Counties:
            prefix = f"{new_id().hex}."
            running = await stack.enter_async_context(
                run_hub(
                    [*SILENT, GATEWAY], database, tmp_path, bus_url=f"kafka://{broker.bootstrap}",
                    kafka_prefix=prefix, kafka_session_seconds=6,
                    partners=on_topics("884-childrens_services", "885-childrens_services", **waits),
                )
            )  # fmt: skip
            return Counties(running, broker, prefix)

        yield start


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A broker that a test may kill and freeze."""
    with KafkaBroker(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@contextmanager
def frozen(broker: KafkaBroker) -> Iterator[None]:
    """While the block lasts the broker holds its connections and answers nobody."""
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(broker.pid, signal.SIGCONT)


async def test_a_county_reads_the_golden_bytes_of_its_own_subjects_and_of_nobody_else(start: Start) -> None:
    counties = await start()
    referral_id = UUID(int=1)
    await counties.send(referral_id, HEREFORD, WORCESTER)
    [hereford] = await counties.read(HEREFORD_TOPIC)
    [worcester] = await counties.read(WORCESTER_TOPIC)
    delivery_id = delivery_to(referral_id, HEREFORD)
    message_id = message_id_of(delivery_id)
    golden = (GOLDEN / "withheld-refuge.out.json").read_bytes()
    assert hereford.value == golden.replace(GOLDEN_MESSAGE, str(message_id).encode())
    [attempted] = [event for event in await counties.events(delivery_id) if event.type == "Attempted"]
    assert hereford.headers == {
        "ce_specversion": "1.0",
        "ce_id": str(message_id),
        "ce_source": "/partner_gateway",
        "ce_type": "referral-hub.partner-contact.v1",
        "ce_subject": str(delivery_id),
        "ce_time": msgspec.json.decode(attempted.open)["attempted_at"].replace("Z", "+00:00"),
        "ce_partitionkey": str(referral_id),
        "content-type": "application/json",
    }
    assert hereford.key == str(referral_id)
    assert worcester.value == rendered(referral_id, WORCESTER)


async def test_contacts_of_one_referral_stand_on_one_partition(
    start: Start,
) -> None:
    counties = await start()
    many = [new_id() for _ in range(12)]
    for referral_id in many:
        await counties.receive(referral_id)
        await counties.share(referral_id, HEREFORD, HEREFORD_TOO)
    sent: dict[str, set[str]] = {str(referral_id): set() for referral_id in many}
    for referral_id in many:
        for to in (HEREFORD, HEREFORD_TOO):
            delivery_id = delivery_to(referral_id, to)
            assert await counties.kinds(delivery_id, "TransportAccepted") == TAKEN
            sent[str(referral_id)].add(str(delivery_id))
    read = await counties.read(HEREFORD_TOPIC)
    assert {one.partition for one in read} == {0, 1}
    for referral, deliveries in sent.items():
        mine = [one for one in read if one.key == referral]
        assert sorted(one.headers["ce_subject"] for one in mine) == sorted(deliveries)
        assert len({one.partition for one in mine}) == 1


async def test_a_countys_topic_forgets_after_two_weeks(start: Start) -> None:
    counties = await start()
    await counties.send(new_id(), HEREFORD)
    admin = AIOKafkaAdminClient(bootstrap_servers=counties.broker.bootstrap)
    await admin.start()
    try:
        resource = ConfigResource(ConfigResourceType.TOPIC, f"{counties.prefix}{HEREFORD_TOPIC}")
        [answer] = await admin.describe_configs([resource])
    finally:
        await admin.close()
    config = {entry[0]: entry[1] for entry in answer.resources[0][4]}
    names = ("retention.ms", "retention.bytes", "cleanup.policy", "max.message.bytes")
    assert [config[name] for name in names] == ["1209600000", "-1", "delete", "8388608"]


async def test_a_county_answers_by_calling_though_its_shape_is_asked_over_http(start: Start) -> None:
    counties = await start()
    referral_id = new_id()
    await counties.send(referral_id, HEREFORD)
    delivery_id = delivery_to(referral_id, HEREFORD)
    seconds, claimed = await until(lambda: counties.due(delivery_id), lambda due: not due[1])
    assert (20 < seconds < 40, claimed) == (True, False)
    path = f"/v1/acknowledgements/{message_id_of(delivery_id)}"
    body = {"workflowStepId": 7, "status": "Completed", "outcome": "ASSESSMENT"}
    stranger = counties.running.client("partner_client", authority="885", agency="childrens_services")
    own = counties.running.client("partner_client", authority="884", agency="childrens_services")
    async with stranger, own:
        answers = [await client.post(path, json=body) for client in (stranger, own, own)]
    assert [answer.status_code for answer in answers] == [404, 204, 204]
    assert await counties.kinds(delivery_id, "Acknowledged") == [*TAKEN, "Acknowledged"]
    await counties.settled(delivery_id)
    assert len(await counties.read(HEREFORD_TOPIC)) == 1


@pytest.mark.kills
async def test_a_contact_waits_while_the_brokers_are_away_and_is_sent_once_they_are_back(
    start: Start, fragile: KafkaBroker
) -> None:
    counties = await start(fragile, retry_seconds=[0.2])
    referral_id = new_id()
    delivery_id = delivery_to(referral_id, HEREFORD)
    await counties.held_back(referral_id, HEREFORD)
    await asyncio.to_thread(fragile.kill)
    await counties.let_go(HEREFORD)
    await counties.kinds(delivery_id, "AttemptFailed")
    await asyncio.to_thread(fragile.start)
    kinds = await counties.kinds(delivery_id, "TransportAccepted")
    assert kinds.count("Rendered") == 1
    failures = [event for event in await counties.events(delivery_id) if event.type == "AttemptFailed"]
    assert {msgspec.json.decode(event.open)["reason"] for event in failures} == {"refused_connection"}
    [read] = await counties.read(HEREFORD_TOPIC)
    assert read.headers["ce_id"] == str(message_id_of(delivery_id))


@pytest.mark.kills
async def test_a_contact_sent_again_after_a_lost_answer_is_the_same_under_the_same_id(
    start: Start, fragile: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    fragile.start()
    counties = await start(fragile, retry_seconds=[0.2])
    await counties.send(new_id(), HEREFORD)
    referral_id = new_id()
    delivery_id = delivery_to(referral_id, HEREFORD)
    await counties.held_back(referral_id, HEREFORD)
    monkeypatch.setattr(topic_partners, "SEND_SECONDS", 1.0)
    with frozen(fragile):
        await counties.let_go(HEREFORD)
        await until(lambda: counties.events(delivery_id), lambda events: len(events) > 4)
    monkeypatch.setattr(topic_partners, "SEND_SECONDS", 25.0)
    kinds = await counties.kinds(delivery_id, "TransportAccepted")
    assert kinds.count("Rendered") == 1
    failed = next(event for event in await counties.events(delivery_id) if event.type == "AttemptFailed")
    assert msgspec.json.decode(failed.open)["reason"] == "answer_lost"
    repeats = [one for one in await counties.read(HEREFORD_TOPIC) if one.key == str(referral_id)]
    assert len(repeats) > 1
    assert {(one.headers["ce_id"], one.value) for one in repeats} == {
        (str(message_id_of(delivery_id)), repeats[0].value)
    }


@pytest.mark.kills
async def test_withdrawn_after_a_lost_answer_is_a_persons_to_tell(
    start: Start, fragile: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    fragile.start()
    counties = await start(fragile, retry_seconds=[600.0])
    await counties.send(new_id(), HEREFORD)
    referral_id = new_id()
    delivery_id = delivery_to(referral_id, HEREFORD)
    await counties.held_back(referral_id, HEREFORD)
    monkeypatch.setattr(topic_partners, "SEND_SECONDS", 1.0)
    with frozen(fragile):
        await counties.let_go(HEREFORD)
        await until(lambda: counties.due(delivery_id), lambda due: due[0] is not None and due[0] > 60)
    withdrawn = ReferralWithdrawn(
        referral_id=referral_id, withdrawn_at=SystemClock().now(), reason_code="duplicate"
    )
    await counties.say("intake", "referral", withdrawn)
    assert await counties.kinds(delivery_id, "HumanFallbackRaised") == [
        "DeliveryPlanned", "Rendered", "Attempted", "Cancelled", "AttemptFailed", "HumanFallbackRaised",
    ]  # fmt: skip
    await counties.settled(delivery_id)
    fallback = (await counties.events(delivery_id))[-1]
    assert msgspec.json.decode(fallback.open)["reason"] == "withdrawn_after_send"


async def test_partners_on_topics_without_kafka_keep_the_gateway_from_starting(
    database: str, tmp_path: Path
) -> None:
    with pytest.raises(PartnersMisconfigured) as refused:
        async with run_hub([GATEWAY], database, tmp_path, partners=on_topics("884-childrens_services")):
            pass
    assert refused.value.detail == (
        "HUB_PARTNERS names partners reached by topic, and only Kafka has topics. Set HUB_BUS_URL to "
        "kafka://host:port,host:port, or give each of these partners a url and a token."
    )
