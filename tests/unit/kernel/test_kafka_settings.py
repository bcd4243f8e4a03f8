import asyncio
import os
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr
from tests.unit.kernel.token_endpoint import TokenEndpoint, granting, serving

from hub_kernel.errors import HubError
from hub_kernel.kafka import KafkaConnection, tokens
from hub_kernel.kafka.connection import LARGEST_BODY_BYTES, KafkaMisconfigured
from hub_kernel.kafka.tokens import ClientCredentials
from hub_kernel.settings import Settings

SECRET = "s3cr3t-of-the-hub"  # noqa: S105  to look for where it may not be


def settings(**given: Any) -> Settings:
    return Settings(**{"bus_url": "kafka://127.0.0.1:9092", **given})


def refused(**given: Any) -> dict[str, str]:
    """The settings named as wrong. Nothing of a secret is in what is said of them."""
    with pytest.raises(KafkaMisconfigured) as error:
        KafkaConnection.from_settings(settings(**given))
    assert SECRET not in "".join(traceback.format_exception(error.value)) + repr(error.value.fields)
    assert isinstance(error.value, HubError)
    return dict(error.value.fields)


# --- where the brokers are -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "brokers"),
    [
        ("kafka://broker:9092", "broker:9092"),
        ("kafka://broker:9092/", "broker:9092"),
        ("kafka://a.example:9092,b.example:9093,10.0.0.7:1", "a.example:9092,b.example:9093,10.0.0.7:1"),
        ("kafka://[::1]:9092", "[::1]:9092"),
    ],
)
def test_the_brokers_stand_in_the_url(url: str, brokers: str) -> None:
    assert KafkaConnection.from_settings(settings(bus_url=url))._common["bootstrap_servers"] == brokers


@pytest.mark.parametrize(
    "url",
    [
        "kafka://",
        "kafka://broker",
        "kafka://broker:",
        "kafka://broker:9092,",
        "kafka://broker:9092;other:9092",
        "kafka://broker:9092/topic",
        f"kafka://hub:{SECRET}@broker:9092",
        "KAFKA://broker:9092",
    ],
)
def test_a_url_that_is_not_a_list_of_brokers_is_named_and_not_repeated(url: str) -> None:
    assert refused(bus_url=url) == {"HUB_BUS_URL": "must be kafka://host:port,host:port"}


def test_what_becomes_too_large_for_a_record_is_named() -> None:
    too_large = refused(max_body_bytes=LARGEST_BODY_BYTES + 1)
    assert too_large == {"HUB_MAX_BODY_BYTES": "at most 2097152 on Kafka"}
    KafkaConnection.from_settings(settings(max_body_bytes=LARGEST_BODY_BYTES))


# --- who we are ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [{}, {"kafka_username": "hub"}, {"kafka_password": SecretStr(SECRET)}])
def test_missing_credentials_are_named(given: dict[str, Any]) -> None:
    missing = {"HUB_KAFKA_USERNAME, HUB_KAFKA_PASSWORD": "are missing"}
    assert refused(kafka_security="sasl_plaintext", **given) == missing


@pytest.mark.parametrize("given", [{}, {"kafka_client_id": "hub"}, {"kafka_token_url": f"http://{SECRET}"}])
def test_a_missing_token_endpoint_is_named(given: dict[str, Any]) -> None:
    oauth = {"kafka_security": "sasl_ssl", "kafka_sasl_mechanism": "OAUTHBEARER"}
    missing = {"HUB_KAFKA_TOKEN_URL, HUB_KAFKA_CLIENT_ID": "are missing"}
    assert refused(**oauth, **given) == missing


def test_nothing_shows_a_secret() -> None:
    given = settings(
        kafka_security="sasl_plaintext",
        kafka_username="hub",
        kafka_password=SECRET,
        kafka_client_secret=SECRET,
    )
    connection = KafkaConnection.from_settings(given)
    credentials = ClientCredentials("http://127.0.0.1", "hub", SECRET)
    assert SECRET not in repr(given) + str(given) + repr(connection) + repr(credentials)
    assert connection._common["sasl_plain_password"] == SECRET


# --- TLS -------------------------------------------------------------------------------------------------


def certificate_with_key(path: Path, password: str) -> Path:
    """A certificate and its key under a password, in one file."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    issued = datetime(2026, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(issued)
        .not_valid_after(issued + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    encryption = serialization.BestAvailableEncryption(password.encode())
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )
    return path


@pytest.mark.parametrize("content", [None, b"", b"\x00no PEM"])
def test_an_authority_that_cannot_be_read_is_named(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / SECRET
    if content is not None:
        file.write_bytes(content)
    assert refused(kafka_security="ssl", kafka_ca_file=file) == {"HUB_KAFKA_CA_FILE": "cannot be read as PEM"}


def test_a_certificate_without_its_key_is_named(tmp_path: Path) -> None:
    wrong = refused(kafka_security="ssl", kafka_cert_file=tmp_path / "a", kafka_key_file=tmp_path / "b")
    assert wrong == {
        "HUB_KAFKA_CERT_FILE, HUB_KAFKA_KEY_FILE": (
            "cannot be read as PEM of one certificate and its key, without a password"
        )
    }


AT_A_TERMINAL = """
import fcntl, sys, termios
from hub_kernel.kafka import KafkaConnection
from hub_kernel.kafka.connection import KafkaMisconfigured
from hub_kernel.settings import Settings

