"""Relay and bus through brokers that ask who comes, with no more allowed than ``hub acls`` prints."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import TopicAuthorizationFailedError
from confluent_kafka import admin as confluent_admin
from joserfc import jwt
from joserfc.jwk import ECKey
from tests.component.ledger_service import LEDGER, READER, to
from tests.component.ledger_service.hearing import Hearing, running
from tests.component.ledger_service.on_topics import PARTITIONS, SPEC
from tests.component.ledger_service.waiting import until
from tests.unit.kernel.token_endpoint import granting, serving

from hub_embedded.access_rules import Parties, access_rules
from hub_embedded.kafka.properties import OAuth
from hub_embedded.kafka_broker import KafkaBroker
from hub_kernel.clock import FixedClock, epoch_seconds
from hub_kernel.event_store import EventStore
from hub_kernel.kafka import KafkaAway, KafkaBus, KafkaConnection, Relay, bus, connection, ensure_topics
from hub_kernel.settings import Settings
from hub_kernel.wakeups import Wakeups

kafka_admin: Any = confluent_admin  # it has no types of its own
PASSWORDS = {"admin": "admins-password", "ledger": "ledgers-password", "reader": "readers-password"}
HEARS = replace(READER, hears=(LEDGER.schema,))
PRINCIPALS = {"ledger": "User:ledger", "reader": "User:reader"}
ANSWER_SECONDS = 20


@pytest.fixture(scope="module")
def issuer() -> ECKey:
    """The key by which tokens are signed."""
    return ECKey.generate_key("P-256", {"kid": "2026", "use": "sig", "alg": "ES256"})


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, issuer: ECKey) -> Iterator[KafkaBroker]:
    """A broker with TLS that asks who comes, on which nobody may do more than the access rules say."""
    home = tmp_path_factory.mktemp("guarded")
    keys = home / "jwks.json"
    keys.write_text(json.dumps({"keys": [issuer.as_dict(private=False)]}))
    with KafkaBroker(home, sasl=PASSWORDS, oauth=OAuth(keys, "our-issuer", "kafka"), tls=True) as broker:
        asyncio.run(ensure_topics(as_user(broker, "admin"), [SPEC]))
        allow(broker)
        yield broker


def settings(broker: KafkaBroker, **given: Any) -> Settings:
    security = {"kafka_security": "sasl_ssl", "kafka_ca_file": broker.ca_file}
    return Settings(
        **{"bus_url": f"kafka://{broker.bootstrap}", "kafka_session_seconds": 2, **security, **given}
    )


def as_user(broker: KafkaBroker, name: str, **given: Any) -> KafkaConnection:
    given = {"kafka_username": name, "kafka_password": PASSWORDS[name], **given}
    return KafkaConnection.from_settings(settings(broker, **given))


def allow(broker: KafkaBroker) -> None:
    """What the access rules say of the two services, on the broker."""
    client = kafka_admin.AdminClient(
        {
            "bootstrap.servers": broker.bootstrap,
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(broker.ca_file),
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "admin",
            "sasl.password": PASSWORDS["admin"],
        }
    )
    nobody_else = Parties(services=PRINCIPALS, operator="User:admin", records_systems={}, partners=())
    bindings = [
        kafka_admin.AclBinding(
            kafka_admin.ResourceType[rule.resource.upper()],
            rule.name,
            kafka_admin.ResourcePatternType[rule.pattern.upper()],
            rule.principal,
            "*",
            kafka_admin.AclOperation[operation.upper()],
            kafka_admin.AclPermissionType.ALLOW,
        )
        for rule in access_rules((LEDGER, HEARS), nobody_else)
        if rule.principal in PRINCIPALS.values()
        for operation in rule.operations
    ]
    for made in client.create_acls(bindings).values():
        made.result(ANSWER_SECONDS)


class Crossing:
    """Facts from the ledger to the reader, through one broker."""

    def __init__(self, dsn: str, ledger: EventStore, hearing: Hearing, clock: FixedClock) -> None:
        self._dsn, self._ledger, self._hearing, self._clock = dsn, ledger, hearing, clock

    async def cross(self, of_ledger: KafkaConnection, of_reader: KafkaConnection) -> None:
        """Record three facts and wait until each has had its effect."""
        await self._ledger.append([to("entry-a", "1", "2"), to("entry-b", "3")])
        wakeups = Wakeups(self._dsn)
        wakeups.start()
        relay = Relay(self._ledger.pool, LEDGER.schema, SPEC, of_ledger, wakeups, self._clock)
        relaying = asyncio.create_task(relay.run())
        try:
            kafka = KafkaBus(of_reader, self._clock, partitions=PARTITIONS)
            async with running(self._hearing.consumer(kafka)):
                await self._hearing.until_effects([("entry-a", 1), ("entry-a", 2), ("entry-b", 1)])
                [subscription] = kafka._subscriptions

                async def told() -> bool:
                    """Nothing read is left to tell the broker, as far as it lets us."""
                    return sum(subscription._committed.values()) > 0

                await until(told)
        finally:
            relaying.cancel()
            await asyncio.wait([relaying])
            await wakeups.close()


@pytest.fixture
def crossing(
    ledger_dsn: str, ledger: EventStore, hearing: Hearing, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> Crossing:
    monkeypatch.setattr(bus, "COMMIT_SECONDS", 0.02)
    return Crossing(ledger_dsn, ledger, hearing, clock)


async def fresh(broker: KafkaBroker) -> None:
    """The topic as it was at first."""
    async with as_user(broker, "admin").admin() as admin:
        await admin.delete_topics([SPEC.name])
    await ensure_topics(as_user(broker, "admin"), [SPEC])


async def test_services_known_by_their_passwords_may_do_what_they_need(
    guarded: KafkaBroker, crossing: Crossing
) -> None:
    await crossing.cross(as_user(guarded, "ledger"), as_user(guarded, "reader"))


async def test_services_known_by_tokens_may_do_what_they_need(
    guarded: KafkaBroker, crossing: Crossing, issuer: ECKey
) -> None:
    def signed(name: str) -> Callable[[int], str]:
        issued = int(epoch_seconds())
        claims = {"iss": "our-issuer", "aud": "kafka", "sub": name, "iat": issued, "exp": issued + 300}
        return lambda _: jwt.encode({"alg": "ES256", "kid": issuer.kid}, claims, issuer)

    async with AsyncExitStack() as stack:
        connections = []
        for name in PRINCIPALS:
            endpoint = await stack.enter_async_context(serving())
            endpoint.answer = granting(300, signed(name))
            oauth = {
                "kafka_sasl_mechanism": "OAUTHBEARER",
                "kafka_token_url": endpoint.url,
                "kafka_client_id": name,
                "kafka_client_secret": "a-secret",
            }
            connections.append(KafkaConnection.from_settings(settings(guarded, **oauth)))
        await fresh(guarded)
        await crossing.cross(*connections)


async def test_services_known_by_certificates_may_do_what_they_need(
    tmp_path: Path, crossing: Crossing
) -> None:
    with KafkaBroker(tmp_path, tls=True) as broker:
        connections = []
        for name in PRINCIPALS:
            certificate, key = broker.client_certificate(name)
            known = {"kafka_security": "ssl", "kafka_cert_file": certificate, "kafka_key_file": key}
            connections.append(KafkaConnection.from_settings(settings(broker, **known)))
        await crossing.cross(*connections)


async def test_the_reader_may_not_write_and_the_ledger_may_not_read(guarded: KafkaBroker) -> None:
    producer = as_user(guarded, "reader").producer()
    await producer.start()  # it may write facts of its own, so it is given a producer's id
    try:
        with pytest.raises(TopicAuthorizationFailedError):
            await producer.send_and_wait(SPEC.name, b"x", partition=0)
    finally:
        await connection.drop(producer)
    async with as_user(guarded, "ledger").onlooker(SPEC.name) as (onlooker, partitions):
        onlooker.assign(list(partitions))
        with pytest.raises(TopicAuthorizationFailedError):
            await asyncio.wait_for(onlooker.getone(), ANSWER_SECONDS)


@pytest.mark.parametrize(
    "wrong", [{"kafka_password": "another"}, {"kafka_ca_file": None}, {"kafka_security": "sasl_plaintext"}]
)
async def test_who_is_not_let_in_is_told_that_kafka_is_away_and_nothing_else(
    wrong: dict[str, Any], guarded: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "START_SECONDS", 2.0)
    with pytest.raises(KafkaAway) as refused:
        await ensure_topics(as_user(guarded, "ledger", **wrong), [SPEC])
    assert PASSWORDS["ledger"] not in str(refused.value) + repr(refused.value)
