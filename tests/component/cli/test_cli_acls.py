"""``hub acls``: its forms, the committed example, and a cluster that lets nobody do anything else."""

import argparse
import asyncio
import csv
import io
import json
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its own names, brought in from within
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)
from pydantic import SecretStr

from hub_embedded.kafka_broker import KafkaBroker
from hub_embedded.services import SERVICES
from hub_kernel.testing import RunningHub, run_hub
from hub_partner_gateway.adapters.package_files import shipped_packages

HUB = Path(sys.executable).with_name("hub")
ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "deploy" / "kafka" / "acls.txt"
REFERRAL = ROOT / "tests" / "unit" / "intake" / "full_referral.json"
HEREFORD, WORCESTER = "partner.884.childrens_services.v1", "partner.885.childrens_services.v1"
ON_TOPICS = json.dumps(
    {
        "884-childrens_services": {"topic": True, "principal": "User:herefordshire"},
        "885-childrens_services": {"topic": True, "principal": "User:worcestershire"},
        "893-childrens_services": {"url": "https://partner.example", "token": "s3cret"},
    }
)
USERS = {
    name: f"{name}-password"
    for name in (
        "admin", "hub-operator", "herefordshire", "worcestershire", "athena", "stranger",
        *(f"hub-{service.name}" for service in SERVICES),
    )
}  # fmt: skip
DEADLINE_SECONDS = 60


async def hub(*arguments: str, **settings: str) -> tuple[int, str, str]:
    """Run the real command: exit code, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        HUB, *arguments, env={"LC_ALL": "C.UTF-8", "COLUMNS": "160", **settings},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, error = await process.communicate()
    return process.returncode or 0, out.decode(), error.decode()


async def test_the_committed_example_is_what_the_command_prints_for_the_shipped_packages() -> None:
    names = sorted(package.name for package in shipped_packages())
    partners = json.dumps({name: {"topic": True, "principal": f"User:{name}"} for name in names})
    code, out, error = await hub("acls", "--records-system", "west-mercia-rms", HUB_PARTNERS=partners)
    assert (code, error) == (0, "")
    assert EXAMPLE.read_text() == out, (
        f"{EXAMPLE.relative_to(ROOT)} is out of date. Print it anew: HUB_PARTNERS='{partners}' "
        f"hub acls --records-system west-mercia-rms > {EXAMPLE.relative_to(ROOT)}"
    )


async def test_every_form_says_the_same() -> None:
    settings = {"HUB_PARTNERS": ON_TOPICS, "HUB_KAFKA_PREFIX": "west."}
    options = (
        "--records-system",
        "athena=User:CN=athena,O=West Mercia",
        "--service-principal",
        "triage=User:t",
    )
    printed = {
        form: (await hub("acls", *options, "--format", form, **settings))[1]
        for form in ("kafka-acls", "json", "csv")
    }
    as_text = [read_line(line) for line in printed["kafka-acls"].splitlines() if line.startswith("--")]
    as_json = [json.loads(line) for line in printed["json"].splitlines()]
    as_csv = list(csv.DictReader(io.StringIO(printed["csv"])))
    assert as_text == as_json
    assert as_csv == [
        {
            "KafkaPrincipal": rule["principal"],
            "ResourceType": rule["resource"].capitalize(),
            "PatternType": rule["pattern"].upper(),
            "ResourceName": rule["name"],
            "Operation": operation,
            "PermissionType": "Allow",
            "Host": "*",
        }
        for rule in as_json
        for operation in rule["operations"]
    ]
    assert {rule["name"].startswith("west.") for rule in as_json} == {True}
    assert [rule for rule in as_json if rule["principal"] in {"User:t", "User:herefordshire"}] == [
        rule("User:t", "topic", "west.hub.triage.facts.v1", "Write"),
        rule("User:t", "topic", "west.hub.intake.facts.v1", "Read"),
        rule("User:t", "group", "west.triage.", "Read", pattern="prefixed"),
        rule("User:herefordshire", "topic", f"west.{HEREFORD}", "Read"),
        rule(
            "User:herefordshire", "group", "west.partner.884.childrens_services", "Read", pattern="prefixed"
        ),
    ]
    assert [rule for rule in as_json if rule["principal"].startswith("User:CN")] == [
        rule("User:CN=athena,O=West Mercia", "topic", "west.referrals.inbound.v1", "Write"),
        rule("User:CN=athena,O=West Mercia", "topic", "west.referrals.replies.v1", "Read"),
        rule("User:CN=athena,O=West Mercia", "group", "west.records.athena.", "Read", pattern="prefixed"),
    ]
    assert not [text for text in printed.values() if "s3cret" in text or "893.children" in text]


@pytest.mark.parametrize(
    "options",
    [
        ("--records-system", "a b"),
        ("--records-system", "athena=User:*"),
        ("--records-system", "athena=athena"),
        ("--service-principal", "intake=User:ANONYMOUS"),
        ("--service-principal", "nobody=User:a"),
        ("--operator-principal", "User:*"),
        ("--format", "yaml"),
    ],
)
async def test_who_is_anybody_is_no_principal(options: tuple[str, str]) -> None:
    code, out, _ = await hub("acls", *options)
    assert (code, out) == (2, "")


def rule(principal: str, resource: str, name: str, *operations: str, pattern: str = "literal") -> Any:
    return {
        "principal": principal, "resource": resource, "name": name, "operations": list(operations),
        "pattern": pattern,
    }  # fmt: skip


def read_line(line: str) -> Any:
    """A line as ``kafka-acls.sh`` reads it after ``xargs`` has split it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--add", action="store_true", required=True)
    parser.add_argument("--allow-principal", required=True)
    parser.add_argument("--operation", action="append", required=True)
    parser.add_argument("--resource-pattern-type", choices=["literal", "prefixed"], default="literal")
    names = parser.add_mutually_exclusive_group(required=True)
    names.add_argument("--topic")
    names.add_argument("--group")
    read = parser.parse_args(shlex.split(line))
    resource = "topic" if read.topic else "group"
    return rule(
        read.allow_principal,
        resource,
        read.topic or read.group,
        *read.operation,
        pattern=read.resource_pattern_type,
    )


