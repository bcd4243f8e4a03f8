"""Posting by bus, on a real broker: taken in as over HTTP, answered, and never held up by what is refused."""

import asyncio
import ctypes
import json
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import ConsumerRecord
from confluent_kafka import Producer

from hub_embedded.kafka_broker import KafkaBroker
from hub_intake.api.by_bus.hearing import SOURCE
from hub_intake.api.by_bus.keeping import Keeping
from hub_intake.api.by_bus.topics import inbound_spec
from hub_intake.api.identity import Identity
from hub_intake.api.receiving import Sender
from hub_intake.service import SERVICE
from hub_kernel.auth import LOCAL_ISSUER, LocalIssuer, Principal, TokenRefused, TokenVerifier
from hub_kernel.clock import epoch_seconds, new_id
from hub_kernel.inbox import Inbox
from hub_kernel.kafka import KafkaConnection, ensure_topics
from hub_kernel.testing import RunningHub, dsn_for, run_hub
from hub_schemas.inbound import AMENDED, INFORMED, REPLY_TYPE, SUBMITTED, WITHDRAWN
from hub_schemas.referral import Referral
from hub_schemas.topics import INBOUND_TOPIC, REPLIES_TOPIC

Json = dict[str, Any]
Headers = Sequence[tuple[str, bytes | None]]
FULL = Path(__file__).parents[1] / "unit" / "intake" / "full_referral.json"
RMS = "west-mercia-rms"
PERSONAL = ("Sampleton", "Ivy", "Example Row", "9990012350", "22/81234/26", "shouting", "900123", "Doe")
PROBLEM = "urn:referral-hub:problem:"
JSON = "application/json"
SECONDS = 40


def full(version: int = 1, **change: Any) -> bytes:
    document: Json = json.loads(FULL.read_bytes())
    document["source"]["version"] = version
    return json.dumps(document | change).encode()


@dataclass
class Desk:
    """A records system's desk: it posts on the inbound topic, and hears the replies."""

    bootstrap: str
    prefix: str
    issuer: LocalIssuer
    start_hub: Callable[..., Any]
    heard: list[ConsumerRecord] = field(default_factory=list)
    consumer: AIOKafkaConsumer = None

    async def open(self) -> RunningHub:
        """A running intake."""
        hub: RunningHub = await self.start_hub([SERVICE], **self.settings)
        return hub

    @property
    def settings(self) -> Json:
        """What intake is told."""
        return {
            "bus_url": f"kafka://{self.bootstrap}",
            "kafka_prefix": self.prefix,
            "kafka_session_seconds": 6,
            "bus_partitions": 1,
        }

    def token(self, **change: Any) -> str:
        """A records system's token, or one that is changed."""
        return self.issuer.token(
            **{"role": "records_system", "subject": "rms-gateway", "system": RMS} | change
        )

    def headers(self, message_id: str, kind: str = SUBMITTED, subject: str | None = None) -> Headers:
        """What a right message says in its headers."""
        attributes = {
            "authorization": f"Bearer {self.token()}",
            "ce_specversion": "1.0",
            "ce_id": message_id,
            "ce_source": "/rms",
            "ce_type": kind,
            "content-type": "application/json",
        } | ({} if subject is None else {"ce_subject": subject})
        return [(name, value.encode()) for name, value in attributes.items()]

    async def make_topic(self, **change: str) -> None:
        """The inbound topic as intake makes it, for what is posted before intake runs."""
        spec = inbound_spec(1, 1)
        spec = replace(spec, config={**spec.config, **change})
        await ensure_topics(KafkaConnection(self.bootstrap, prefix=self.prefix), [spec])

    async def post(self, *records: tuple[Headers, bytes | None], **options: Any) -> None:
        """Send records and wait until the broker has acknowledged each."""
        await asyncio.to_thread(self._post, records, options)

    def _post(self, records: Sequence[tuple[Headers, bytes | None]], options: Json) -> None:
        timestamps = options.pop("timestamps", None)
        producer = Producer({"bootstrap.servers": self.bootstrap, "message.max.bytes": 9_000_000} | options)
        failed: list[str] = []
        for headers, value in records:
            producer.produce(
                self.prefix + INBOUND_TOPIC,
                value,
                headers=list(headers),
                on_delivery=lambda error, _: failed.append(str(error)) if error else None,
                **({} if timestamps is None else {"timestamp": timestamps}),
            )
        assert producer.flush(SECONDS) == 0
        assert failed == []

    async def replies(self, count: int) -> list[Json]:
        """The first ``count`` replies, waited for."""
        async with asyncio.timeout(SECONDS):
            if self.consumer is None:
                self.consumer = AIOKafkaConsumer(
                    self.prefix + REPLIES_TOPIC,
                    bootstrap_servers=self.bootstrap,
                    auto_offset_reset="earliest",
                    metadata_max_age_ms=300,
                )
                await self.consumer.start()
            while len(self.heard) < count:
                for records in (await self.consumer.getmany(timeout_ms=200)).values():
                    self.heard += records
        return [json.loads(record.value) for record in self.heard[:count]]


