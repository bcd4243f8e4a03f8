import asyncio
import json
import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.abc import AbstractTokenProvider
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaConnectionError,
    UnknownTopicOrPartitionError,
)
from joserfc import jwt
from joserfc.jwk import ECKey

from hub_embedded.kafka.broker_home import KafkaDidNotStart, KafkaHomeInUse
from hub_embedded.kafka.jars import (
    JarsNotFetched,
    JavaMissing,
    MavenMissing,
    default_jars,
    ensure_jars,
    kafka_version,
)
from hub_embedded.kafka.properties import OAuth
from hub_embedded.kafka_broker import KafkaBroker
from hub_kernel.clock import epoch_seconds

TOPIC = "facts"
PARTITION = TopicPartition(TOPIC, 0)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A broker of these tests' own, which they may kill; each finds it running or starts it."""
    home = tmp_path_factory.mktemp("kafka") / "a home with spaces, and é"
    with KafkaBroker(home) as broker:
        asyncio.run(make_topic(broker))
        yield broker


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, issuer: ECKey) -> Iterator[KafkaBroker]:
    """A broker with TLS that asks who comes: by SCRAM or by token."""
    home = tmp_path_factory.mktemp("guarded")
    keys = home / "jwks.json"
    keys.write_text(json.dumps({"keys": [issuer.as_dict(private=False)]}))
    users = {"admin": "admins-password", "triage": "triages-password"}
    with KafkaBroker(home, sasl=users, oauth=OAuth(keys, "our-issuer", "kafka"), tls=True) as broker:
        yield broker


@pytest.fixture(scope="module")
def issuer() -> ECKey:
    """The key by which tokens are signed."""
    return ECKey.generate_key("P-256", {"kid": "2026", "use": "sig", "alg": "ES256"})


async def make_topic(broker: KafkaBroker, **access: Any) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap, **access)
    await admin.start()
    try:
        answer = await admin.create_topics([NewTopic(TOPIC, 1, 1)])
        assert [error[1] for error in answer.topic_errors] == [0]
    finally:
        await admin.close()


async def sent(broker: KafkaBroker, value: bytes, **access: Any) -> int:
    """The offset at which the broker acknowledged the value."""
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, enable_idempotence=True, **access)
    try:
        await producer.start()
        return int((await producer.send_and_wait(TOPIC, value, partition=0)).offset)
    finally:
        await producer.stop()


async def heard(broker: KafkaBroker, offset: int) -> bytes:
    """The value at the offset."""
    async with AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, enable_auto_commit=False) as consumer:
        consumer.assign([PARTITION])
        consumer.seek(PARTITION, offset)
        return bytes((await asyncio.wait_for(consumer.getone(), 30)).value)


def is_alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


async def test_what_is_produced_is_fetched(broker: KafkaBroker) -> None:
    broker.start()
    offset = await sent(broker, b"x" * 7_000_000, max_request_size=8_000_000)
    assert await heard(broker, offset) == b"x" * 7_000_000


async def test_a_topic_nobody_made_is_not_made_by_sending_to_it(broker: KafkaBroker) -> None:
    broker.start()
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap, request_timeout_ms=500) as producer:
        with pytest.raises(UnknownTopicOrPartitionError):
            await producer.send("misspelt", b"x")


@pytest.mark.kills
async def test_a_killed_broker_keeps_what_it_acknowledged_and_comes_back_at_its_address(
    broker: KafkaBroker,
) -> None:
    broker.start()
    address, offset, killed = broker.bootstrap, await sent(broker, b"before the kill"), broker.pid
    broker.kill()
    assert not is_alive(killed)
    broker.start()
    assert (broker.bootstrap, broker.pid != killed) == (address, True)
    assert await heard(broker, offset) == b"before the kill"


@pytest.mark.kills
async def test_a_watched_broker_that_is_killed_is_started_again(broker: KafkaBroker) -> None:
    broker.start()
    killed, watching = broker.pid, asyncio.create_task(broker.keep_running())
    os.kill(killed, signal.SIGKILL)
    async with asyncio.timeout(60):
        while broker.pid == killed:  # noqa: ASYNC110  the watch tells nobody
            await asyncio.sleep(0.02)
    assert await sent(broker, b"after the kill") > 0
    watching.cancel()


async def test_a_stopped_broker_is_gone_and_a_watch_leaves_it_so(broker: KafkaBroker) -> None:
    broker.start()
    offset, pid = await sent(broker, b"before the stop"), broker.pid
    broker.stop()
    broker._start_again()
    assert not is_alive(pid)
    with pytest.raises(RuntimeError, match=re.escape("start() comes first")):
        _ = broker.pid
    broker.start()
    assert await heard(broker, offset) == b"before the stop"


