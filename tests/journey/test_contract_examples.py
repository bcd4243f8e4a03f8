"""The examples of docs/contracts.md, run as a stranger would: over TLS, with passwords and an access list."""

import asyncio
import json
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its own names, brought in from within
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from tests import node_packages

from hub_embedded.kafka_broker import KafkaBroker
from hub_kernel.auth import LocalIssuer, Role
from hub_kernel.clock import monotonic_seconds, new_id
from hub_kernel.testing import fresh_database

pytestmark = pytest.mark.timeout(600)  # the first run fetches Kafka and the npm packages

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PAGE = (ROOT / "docs" / "contracts.md").read_text()
HUB = str(Path(sys.executable).with_name("hub"))
AGREED = "agreed-with-the-hub"
PATH = "/usr/bin:/bin"
SECONDS = 60.0
RMS = "west-mercia-rms"
USERS = {user: f"{user}-password" for user in ("admin", RMS, "herefordshire", "worcestershire", "inspector")}
AGENCY = "childrens_services"
HEREFORD, WORCESTER, SHROPSHIRE, TELFORD = "884", "885", "893", "894"
PERSONAL = ("Ivy", "Sampleton", "Example Row", "WR1 2AB", "2016-05-15", "22/10001/26", "shouting")

Json = dict[str, Any]


# --- the page ----------------------------------------------------------------------------------------------


def shown() -> dict[str, str]:
    """Each block of code that follows a link to an example, by the example's name."""
    return dict(re.findall(r"\]\(\.\./examples/([\w.]+)\):?\n\n```\w+\n(.*?)```", PAGE, re.DOTALL))


def test_the_page_shows_each_example_as_its_file_is() -> None:
    assert {
        "post_referral.sh", "post_by_bus.py", "read_replies.py", "hub_kafka.py", "consume_county.py",
        "consume_county.mjs", "acknowledge.sh", "receive_contacts.py", "read_facts.py",
    } <= set(shown())  # fmt: skip
    assert [name for name, block in shown().items() if block not in (EXAMPLES / name).read_text()] == []


def test_the_page_leads_to_every_example() -> None:
    tracked = {path.name for path in EXAMPLES.iterdir() if path.is_file()}
    assert tracked == set(re.findall(r"\]\(\.\./examples/([\w.]+)\)", PAGE))


# --- where they run ----------------------------------------------------------------------------------------


def as_admin(broker: KafkaBroker, **options: Any) -> Json:
    """How the administrator of the brokers comes in."""
    return {
        "bootstrap.servers": broker.bootstrap,
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(broker.ca_file),
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "admin",
        "sasl.password": USERS["admin"],
        **options,
    }


@dataclass(frozen=True)
class World:
    """A hub behind a real port, on a broker with TLS, passwords and the access list of ``hub acls``."""

    broker: KafkaBroker
    issuer: LocalIssuer
    base_url: str
    receiver_port: int
    dsn: str

    def token(self, role: Role, **claims: Any) -> str:
        """A bearer token."""
        return self.issuer.token(role, subject=f"a-{role}", **claims)

    def partner(self, authority: str) -> str:
        """The token of one authority's children's services."""
        return self.token("partner_client", authority=authority, agency=AGENCY)

    async def received(self) -> int:
        """How many referrals the hub has received."""
        connection = await asyncpg.connect(self.dsn)
        try:
            kind = "SELECT count(*) FROM intake.events WHERE type = 'ReferralReceived'"
            return int(await connection.fetchval(kind))
        finally:
            await connection.close()

    async def delivery(self, referral_id: str, authority: str, status: str) -> Json:
        """The delivery of a referral to one authority, once it stands so."""
        headers = {"Authorization": f"Bearer {self.partner(authority)}"}
        deadline = monotonic_seconds() + SECONDS
        async with httpx.AsyncClient(base_url=self.base_url, headers=headers, trust_env=False) as partner:
            while True:
                answer = await partner.get("/v1/deliveries", params={"referral_id": referral_id})
                found: list[Json] = answer.json()["deliveries"]
                if [one["status"] for one in found] == [status]:
                    return found[0]
                assert monotonic_seconds() < deadline, [(one["status"], one["last_failure"]) for one in found]
                await asyncio.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def partners(receiver_port: int) -> str:
    """Two counties that read Kafka, one that is posted to."""
    return json.dumps(
        {
            f"{HEREFORD}-{AGENCY}": {"topic": True, "principal": "User:herefordshire"},
            f"{WORCESTER}-{AGENCY}": {"topic": True, "principal": "User:worcestershire"},
            f"{SHROPSHIRE}-{AGENCY}": {
                "url": f"http://127.0.0.1:{receiver_port}",
                "token": AGREED,
                "retry_seconds": [0.2],
                "poll_seconds": [0.2],
            },
        }
    )