@pytest.fixture
async def desk(kafka: KafkaBroker, start_hub: Any, tmp_path: Path) -> AsyncIterator[Desk]:
    issuer = LocalIssuer(tmp_path / "issuer.key", "referral-hub")
    opened = Desk(kafka.bootstrap, f"{new_id().hex}.", issuer, start_hub)
    yield opened
    if opened.consumer is not None:
        await opened.consumer.stop()


async def stored(hub: RunningHub, log: str = "intake") -> list[Json]:
    rows = await hub.hub.contexts["intake"].pool.fetch(f"SELECT * FROM {log}.events ORDER BY position")
    return [dict(row) for row in rows]


async def parked(hub: RunningHub, rows: int | None = None) -> list[Json]:
    """What is parked, in the order of the topic; waited for where the number of rows is known.

    A reply goes out before what it speaks of is put behind: it must never be missing.
    """
    async with asyncio.timeout(SECONDS):
        while True:
            found = await hub.hub.contexts["intake"].pool.fetch(
                "SELECT * FROM intake.parked ORDER BY position"
            )
            if rows is None or len(found) == rows:
                return [dict(row) for row in found]
            await asyncio.sleep(0.02)


async def count(hub: RunningHub, outcome: str) -> float:
    """How many messages the metrics of this process count under an outcome."""
    text = (await hub.client("operator").get("/metrics")).text
    wanted = f'hub_events_consumed_total{{consumer="intake",outcome="{outcome}",source="{SOURCE}"}} '
    return next(
        (float(line.removeprefix(wanted)) for line in text.splitlines() if line.startswith(wanted)), 0
    )


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SECONDS):
        while not await true():  # noqa: ASYNC110  it is another task's work
            await asyncio.sleep(0.05)


async def test_a_referral_posted_by_bus_is_recorded_and_answered(desk: Desk) -> None:
    hub = await desk.open()
    await desk.post((desk.headers("m-1"), full()))
    [reply] = await desk.replies(1)
    [event] = await stored(hub)
    referral_id = str(event["correlation_id"])
    assert reply == {
        "message_id": "m-1",
        "outcome": "recorded",
        "referral_id": referral_id,
        "completeness_percent": 100,
    }
    assert (event["type"], event["actor"]) == ("ReferralReceived", "rms-gateway")
    [record] = desk.heard
    headers = {name: value.decode() for name, value in record.headers}
    assert record.key == b"m-1"
    assert UUID(headers.pop("ce_id")).version == 5
    assert datetime.fromisoformat(headers.pop("ce_time")).utcoffset() == timedelta(0)
    assert headers == {
        "ce_specversion": "1.0",
        "ce_source": "/intake",
        "ce_type": REPLY_TYPE,
        "ce_subject": "m-1",
        "content-type": "application/json",
    }

    async def counted() -> bool:
        return await count(hub, "recorded") > 0

    await until(counted)