async def test_a_second_broker_on_the_same_home_is_refused(broker: KafkaBroker) -> None:
    broker.start()
    home = broker._home.path
    with pytest.raises(KafkaHomeInUse) as refused:
        KafkaBroker(home).start()
    assert refused.value.detail == (
        f"Another process runs a Kafka broker in {home}. Stop it first, or choose another folder."
    )
    assert await sent(broker, b"still here") > 0


def test_a_port_that_is_taken_is_named_with_the_log_and_what_to_do(
    broker: KafkaBroker, tmp_path: Path
) -> None:
    broker.start()
    taken = int(broker.bootstrap.rsplit(":", 1)[1])
    with pytest.raises(KafkaDidNotStart) as refused:
        KafkaBroker(tmp_path, port=taken).start()
    assert f"Socket server failed to bind to 127.0.0.1:{taken}" in refused.value.detail
    assert f"Its log is {tmp_path / 'kafka.log'}." in refused.value.detail
    assert "set HUB_BUS_URL to a broker of your own" in refused.value.detail


PARENT = """
import sys
from pathlib import Path
from hub_embedded.kafka_broker import KafkaBroker
broker = KafkaBroker(Path(sys.argv[1]))
broker.start()
print(broker.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.kills
@pytest.mark.parametrize("shell_too", [False, True], ids=["by its shell", "by the next start"])
async def test_a_broker_whose_starter_is_killed_is_ended(broker: KafkaBroker, *, shell_too: bool) -> None:
    broker.stop()
    starter = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, broker._home.path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert starter.stdout is not None
    left = int(await starter.stdout.readline())
    if shell_too:
        for shell in shells_of(left):
            os.kill(shell, signal.SIGKILL)
    starter.kill()
    await starter.wait()
    if shell_too:
        assert is_alive(left)
        broker.start()
        assert not is_alive(left)
        assert await sent(broker, b"after the starter") > 0
    else:
        async with asyncio.timeout(10):
            while is_alive(left):  # noqa: ASYNC110  it is another process
                await asyncio.sleep(0.02)


def shells_of(broker: int) -> list[int]:
    """The broker's shells, which share its session."""
    session = os.getsid(broker)
    members = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(ProcessLookupError):
            if os.getsid(int(process.name)) == session and int(process.name) != broker:
                members.append(int(process.name))
    assert members, "the broker has a shell"
    return members


def test_a_pid_that_is_somebody_elses_by_now_is_left_alone(broker: KafkaBroker) -> None:
    broker.stop()
    home = broker._home.path
    stranger = subprocess.Popen(["sleep", "60"], cwd=home)
    try:
        (home / "kafka.pid").write_text(f"{stranger.pid}\n")
        broker.start()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def with_tls(broker: KafkaBroker) -> dict[str, Any]:
    return {
        "security_protocol": "SASL_SSL",
        "ssl_context": ssl.create_default_context(cafile=str(broker.ca_file)),
    }


def scram(user: str, password: str) -> dict[str, Any]:
    return {
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": user,
        "sasl_plain_password": password,
    }


class Token(AbstractTokenProvider):
    """Gives the same token each time."""

    def __init__(self, issuer: ECKey, name: str, audience: str) -> None:
        issued = int(epoch_seconds())
        claims = {"iss": "our-issuer", "aud": audience, "sub": name, "iat": issued, "exp": issued + 300}
        self._token = jwt.encode({"alg": "ES256", "kid": issuer.kid}, claims, issuer)

    async def token(self) -> str:
        """The token, whoever asks."""
        return self._token


def bearer(issuer: ECKey, name: str, audience: str = "kafka") -> dict[str, Any]:
    return {
        "sasl_mechanism": "OAUTHBEARER",
        "sasl_oauth_token_provider": Token(issuer, name, audience),
    }


async def test_only_who_authenticates_and_is_allowed_may_produce(guarded: KafkaBroker, issuer: ECKey) -> None:
    tls = with_tls(guarded)
    await make_topic(guarded, **tls, **scram("admin", "admins-password"))
    assert await sent(guarded, b"0", **tls, **scram("admin", "admins-password")) == 0
    assert await sent(guarded, b"1", **tls, **bearer(issuer, "admin")) == 1
    for known in (scram("triage", "triages-password"), bearer(issuer, "triage")):
        with pytest.raises(ClusterAuthorizationFailedError):
            await sent(guarded, b"2", **tls, **known)
    for unknown in (scram("triage", "admins-password"), scram("nobody", "admins-password")):
        with pytest.raises(KafkaConnectionError):
            await sent(guarded, b"3", **tls, **unknown)
    stranger = ECKey.generate_key("P-256", {"kid": "2026", "use": "sig", "alg": "ES256"})
    for refused in (bearer(issuer, "admin", audience="somewhere-else"), bearer(stranger, "admin")):
        # aiokafka 0.14 does not read that a token was refused, and asks on for ever.
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sent(guarded, b"4", **tls, **refused), 1)
    assert await sent(guarded, b"5", **tls, **scram("admin", "admins-password")) == 2