# --- on a cluster that asks who comes ----------------------------------------------------------------------


def client(broker: KafkaBroker, user: str, **more: Any) -> dict[str, Any]:
    """How a user of another client library comes in."""
    return {
        "bootstrap.servers": broker.bootstrap,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": user,
        "sasl.password": USERS[user],
        **more,
    }


def as_user(broker: KafkaBroker, user: str) -> dict[str, str]:
    """The hub's settings for a user."""
    return {
        "HUB_BUS_URL": f"kafka://{broker.bootstrap}",
        "HUB_KAFKA_SECURITY": "sasl_plaintext",
        "HUB_KAFKA_USERNAME": user,
        "HUB_KAFKA_PASSWORD": USERS[user],
        "HUB_PARTNERS": ON_TOPICS,
    }


def allow(broker: KafkaBroker, lines: Sequence[str]) -> None:
    """Set what the lines allow, as ``kafka-acls.sh`` would."""
    bindings = [
        AclBinding(
            ResourceType[one["resource"].upper()],
            one["name"],
            ResourcePatternType[one["pattern"].upper()],
            one["principal"],
            "*",
            AclOperation["DESCRIBE_CONFIGS" if word == "DescribeConfigs" else word.upper()],
            AclPermissionType.ALLOW,
        )
        for one in map(read_line, lines)
        for word in one["operations"]
    ]
    admin = AdminClient(client(broker, "admin"))
    for made in admin.create_acls(bindings).values():
        made.result(DEADLINE_SECONDS)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A broker with the ACLs the command prints and the topics the operator made."""
    with KafkaBroker(tmp_path_factory.mktemp("guarded"), sasl=USERS) as broker:
        printed = asyncio.run(hub("acls", "--records-system", "athena", HUB_PARTNERS=ON_TOPICS))[1]
        allow(broker, [line for line in printed.splitlines() if line.startswith("--")])
        made = asyncio.run(hub("topics", "--json", **as_user(broker, "hub-operator")))
        assert (made[0], made[1].count('"made"')) == (0, 8), made
        yield broker


@dataclass(frozen=True)
class FourServices:
    """The four services, each under its own user."""

    broker: KafkaBroker
    running: dict[str, RunningHub]


@pytest.fixture
async def services(database: str, tmp_path: Path, guarded: KafkaBroker) -> AsyncIterator[FourServices]:
    async with AsyncExitStack() as stack:
        running = {
            service.name: await stack.enter_async_context(
                run_hub(
                    [service], database, tmp_path, bus_url=f"kafka://{guarded.bootstrap}",
                    kafka_security="sasl_plaintext", kafka_username=f"hub-{service.name}",
                    kafka_password=SecretStr(USERS[f"hub-{service.name}"]), partners=SecretStr(ON_TOPICS),
                )
            )
            for service in SERVICES
        }  # fmt: skip
        yield FourServices(guarded, running)


def heard(broker: KafkaBroker, user: str, group: str, topic: str) -> Any:
    """The first record of a topic that a user hears in a group; or the error it is refused with."""
    consumer = Consumer(
        client(broker, user, **{"group.id": group, "auto.offset.reset": "earliest"}),
    )
    try:
        consumer.subscribe([topic])
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            record = consumer.poll(0.2)
            if record is not None:
                error = record.error()
                return record if error is None else error.code()
        return None
    finally:
        consumer.close()


def sent(broker: KafkaBroker, user: str, topic: str) -> Any:
    """``None`` when a user may write to a topic; or the error it is refused with."""
    answered, outcome = threading.Event(), []
    producer = Producer(client(broker, user, **{"message.timeout.ms": 20_000}))

    def take(error: KafkaError | None, _record: Any) -> None:
        outcome.append(None if error is None else error.code())
        answered.set()

    producer.produce(topic, b"{}", on_delivery=take)
    producer.flush(DEADLINE_SECONDS)
    assert answered.is_set()
    return outcome[0]


async def test_each_service_can_do_all_it_needs_and_the_partner_reads_its_contact(
    services: FourServices,
) -> None:
    document = msgspec.json.decode(REFERRAL.read_bytes())
    system = document["source"]["system"]
    async with services.running["intake"].client("records_system", system=system) as records:
        posted = await records.post("/v1/referrals", json=document)
    referral_id = posted.json()["referral_id"]
    record = await asyncio.to_thread(
        heard, services.broker, "herefordshire", "partner.884.childrens_services", HEREFORD
    )
    assert record.key().decode() == referral_id
    async with services.running["oversight"].client("operator") as operator:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            page = await operator.get(f"/v1/timeline/{referral_id}")
            if "The partner's system took it in at attempt 1." in page.text:
                break
            assert time.monotonic() < deadline, page.text
            await asyncio.sleep(0.1)


REFUSED_TOPIC, REFUSED_GROUP = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
)


@pytest.mark.parametrize(
    ("user", "group", "topic", "refused"),
    [
        ("herefordshire", "partner.884.childrens_services", WORCESTER, REFUSED_TOPIC),
        ("herefordshire", "partner.884.childrens_services", "hub.intake.facts.v1", REFUSED_TOPIC),
        ("herefordshire", "partner.885.childrens_services", HEREFORD, REFUSED_GROUP),
        ("herefordshire", "partner-gateway.triage", HEREFORD, REFUSED_GROUP),
        ("athena", "records.athena.replies", "referrals.inbound.v1", REFUSED_TOPIC),
        ("hub-triage", "triage.partner_gateway", "hub.partner_gateway.facts.v1", REFUSED_TOPIC),
        ("hub-partner-gateway", "partner-gateway.x", HEREFORD, REFUSED_TOPIC),
        ("hub-oversight", "oversight.x", "referrals.inbound.v1", REFUSED_TOPIC),
        ("stranger", "partner.884.childrens_services", HEREFORD, REFUSED_GROUP),
    ],
)
def test_nobody_hears_what_is_not_for_them(
    guarded: KafkaBroker, user: str, group: str, topic: str, refused: int
) -> None:
    assert heard(guarded, user, group, topic) == refused


@pytest.mark.parametrize(
    ("user", "topic", "outcome"),
    [
        ("herefordshire", HEREFORD, REFUSED_TOPIC),
        ("herefordshire", "referrals.inbound.v1", REFUSED_TOPIC),
        ("athena", "hub.intake.facts.v1", REFUSED_TOPIC),
        ("athena", "referrals.replies.v1", REFUSED_TOPIC),
        ("hub-triage", "hub.intake.facts.v1", REFUSED_TOPIC),
        ("hub-intake", HEREFORD, REFUSED_TOPIC),
        ("hub-operator", "hub.intake.facts.v1", REFUSED_TOPIC),
        ("stranger", HEREFORD, REFUSED_TOPIC),
        ("athena", "referrals.inbound.v1", None),
    ],
)
def test_nobody_writes_where_they_should_not(
    guarded: KafkaBroker, user: str, topic: str, outcome: int | None
) -> None:
    assert sent(guarded, user, topic) == outcome


def test_a_service_makes_no_topic(guarded: KafkaBroker) -> None:
    admin = AdminClient(client(guarded, "hub-intake"))
    [making] = admin.create_topics([NewTopic("of-its-own", 1, 1)]).values()
    with pytest.raises(KafkaException) as refused:
        making.result(DEADLINE_SECONDS)
    assert refused.value.args[0].code() == REFUSED_TOPIC


async def test_the_operator_counts_inbound_messages_without_reading_them(
    recorded: Any, guarded: KafkaBroker
) -> None:
    assert await asyncio.to_thread(sent, guarded, "athena", "referrals.inbound.v1") is None
    code, out, _ = await recorded.hub(
        "lag", "--json", **as_user(guarded, "hub-operator"), HUB_LOG_LEVEL="ERROR"
    )
    inbound = json.loads(out.splitlines()[0])
    assert code == 0
    assert (inbound["source"], inbound["events"] > 0, inbound["seconds"]) == ("referrals.inbound", True, None)