async def test_a_structured_event_says_everything_in_its_body(desk: Desk) -> None:
    hub = await desk.open()
    envelope = {"specversion": "1.0", "id": "s-1", "source": "/rms", "type": SUBMITTED, "subject": 5}
    headers = [
        ("Authorization", f"Bearer {desk.token()}".encode()),
        ("content-type", b"application/cloudevents+json; charset=utf-8"),
    ]
    await desk.post((headers, json.dumps(envelope | {"data": json.loads(full())}).encode()))
    [reply] = await desk.replies(1)
    assert (reply["message_id"], reply["outcome"]) == ("s-1", "recorded")
    assert len(await stored(hub)) == 1


async def test_every_kind_of_message_is_taken_in_its_order(desk: Desk) -> None:
    hub = await desk.open()
    await desk.post((desk.headers("m-1"), full()))
    [first] = await desk.replies(1)
    about = first["referral_id"]
    information = {"information_id": str(UUID(int=1)), "text": "Ivy Sampleton rang"}
    await desk.post(
        (desk.headers("m-2", AMENDED, about), full(2)),
        (desk.headers("m-3", INFORMED, about), json.dumps(information).encode()),
        (desk.headers("m-4", WITHDRAWN, about), b'{"reason_code": "duplicate"}'),
    )
    answered = await desk.replies(4)
    assert [reply["message_id"] for reply in answered] == ["m-1", "m-2", "m-3", "m-4"]
    assert {reply["outcome"] for reply in answered} == {"recorded"}
    assert [event["type"] for event in await stored(hub)] == [
        "ReferralReceived",
        "ReferralAmended",
        "InformationAdded",
        "ReferralWithdrawn",
    ]


async def test_a_referral_posted_over_http_and_again_by_bus_is_one(desk: Desk) -> None:
    hub = await desk.open()
    rms = hub.client("records_system", system=RMS)
    posted = (await rms.post("/v1/referrals", content=full(), headers={"content-type": JSON})).json()
    await desk.post((desk.headers("m-1"), full()), (desk.headers("m-2"), full()))
    same = posted | {"outcome": "repeated"}
    assert await desk.replies(2) == [same | {"message_id": "m-1"}, same | {"message_id": "m-2"}]
    assert len(await stored(hub)) == 1


def hostile(desk: Desk) -> list[tuple[Headers, bytes | None, str, str]]:
    """Messages, each with the reason it is parked for and the fields its reply names."""
    good = dict(desk.headers("h"))

    def but(**change: bytes | None) -> Headers:
        changed = {
            name.replace("_", "-") if name == "content_type" else name: v for name, v in change.items()
        }
        return list((good | changed).items())

    def signed(**claims: Any) -> Headers:
        return but(authorization=f"Bearer {desk.token(**claims)}".encode())

    deep = b'{"a":' * 100_000
    nobodys = str(UUID(int=7)).encode()
    broken = good | {"authorization": b"Bearer \xff\xfe"}
    return [
        ([], full(), "unauthenticated", ""),
        ([(name, None) for name in good], full(), "unauthenticated", ""),
        (list(broken.items()), full(), "unauthenticated", ""),
        (but(authorization=b"Bearer abc.def.ghi"), full(), "token-refused", ""),
        (signed(lifetime_seconds=-60), full(), "token-refused", ""),
        (signed(audience="another"), full(), "token-refused", ""),
        (signed(role="assessor"), full(), "forbidden", ""),
        (signed(system=None), full(), "token-without-system", ""),
        (signed(system="another-rms"), full(), "system-mismatch", "source.system"),
        ([*good.items(), ("CE_ID", b"again")], full(), "cloudevent-malformed", "ce_id"),
        (but(ce_id=b"Jane Doe"), full(), "cloudevent-malformed", "ce_id"),
        (but(ce_id=b"x" * 101), full(), "cloudevent-malformed", "ce_id"),
        (but(ce_id=None), full(), "cloudevent-malformed", "ce_id"),
        (but(ce_specversion=b"0.3"), full(), "cloudevent-malformed", "ce_specversion"),
        (but(ce_type=b"Jane Doe"), full(), "cloudevent-malformed", "ce_type"),
        (but(ce_type=AMENDED.encode()), full(2), "cloudevent-malformed", "ce_subject"),
        (but(content_type=b"text/plain"), full(), "content-type-unsupported", "content-type"),
        (but(), None, "document-malformed", "(document)"),
        (but(), b"", "document-malformed", "(document)"),
        (but(), b"Jane Doe", "document-malformed", "(document)"),
        (but(), full().decode().encode("utf-16"), "document-malformed", "(document)"),
        (but(), deep, "document-malformed", "(document)"),
        (but(), full(force="Jane Doe"), "document-malformed", "force"),
        (but(content_type=b"application/cloudevents+json"), deep, "cloudevent-malformed", "(envelope)"),
        (but(), b"x" * 8_300_000, "message-too-large", ""),
        (but(ce_type=AMENDED.encode(), ce_subject=nobodys), full(2), "referral-unknown", ""),
    ]  # fmt: skip