async def hub(environment: Mapping[str, str], *arguments: str) -> str:
    """What a command of ``hub`` prints."""
    process = await asyncio.create_subprocess_exec(
        HUB, *arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, error = await process.communicate()
    assert process.returncode == 0, error.decode()
    return out.decode()


def allow(client: Json, rules: list[Json]) -> None:
    """Set the rules that ``hub acls --format json`` prints."""
    bindings = [
        AclBinding(
            ResourceType[rule["resource"].upper()],
            rule["name"],
            ResourcePatternType[rule["pattern"].upper()],
            rule["principal"],
            "*",
            AclOperation["DESCRIBE_CONFIGS" if word == "DescribeConfigs" else word.upper()],
            AclPermissionType.ALLOW,
        )
        for rule in rules
        for word in rule["operations"]
    ]
    admin = AdminClient(client)
    for made in admin.create_acls(bindings).values():
        made.result(SECONDS)


def inspectors_rules() -> list[Json]:
    """What the page tells an operator to allow a reader of facts."""
    [lines] = re.findall(r"```text\n(--add --allow-principal User:inspector.*?)```", PAGE, re.DOTALL)
    rules = []
    for principal, operation, resource, name, pattern in re.findall(
        r"--allow-principal (\S+) --operation (\w+) --(\w+) (\S+)(?: --resource-pattern-type (\w+))?", lines
    ):
        rules.append(
            {
                "principal": principal, "operations": [operation], "resource": resource, "name": name,
                "pattern": pattern or "literal",
            }
        )  # fmt: skip
    return rules


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A broker that asks who comes, over TLS."""
    with KafkaBroker(tmp_path_factory.mktemp("kafka"), sasl=USERS, tls=True) as broker:
        yield broker


@pytest.fixture(scope="module")
async def world(
    broker: KafkaBroker, postgres_dsn: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    data_dir, receiver_port = tmp_path_factory.mktemp("hub"), free_port()
    issuer = LocalIssuer(data_dir / "issuer.key", "referral-hub")
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(fresh_database(postgres_dsn, template))
        environment = {
            "PATH": PATH,
            "HUB_DATABASE_URL": dsn,
            "HUB_DATA_DIR": str(data_dir),
            "HUB_PORT": "0",
            "HUB_BUS_URL": f"kafka://{broker.bootstrap}",
            "HUB_KAFKA_SECURITY": "sasl_ssl",
            "HUB_KAFKA_CA_FILE": str(broker.ca_file),
            "HUB_KAFKA_USERNAME": "admin",
            "HUB_KAFKA_PASSWORD": USERS["admin"],
            "HUB_PARTNERS": partners(receiver_port),
        }
        printed = await hub(environment, "acls", "--records-system", RMS, "--format", "json")
        allow(as_admin(broker), [json.loads(line) for line in printed.splitlines()] + inspectors_rules())
        await hub(environment, "topics")
        log = stack.enter_context((data_dir / "log").open("wb"))
        process = await asyncio.create_subprocess_exec(
            HUB, "run", env=environment, stdout=subprocess.PIPE, stderr=log
        )
        stack.push_async_callback(ended, process)
        said = await line_of(process, "answers at")
        yield World(broker, issuer, said.split()[-1], receiver_port, dsn)


async def ended(process: asyncio.subprocess.Process) -> int:
    """End a process as an orchestrator does; its exit code."""
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(SECONDS):
            await process.communicate()
    assert process.returncode is not None
    return process.returncode


async def line_of(process: asyncio.subprocess.Process, text: str, *, of_errors: bool = False) -> str:
    """The next line it prints that holds this text."""
    assert process.stdout is not None
    assert process.stderr is not None or not of_errors
    async with asyncio.timeout(SECONDS):
        async for line in process.stderr if of_errors else process.stdout:
            if text in line.decode():
                return line.decode().strip()
    complaint = await process.stderr.read() if process.stderr is not None else b""
    raise AssertionError(f"it ended without printing {text!r}: {complaint.decode()}")


@dataclass(frozen=True)
class Stranger:
    """Somebody with a copy of the examples, what to install, and what the operator gave them."""

    world: World
    folder: Path

    def environment(self, user: str | None, token: str | None) -> dict[str, str]:
        """What the page says to set."""
        given = {"PATH": PATH, "HUB_URL": self.world.base_url, "HUB_TOKEN": token or ""}
        if user is not None:
            given |= {
                "KAFKA_BROKERS": self.world.broker.bootstrap,
                "KAFKA_CA_FILE": str(self.world.broker.ca_file),
                "KAFKA_USERNAME": user,
                "KAFKA_PASSWORD": USERS[user],
            }
        return given

    async def start(
        self, *command: str, user: str | None = None, token: str | None = None, **more: str
    ) -> asyncio.subprocess.Process:
        """Start an example, by the interpreter its name asks for."""
        program = {".sh": "bash", ".py": sys.executable, ".mjs": node_packages.program("node")}
        return await asyncio.create_subprocess_exec(
            program[Path(command[0]).suffix], *command, cwd=self.folder,
            env=self.environment(user, token) | more, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    async def run(
        self, *command: str, user: str | None = None, token: str | None = None
    ) -> tuple[int, str, str]:
        """Run an example to its end: exit code and what it said, in which nothing may be personal."""
        process = await self.start(*command, user=user, token=token)
        async with asyncio.timeout(SECONDS):
            out, error = await process.communicate()
        said = (process.returncode or 0, out.decode().strip(), error.decode().strip())
        assert [word for word in PERSONAL if word in repr(said)] == []
        return said

    @asynccontextmanager
    async def running(self, *command: str, **options: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """An example that goes on until it is ended, and then ends well."""
        process = await self.start(*command, **options)
        try:
            yield process
            assert await ended(process) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()

    def document(self, authority: str, **change: Any) -> str:
        """A referral of its own, about a child of this authority; the name of its file."""
        document = json.loads((self.folder / "referral.json").read_text())
        record = f"22/{new_id()}/26"
        document |= {"authority": authority, "source": document["source"] | {"record_id": record}} | change
        name = f"{new_id()}.json"
        (self.folder / name).write_text(json.dumps(document))
        return name

    async def post(self, authority: str) -> str:
        """Post a referral with curl; its id."""
        code, out, error = await self.run(
            "post_referral.sh",
            self.document(authority),
            token=self.world.token("records_system", system=RMS),
        )
        assert code == 0, error
        return str(json.loads(out)["referral_id"])

    def rows(self, database: str, query: str) -> list[tuple[Any, ...]]:
        """What an example stored."""
        with closing(sqlite3.connect(self.folder / database)) as stored:
            return stored.execute(query).fetchall()


@pytest.fixture
def stranger(world: World, tmp_path: Path) -> Stranger:
    shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True)
    (tmp_path / "node_modules").symlink_to(node_packages.installed())
    return Stranger(world, tmp_path)


# --- a records system over HTTP ----------------------------------------------------------------------------


@pytest.fixture
def records_token(world: World) -> str:
    return world.token("records_system", system=RMS)


async def test_with_curl_a_referral_is_posted_once_however_often_and_taken_back(
    stranger: Stranger, records_token: str
) -> None:
    document = stranger.document(TELFORD)
    receipts = [
        json.loads((await stranger.run("post_referral.sh", document, token=records_token))[1]) for _ in "ab"
    ]
    referral_id = receipts[0]["referral_id"]
    assert [receipt["outcome"] for receipt in receipts] == ["recorded", "repeated"]
    assert {receipt["referral_id"] for receipt in receipts} == {referral_id}
    change = ("change_referral.sh", referral_id, "withdrawal", "withdrawal.json")
    code, out, error = await stranger.run(*change, token=records_token)
    assert (code, json.loads(out), error) == (0, {"referral_id": referral_id, "outcome": "recorded"}, "")


async def test_from_python_a_referral_is_posted_once_however_often(
    stranger: Stranger, records_token: str
) -> None:
    document = stranger.document(TELFORD)
    said = [await stranger.run("post_referral.py", document, token=records_token) for _ in "ab"]
    assert [code for code, _, _ in said] == [0, 0]
    (first, recorded, *_), (second, repeated, *_) = (out.split() for _, out, _ in said)
    assert (first, recorded, repeated) == (second, "recorded", "repeated")


@pytest.mark.parametrize(("program", "exit_code"), [("post_referral.sh", 22), ("post_referral.py", 1)])
async def test_a_refusal_names_the_field_and_not_what_stood_in_it(
    stranger: Stranger, records_token: str, program: str, exit_code: int
) -> None:
    document = stranger.document(TELFORD, referral_type="Ivy")
    code, out, error = await stranger.run(program, document, token=records_token)
    assert code == exit_code
    assert "urn:referral-hub:problem:document-malformed" in out + error
    assert "referral_type" in out + error


# --- a records system by bus -------------------------------------------------------------------------------


async def test_what_is_posted_by_bus_is_answered_under_the_id_it_was_posted_with(
    stranger: Stranger, records_token: str
) -> None:
    async def post(*arguments: str) -> str:
        code, out, error = await stranger.run("post_by_bus.py", *arguments, user=RMS, token=records_token)
        assert code == 0, error
        return out

    good = await post("key-1", stranger.document(TELFORD))
    bad = await post("key-2", stranger.document(TELFORD, referral_type="Ivy"))
    async with stranger.running("read_replies.py", RMS, user=RMS) as replies:
        # Two keys, perhaps on two partitions: their replies come in any order.
        answers = {line.split()[0]: line for line in [await line_of(replies, "-") for _ in "ab"]}
        _, outcome, referral_id, *_ = answers[good].split()
        withdrawn = await post("key-1", "withdrawal.json", "withdrawn", referral_id)
        assert (await line_of(replies, "-")).split() == [withdrawn, "recorded", referral_id]
    refused = answers[bad]
    assert outcome == "recorded"
    assert refused.split()[:3] == [bad, "parked", "urn:referral-hub:problem:document-malformed"]
    assert "referral_type" in refused
    assert [word for word in PERSONAL if word in refused] == []
    assert dict(stranger.rows("posted.db", "SELECT message_id, outcome FROM posted")) == {
        good: "recorded",
        bad: "parked",
        withdrawn: "recorded",
    }


# --- a partner on its topic --------------------------------------------------------------------------------


def send_again(world: World, authority: str, message_id: str) -> None:
    """Put a record on a partner's topic once more, as the hub does when an answer was lost."""
    topic = f"partner.{authority}.{AGENCY}.v1"
    consumer = Consumer(
        as_admin(world.broker, **{"group.id": f"again-{new_id()}", "auto.offset.reset": "earliest"})
    )
    producer = Producer(as_admin(world.broker))
    try:
        consumer.subscribe([topic])
        deadline = monotonic_seconds() + SECONDS
        while True:
            assert monotonic_seconds() < deadline, "the record is not on the topic"
            record = consumer.poll(1)
            if record is not None and dict(record.headers())["ce_id"].decode() == message_id:
                break
        producer.produce(topic, record.value(), record.key(), headers=record.headers())
        assert producer.flush(SECONDS) == 0
    finally:
        consumer.close()


def unread(world: World, authority: str) -> int:
    """How many records of its topic a partner has not committed yet."""
    name = f"partner.{authority}.{AGENCY}"
    reader = Consumer(as_admin(world.broker, **{"group.id": f"{name}.contacts"}))
    try:
        places = reader.committed([TopicPartition(f"{name}.v1", partition) for partition in (0, 1)], SECONDS)
        return sum(reader.get_watermark_offsets(place)[1] - max(place.offset, 0) for place in places)
    finally:
        reader.close()


COUNTIES = [
    ("consume_county.mjs", WORCESTER, "worcestershire", "answer_liquidlogic.json", "partner_referral"),
    ("consume_county.py", HEREFORD, "herefordshire", "answer_mosaic.json", "partner_referral"),
]


@pytest.mark.parametrize(("program", "authority", "user", "answer", "outcome"), COUNTIES)
async def test_a_county_reads_its_contact_and_its_answer_ends_the_delivery(
    stranger: Stranger, program: str, authority: str, user: str, answer: str, outcome: str
) -> None:
    world, own = stranger.world, stranger.world.partner(authority)
    referral_id = await stranger.post(authority)
    sent = await world.delivery(referral_id, authority, "accepted")
    message_id = sent["message_id"]
    async with stranger.running(program, authority, AGENCY, user=user) as reader:
        await line_of(reader, f"stored {message_id}")
        await asyncio.to_thread(send_again, world, authority, message_id)
        await line_of(reader, f"seen before {message_id}")
    assert await asyncio.to_thread(unread, world, authority) == 0
    assert message_id in stored_contact(stranger, program, message_id)
    for _ in "ab":  # safe to run again
        said = await stranger.run("acknowledge.sh", message_id, answer, token=own)
        assert said == (0, "", "")
    acknowledged = await world.delivery(referral_id, authority, "acknowledged")
    assert (acknowledged["outcome"], acknowledged["retry_at"], acknowledged["fallbacks"]) == (
        outcome,
        None,
        [],
    )


def stored_contact(stranger: Stranger, program: str, message_id: str) -> str:
    if program.endswith(".mjs"):
        assert (stranger.folder / "contacts").stat().st_mode & 0o077 == 0
        return (stranger.folder / "contacts" / message_id).read_text()
    assert (stranger.folder / "contacts.db").stat().st_mode & 0o077 == 0
    rows = dict(stranger.rows("contacts.db", "SELECT message_id, body FROM contacts"))
    return bytes(rows[message_id]).decode()


async def test_from_python_a_contact_that_cannot_be_stored_is_not_read_for_good(stranger: Stranger) -> None:
    reader = ("consume_county.py", HEREFORD, AGENCY)
    referral_id = await stranger.post(HEREFORD)
    message_id = (await stranger.world.delivery(referral_id, HEREFORD, "accepted"))["message_id"]
    with closing(sqlite3.connect(stranger.folder / "contacts.db")) as unfit:
        unfit.execute("CREATE TABLE contacts (unfit)")
    code, out, error = await stranger.run(*reader, user="herefordshire")
    assert (code, out, "OperationalError" in error) == (1, "", True)
    assert await asyncio.to_thread(unread, stranger.world, HEREFORD) == 1
    (stranger.folder / "contacts.db").unlink()
    async with stranger.running(*reader, user="herefordshire") as second:
        await line_of(second, f"stored {message_id}")


async def test_from_node_a_contact_that_cannot_be_stored_is_not_read_for_good(stranger: Stranger) -> None:
    referral_id = await stranger.post(WORCESTER)
    message_id = (await stranger.world.delivery(referral_id, WORCESTER, "accepted"))["message_id"]
    in_its_way = stranger.folder / "contacts" / f"{message_id}.part"
    in_its_way.mkdir(parents=True)
    async with stranger.running("consume_county.mjs", WORCESTER, AGENCY, user="worcestershire") as reader:
        await line_of(reader, "EISDIR", of_errors=True)
        assert await asyncio.to_thread(unread, stranger.world, WORCESTER) >= 1
        in_its_way.rmdir()
        await line_of(reader, f"stored {message_id}")


@pytest.mark.parametrize("program", ["consume_county.mjs", "consume_county.py"])
async def test_a_county_that_asks_for_anothers_topic_gets_nothing_and_is_told(
    stranger: Stranger, program: str
) -> None:
    code, out, error = await stranger.run(program, HEREFORD, AGENCY, user="worcestershire")
    assert (code, out) == (1, "")
    assert "uthoriz" in error


async def test_a_county_cannot_answer_for_another(stranger: Stranger) -> None:
    referral_id = await stranger.post(WORCESTER)
    sent = await stranger.world.delivery(referral_id, WORCESTER, "accepted")
    code, out, _ = await stranger.run(
        "acknowledge.sh",
        sent["message_id"],
        "answer_liquidlogic.json",
        token=stranger.world.partner(HEREFORD),
    )
    assert (code, json.loads(out)["type"]) == (22, "urn:referral-hub:problem:delivery-unknown")


# --- a partner over HTTP -----------------------------------------------------------------------------------


async def test_a_partner_over_http_takes_a_contact_and_answers_it(stranger: Stranger) -> None:
    world = stranger.world
    process = await stranger.start("receive_contacts.py", PORT=str(world.receiver_port), PARTNER_TOKEN=AGREED)
    try:
        referral_id = await stranger.post(SHROPSHIRE)
        message_id = (await world.delivery(referral_id, SHROPSHIRE, "accepted"))["message_id"]
        [(stored,)] = stranger.rows("received.db", "SELECT message_id FROM contacts")
        assert stored == message_id
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{world.receiver_port}", trust_env=False
        ) as caller:
            known = {"Authorization": f"Bearer {AGREED}"}
            assert [
                (await caller.get(f"/contacts/{one}", headers=headers)).status_code
                for one, headers in ((message_id, known), (str(new_id()), known), (message_id, {}))
            ] == [200, 404, 401]
        answer = ("acknowledge.sh", message_id, "answer_liquidlogic.json")
        assert await stranger.run(*answer, token=world.partner(SHROPSHIRE)) == (0, "", "")
        await world.delivery(referral_id, SHROPSHIRE, "acknowledged")
    finally:
        process.terminate()
        _, error = await process.communicate()
    assert [word for word in PERSONAL if word in error.decode()] == []


# --- a reader of facts -------------------------------------------------------------------------------------


async def test_an_inspector_counts_each_referral_once_however_often_its_facts_are_heard(
    stranger: Stranger,
) -> None:
    for group in ("inspector.grades", "inspector.grades", "inspector.from-the-start"):
        await stranger.post(TELFORD)
        received = await stranger.world.received()
        async with stranger.running("read_facts.py", group, user="inspector") as reader:
            await line_of(reader, f"{{'high': {received}}}")
    assert stranger.rows("grades.db", "SELECT count(*) FROM grades") == [(received,)]