async def test_a_client_without_the_authority_does_not_trust_the_broker(guarded: KafkaBroker) -> None:
    access = {"security_protocol": "SASL_SSL", "ssl_context": ssl.create_default_context()}
    with pytest.raises(KafkaConnectionError):
        await sent(guarded, b"x", **access, **scram("admin", "admins-password"))


async def test_what_stands_in_the_guarded_home_is_for_its_owner_alone(guarded: KafkaBroker) -> None:
    home = guarded._home.path
    private = ("kafka.json", "server.properties", "kafka.log", "tls", "tls/server.pem", "tls/ca.key")
    assert {name: (home / name).stat().st_mode & 0o077 for name in private} == dict.fromkeys(private, 0)


async def test_a_client_certificate_is_good_if_the_brokers_own_authority_made_it(tmp_path: Path) -> None:
    strangers = KafkaBroker(tmp_path / "strangers", tls=True)
    strangers._home.path.mkdir()
    with KafkaBroker(tmp_path / "ours", tls=True) as broker:
        ours, foreign = with_certificate(broker, broker), with_certificate(broker, strangers)
        await make_topic(broker, **ours)
        assert await sent(broker, b"x", **ours) == 0
        with pytest.raises(KafkaConnectionError):
            await sent(broker, b"x", **foreign)


def with_certificate(broker: KafkaBroker, issuer: KafkaBroker) -> dict[str, Any]:
    context = ssl.create_default_context(cafile=str(broker.ca_file))
    context.load_cert_chain(*issuer.client_certificate("triage"))
    return {"security_protocol": "SSL", "ssl_context": context}


def test_a_password_that_would_need_quoting_is_refused_without_showing_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="of letters, digits, dots, dashes, underscores") as refused:
        KafkaBroker(tmp_path, sasl={"admin": "se,cret]"})
    assert "se,cret]" not in str(refused.value)


def programs(folder: Path, **scripts: str) -> str:
    """A PATH on which only these programs are."""
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o700)
    return str(folder)


@pytest.mark.parametrize(
    "scripts",
    [{}, {"java": "echo 'openjdk version \"11.0.2\" 2019-01-15' >&2"}],
    ids=["none", "one too old"],
)
def test_without_java_one_is_told_to_install_it(
    scripts: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", programs(tmp_path, **scripts))
    with pytest.raises(JavaMissing) as refused:
        KafkaBroker(tmp_path / "home").start()
    assert refused.value.detail == (
        "Kafka needs Java 17 or later, and none is on the PATH. Install a Java runtime or set HUB_BUS_URL. "
        "On Debian the package is openjdk-17-jre-headless. HUB_BUS_URL leads to a broker of your own."
    )


def test_without_maven_one_is_told_to_install_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", programs(tmp_path))
    with pytest.raises(MavenMissing) as refused:
        ensure_jars(tmp_path / "jars")
    assert "On Debian the package is maven. It is needed once" in refused.value.detail


def test_jars_that_cannot_be_fetched_leave_no_half_of_them_and_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", programs(tmp_path, mvn="echo no network; exit 1"))
    with pytest.raises(JarsNotFetched) as refused:
        ensure_jars(tmp_path / "jars")
    assert refused.value.detail == (
        "Kafka's jars could not be fetched: Maven failed. Mend what its log says: "
        f"{tmp_path / 'jars.log'}. Then start again; or set HUB_BUS_URL to a broker of your own."
    )
    assert ((tmp_path / "jars.log").read_text(), (tmp_path / "jars").exists()) == ("no network\n", False)


def test_jars_that_are_not_the_ones_we_know_are_refused_by_name(
    broker: KafkaBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.start()
    folder = tmp_path / "jars.unfinished"
    jar = f"kafka-clients-{kafka_version()}.jar"
    tampered = f"/bin/cp -r {default_jars()} {folder}; echo >>{folder}/{jar}"
    monkeypatch.setenv("PATH", programs(tmp_path, mvn=tampered))
    with pytest.raises(JarsNotFetched) as refused:
        ensure_jars(tmp_path / "jars")
    assert f"{jar} missing, extra or not what jars.sha256 says" in refused.value.detail
    assert not (tmp_path / "jars").exists()