async def test_what_is_refused_is_parked_and_answered_and_holds_nothing_up(desk: Desk) -> None:
    hub = await desk.open()
    cases = hostile(desk)
    for headers, value, *_ in cases:
        await desk.post((headers, value))
    await desk.post((desk.headers("good"), full()))
    answered = await desk.replies(len(cases) + 1)
    assert (answered[-1]["message_id"], answered[-1]["outcome"]) == ("good", "recorded")
    refused = answered[:-1]
    wanted = [reason for _headers, _value, reason, _fields in cases]
    assert [reply["problem"]["type"].removeprefix(PROBLEM) for reply in refused] == wanted
    assert [",".join(reply["problem"].get("errors", {})) for reply in refused] == [
        fields for _headers, _value, _reason, fields in cases
    ]
    assert {reply["outcome"] for reply in refused} == {"parked"}
    kept = await parked(hub, len(cases))
    assert [row["reason"] for row in kept] == wanted
    assert [row["position"] for row in kept] == list(range(1, len(cases) + 1))
    # What a message may not be called by, its place on the topic names.
    assert [reply["message_id"] for reply in refused if reply["message_id"] != "h"] == [
        "0-0", "0-1", "0-9", "0-10", "0-11", "0-12", "0-23"
    ]  # fmt: skip
    assert len(await stored(hub)) == 1


@pytest.mark.parametrize("codec", ["none", "gzip"])
async def test_a_header_named_in_no_text_holds_up_neither_its_batch_nor_the_rest(
    desk: Desk, codec: str
) -> None:
    # As a topic may be that somebody else made: with what senders packed left as it was.
    await desk.make_topic(**{"compression.type": "producer"})
    records = [
        (desk.headers("m-1"), full()),
        ([*desk.headers("m-2"), (b"\xff\xfe", b"1")], full()),
        (desk.headers("m-3"), full()),
    ]
    await asyncio.to_thread(post_raw, desk, codec, records)
    await desk.post((desk.headers("m-4"), full()))
    hub = await desk.open()
    answered = await desk.replies(4)
    assert [(reply["message_id"], reply["outcome"]) for reply in answered] == [
        ("m-1", "recorded"),
        ("m-2", "repeated"),
        ("m-3", "repeated"),
        ("m-4", "repeated"),
    ]
    assert await parked(hub) == []