fcntl.ioctl(0, termios.TIOCSCTTY, 0)
given = {"kafka_security": "ssl", "kafka_cert_file": sys.argv[1], "kafka_key_file": sys.argv[1]}
try:
    KafkaConnection.from_settings(Settings(bus_url="kafka://127.0.0.1:9092", **given))
except KafkaMisconfigured as wrong:
    print(*wrong.fields)
"""


def test_a_key_under_a_password_is_named_and_nobody_at_the_terminal_is_asked_for_it(tmp_path: Path) -> None:
    key = certificate_with_key(tmp_path / "key.pem", SECRET)
    ours, terminal = os.openpty()
    command = [sys.executable, "-c", AT_A_TERMINAL, str(key)]
    with subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
    ) as process:
        os.close(terminal)
        try:
            said = os.read(ours, 1_000).decode()
        finally:
            process.kill()
    os.close(ours)
    assert said.split("\r\n")[0] == "HUB_KAFKA_CERT_FILE, HUB_KAFKA_KEY_FILE"


# --- tokens ----------------------------------------------------------------------------------------------


@pytest.fixture
async def issuer() -> AsyncIterator[TokenEndpoint]:
    async with serving() as issuer:
        yield issuer


class Elapsed:
    """The seconds a test says have passed."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        """The seconds."""
        return self.seconds


@pytest.fixture
def elapsed(monkeypatch: pytest.MonkeyPatch) -> Elapsed:
    elapsed = Elapsed()
    monkeypatch.setattr(tokens, "monotonic_seconds", elapsed)
    return elapsed


async def test_a_token_is_asked_for_by_client_credentials(issuer: TokenEndpoint) -> None:
    assert await ClientCredentials(issuer.url, "hub", SECRET).token() == "1"
    [request] = issuer.requests
    assert request.startswith("POST /token HTTP/1.1")
    assert request.endswith("grant_type=client_credentials")
    assert "Authorization: Basic aHViOnMzY3IzdC1vZi10aGUtaHVi" in request


async def test_a_token_is_used_again_until_four_fifths_of_its_life_are_over(
    issuer: TokenEndpoint, elapsed: Elapsed
) -> None:
    credentials = ClientCredentials(issuer.url, "hub", SECRET)
    assert await asyncio.gather(*(credentials.token() for _ in range(5))) == ["1"] * 5
    elapsed.seconds += 79.9
    assert await credentials.token() == "1"
    elapsed.seconds += 0.1
    assert await asyncio.gather(*(credentials.token() for _ in range(5))) == ["2"] * 5
    assert len(issuer.requests) == 2


async def test_while_the_issuer_is_away_a_token_that_is_still_good_is_used(
    issuer: TokenEndpoint, elapsed: Elapsed
) -> None:
    credentials = ClientCredentials(issuer.url, "hub", SECRET)
    await credentials.token()
    issuer.answer = lambda _: (503, "")
    elapsed.seconds += 99.9
    assert await credentials.token() == "1"
    elapsed.seconds += 0.1
    with pytest.raises(KafkaConnectionError):
        await credentials.token()
    issuer.answer = granting(100)
    assert await credentials.token() == "4"


async def test_a_life_written_as_text_is_understood(issuer: TokenEndpoint, elapsed: Elapsed) -> None:
    issuer.answer = granting("100")
    credentials = ClientCredentials(issuer.url, "hub", SECRET)
    await credentials.token()
    elapsed.seconds += 80
    assert await credentials.token() == "2"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, f'{{"error": "{SECRET}"}}'),
        (200, SECRET),
        (200, f'{{"access_token": 5, "x": "{SECRET}"}}'),
        (200, "{}"),
        (302, SECRET),
    ],
)
async def test_an_answer_without_a_token_is_an_error_without_a_word_of_it(
    status: int, body: str, issuer: TokenEndpoint
) -> None:
    issuer.answer = lambda _: (status, body)
    await assert_quiet(ClientCredentials(issuer.url, "hub", SECRET))


@pytest.mark.parametrize(
    "url", [f"http://127.0.0.1:1/{SECRET}", f"http://[{SECRET}", f"ftp://{SECRET}", f"http://a\x00{SECRET}"]
)
async def test_an_endpoint_that_cannot_be_asked_is_an_error_without_a_word_of_the_request(url: str) -> None:
    await assert_quiet(ClientCredentials(url, "hub", SECRET))


async def assert_quiet(credentials: ClientCredentials) -> None:
    with pytest.raises(KafkaConnectionError) as error:
        await credentials.token()
    assert str(error.value) == "KafkaConnectionError: the token endpoint gave no token"
    assert SECRET not in "".join(traceback.format_exception(error.value))