def post_raw(desk: Desk, codec: str, records: Sequence[tuple[Any, bytes]]) -> None:
    """Send one batch through librdkafka itself, which takes the names of headers as bytes."""
    files = metadata.files("confluent-kafka") or []
    library = next(file for file in files if file.name.startswith("librdkafka") and ".so" in file.name)
    rdkafka = ctypes.CDLL(str(library.locate()))
    rdkafka.rd_kafka_conf_new.restype = rdkafka.rd_kafka_new.restype = ctypes.c_void_p
    why = ctypes.create_string_buffer(256)
    conf = ctypes.c_void_p(rdkafka.rd_kafka_conf_new())
    settings = {"bootstrap.servers": desk.bootstrap, "linger.ms": "300", "compression.type": codec}
    for name, value in settings.items():
        assert rdkafka.rd_kafka_conf_set(conf, name.encode(), value.encode(), why, 256) == 0
    producer = ctypes.c_void_p(rdkafka.rd_kafka_new(0, conf, why, 256))
    topic = (desk.prefix + INBOUND_TOPIC).encode()
    for headers, body in records:
        # Topic 1, value 4, message flags 7 (2: copy), header 9, end 0: rd_kafka_vtype_t.
        parts = [1, ctypes.c_char_p(topic), 4, ctypes.c_char_p(body), ctypes.c_size_t(len(body)), 7, 2]
        for name, content in headers:
            raw = name if isinstance(name, bytes) else name.encode()
            parts += [9, ctypes.c_char_p(raw), ctypes.c_char_p(content), ctypes.c_ssize_t(len(content))]
        assert rdkafka.rd_kafka_producev(producer, *parts, 0) == 0
    assert rdkafka.rd_kafka_flush(producer, 10_000) == 0
    rdkafka.rd_kafka_destroy(producer)


async def test_senders_may_pack_their_records_as_they_like(desk: Desk) -> None:
    await desk.open()
    codecs = ("none", "gzip", "snappy", "lz4", "zstd")
    for codec in codecs:
        await desk.post(
            (desk.headers(codec), full()), (desk.headers(f"{codec}-2"), full()), **{"compression.type": codec}
        )
    answered = await desk.replies(10)
    assert [reply["message_id"] for reply in answered] == [
        name for codec in codecs for name in (codec, f"{codec}-2")
    ]
    assert [reply["outcome"] for reply in answered] == ["recorded"] + ["repeated"] * 9


async def test_a_token_must_be_valid_when_the_broker_took_the_message_in(desk: Desk) -> None:
    await desk.make_topic()
    # With the half minute that clocks may differ by, the first is valid for a few seconds more.
    lasting = desk.token(lifetime_seconds=-27)
    old = desk.token(lifetime_seconds=-60)
    now_ms = int(epoch_seconds() * 1_000)
    await desk.post((signed(desk, "in-time", lasting), full()))
    await desk.post((signed(desk, "too-late", old), full()))
    await desk.post((signed(desk, "pretending", old), full()), timestamps=now_ms - 120_000)
    verifier = TokenVerifier(desk.issuer.keys, LOCAL_ISSUER, "referral-hub")

    async def expired() -> bool:
        try:
            verifier.verify(lasting)
        except TokenRefused:
            return True
        return False

    await until(expired)
    await desk.open()
    assert [(reply["message_id"], reply["outcome"]) for reply in await desk.replies(3)] == [
        ("in-time", "recorded"),
        ("too-late", "parked"),
        ("pretending", "parked"),
    ]


def signed(desk: Desk, message_id: str, token: str) -> Headers:
    return list((dict(desk.headers(message_id)) | {"authorization": f"Bearer {token}".encode()}).items())


def test_a_token_known_from_before_is_still_judged_by_the_instant_asked_for(tmp_path: Path) -> None:
    issuer = LocalIssuer(tmp_path / "issuer.key", "hub")
    verifier = TokenVerifier(issuer.keys, LOCAL_ISSUER, "hub")
    token = issuer.token("operator", subject="someone", lifetime_seconds=600)
    someone = Principal("someone", "operator")
    now = datetime.fromtimestamp(epoch_seconds(), UTC)
    assert verifier.verify(token) == someone
    assert verifier.verify(token, at=now + timedelta(seconds=500)) == someone
    for never in (now - timedelta(seconds=60), now + timedelta(seconds=700)):
        with pytest.raises(TokenRefused):
            verifier.verify(token, at=never)
    assert verifier.verify(token) == someone


async def test_a_hub_that_stops_in_the_middle_goes_on_where_it_was_and_in_order(
    desk: Desk, database: str, tmp_path: Path
) -> None:
    await desk.make_topic()
    await desk.post((desk.headers("m-1"), full()))
    async with run_hub([SERVICE], database, tmp_path, **desk.settings):
        [first] = await desk.replies(1)
        later = [(desk.headers(f"m-{n}", AMENDED, first["referral_id"]), full(n)) for n in range(2, 121)]
        await desk.post(*later)
        await desk.replies(20)
    hub = await desk.open()

    async def all_recorded() -> bool:
        return len(await stored(hub)) == 120

    await until(all_recorded)
    versions = [json.loads(event["open"])["summary"]["source_version"] for event in await stored(hub)]
    assert versions == list(range(1, 121))
    assert await parked(hub) == []
    await desk.post((desk.headers("last"), full()))

    async def last_is_answered() -> bool:
        answers = await desk.replies(len(desk.heard) + 1)
        return bool(answers[-1]["message_id"] == "last")

    await until(last_is_answered)
    # What was answered twice was answered under the same reply id.
    ids: dict[bytes, set[bytes]] = {record.key: set() for record in desk.heard}
    for record in desk.heard:
        ids[record.key].add(dict(record.headers)["ce_id"])
    assert len(ids) == 121
    assert {len(found) for found in ids.values()} == {1}


async def test_while_the_database_is_away_messages_wait_and_none_is_parked(desk: Desk, database: str) -> None:
    hub = await desk.open()
    await desk.post((desk.headers("m-1"), full()))
    await desk.replies(1)
    elsewhere = await asyncpg.connect(dsn_for(database, "postgres"))
    name = database.rsplit("/", 1)[1].partition("?")[0]
    await elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await elsewhere.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
    before = await count(hub, "waited")
    await desk.post((desk.headers("m-2"), full(force="Jane Doe")), (desk.headers("m-3"), full()))

    async def waits_on() -> bool:
        return await count(hub, "waited") > before + 2

    await until(waits_on)
    await elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await elsewhere.close()
    answered = await desk.replies(3)
    assert [reply["outcome"] for reply in answered] == ["recorded", "parked", "repeated"]
    assert [row["reason"] for row in await parked(hub, 1)] == ["document-malformed"]


async def test_nothing_of_a_parked_message_stands_in_clear(desk: Desk) -> None:
    hub = await desk.open()
    token = desk.token()
    headers = dict(signed(desk, "Jane Doe", token)) | {"ce_subject": b"Ivy Sampleton", "x-note": b"900123"}
    await desk.post((list(headers.items()), full()), (list(headers.items()), full() + b"}"))
    answered = await desk.replies(2)
    kept = await parked(hub, 2)
    assert [row["reason"] for row in kept] == ["cloudevent-malformed"] * 2
    sealed = [b64decode(json.loads(row["value"])["sealed"]) for row in kept]
    said = [(record.key, record.headers) for record in desk.heard]
    everything = repr([kept, sealed, answered, said])
    assert [word for word in (*PERSONAL, token) if word in everything] == []


async def test_a_token_is_not_kept_even_sealed(desk: Desk) -> None:
    hub = await desk.open()
    context = hub.hub.contexts["intake"]
    await desk.post((desk.headers("m-1"), b"{"))
    await parked(hub, 1)
    async with context.pool.acquire() as connection:
        inbox = Inbox("intake", "intake", SOURCE)
        event = await inbox.first_parked(connection, (await parked(hub))[0]["stream_id"])
    assert event is not None
    message, sender = await Keeping(context.keyring).opened(event)
    wanted = [header for header in desk.headers("m-1") if header[0] != "authorization"]
    assert (list(message.headers), message.value) == (wanted, b"{")
    assert sender == Sender(RMS, "rms-gateway")


async def test_an_operator_lists_looks_at_and_retries_what_is_parked(desk: Desk) -> None:
    hub = await desk.open()
    operator = hub.client("operator", subject="op-1")
    rms = hub.client("records_system", system=RMS)
    await desk.post((desk.headers("m-1"), full()))
    about = (await desk.replies(1))[0]["referral_id"]
    await desk.post(
        (desk.headers("m-2", AMENDED, about), full(2, source=source("22/1/26", 2))),
        (desk.headers("m-3", INFORMED, str(other_id(hub))), information(3)),
        (signed(desk, "m-4", "no-token"), full()),
    )
    await desk.replies(4)
    await parked(hub, 3)
    listed = (await operator.get("/v1/parked/intake", params={"source": SOURCE})).json()["streams"]
    listed.sort(key=lambda row: row["reason"])
    assert [row["reason"] for row in listed] == ["document-malformed", "referral-unknown", "token-refused"]
    waiting = listed[1]["stream_id"]
    shown = (await operator.get(f"/v1/parked/intake/{SOURCE}/{waiting}")).json()
    [link] = shown["links"]
    taken_in_at = link["event"]["open"].pop("taken_in_at")
    assert datetime.fromisoformat(taken_in_at).tzinfo is not None
    assert link["event"]["open"] == {
        "system": RMS,
        "subject": "rms-gateway",
        "kind": INFORMED,
        "size_bytes": len(information(3)),
    }
    assert link["event"]["has_sealed"] is True
    # The referral it is about comes after all, over HTTP; then it can be taken in.
    answer = await post(rms, full(1, source=source("22/2/26", 1)))
    assert answer["outcome"] == "recorded"
    for row in listed:
        path = f"/v1/parked/intake/{SOURCE}/{row['stream_id']}/retry"
        assert (await operator.post(path)).status_code == 202
    answered = await desk.replies(5)
    assert answered[4] == {"message_id": "m-3", "outcome": "recorded", "referral_id": answer["referral_id"]}
    assert dict(desk.heard[4].headers)["ce_id"] != dict(desk.heard[2].headers)["ce_id"]

    async def tried() -> bool:
        return [row["attempts"] for row in await parked(hub)] == [2, 2]

    await until(tried)
    assert [row["reason"] for row in await parked(hub)] == ["document-malformed", "token-refused"]
    assert [event["type"] for event in await stored(hub, "intake_access")] == [
        "ParkedEventsViewed",
        "ParkedEventsViewed",
        "ParkedRetryRequested",
        "ParkedRetryRequested",
        "ParkedRetryRequested",
    ]


def source(record_id: str, version: int) -> Json:
    return {"system": RMS, "record_id": record_id, "version": version}


def information(number: int) -> bytes:
    return json.dumps({"information_id": str(UUID(int=number)), "text": "Ivy Sampleton rang"}).encode()


def other_id(hub: RunningHub) -> UUID:
    document = Referral.model_validate_json(full(1, source=source("22/2/26", 1)))
    return Identity(hub.hub.contexts["intake"].master_key).referral_id(document.source)


async def post(rms: httpx.AsyncClient, content: bytes) -> Json:
    answer: Json = (await rms.post("/v1/referrals", content=content, headers={"content-type": JSON})).json()
    return answer


@pytest.fixture
async def own_broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KafkaBroker]:
    """A broker of this test's own, that may be killed."""
    with KafkaBroker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


async def test_a_broker_away_at_the_start_is_waited_for(own_broker: KafkaBroker, desk: Desk) -> None:
    desk.bootstrap = own_broker.bootstrap
    await desk.make_topic()
    await desk.post((desk.headers("m-1"), full()))
    await asyncio.to_thread(own_broker.kill)
    hub = await desk.open()
    before = await count(hub, "waited")

    async def waits_on() -> bool:
        return await count(hub, "waited") > before

    await until(waits_on)
    await asyncio.to_thread(own_broker.start)
    [reply] = await desk.replies(1)
    assert reply["outcome"] == "recorded"
    assert len(await stored(hub)) == 1
