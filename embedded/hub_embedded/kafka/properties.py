"""What the broker is told: its listeners, who may come in, and limits fit for one small machine."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_8_MIB: Final = 8 * 1024 * 1024
BROKER_USER: Final = "broker"
"""The broker's own name towards itself: it sends some requests through its own door."""
_FIXED: Final[Mapping[str, object]] = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "CLIENTS",
    "log.dirs": "log",
    "auto.create.topics.enable": "false",
    "num.partitions": 1,
    "min.insync.replicas": 1,
    "message.max.bytes": _8_MIB,
    "replica.fetch.max.bytes": _8_MIB,
    # On one node the internal topics never come up with their usual three replicas.
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "share.coordinator.state.topic.num.partitions": 1,
    # Unless told otherwise, a new group waits 3 s for members and a killed broker 9 s for its old session.
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
    "broker.heartbeat.interval.ms": 250,
    "broker.session.timeout.ms": 1000,
    # The log cleaner's map is 128 MiB by default, more than the rest of the broker together.
    "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
}
_PLAIN: Final = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class OAuth:
    """Whose tokens are good: the issuer's public keys (a JWK set), its name (iss) and ours (aud)."""

    jwks_file: Path
    issuer: str
    audience: str

    @property
    def jwks_url(self) -> str:
        """The key file as the URL the broker asks for; it must also be named as allowed."""
        return self.jwks_file.resolve().as_uri()


@dataclass(frozen=True, slots=True)
class Door:
    """Who may come in, and how: SCRAM users with their passwords, tokens, TLS; by default anybody, in clear.

    Once somebody has to say who they are, they may do nothing until an ACL allows it; only ``admin`` may do
    everything. Raises ValueError for a name or password that is not of letters, digits, dots, dashes and
    underscores.
    """

    users: Mapping[str, str] = field(default_factory=dict)
    oauth: OAuth | None = None
    tls: bool = False

    def __post_init__(self) -> None:
        for word in (*self.users, *self.users.values()):
            if not _PLAIN.fullmatch(word):
                raise ValueError("names and passwords are of letters, digits, dots, dashes, underscores")

    @property
    def asks_who(self) -> bool:
        """Whether a client has to authenticate."""
        return bool(self.users) or self.oauth is not None

    @property
    def protocol(self) -> str:
        """Kafka's name for the clients' listener."""
        if self.asks_who:
            return "SASL_SSL" if self.tls else "SASL_PLAINTEXT"
        return "SSL" if self.tls else "PLAINTEXT"


def server_properties(port: int, controller_port: int, door: Door, broker_password: str) -> str:
    """The text of server.properties. Its paths are relative to the folder the broker runs in."""
    clients, controller = f"CLIENTS://127.0.0.1:{port}", f"CONTROLLER://127.0.0.1:{controller_port}"
    settings = dict(_FIXED) | {
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller_port}",
        "listeners": f"{clients},{controller}",
        "advertised.listeners": clients,
        "listener.security.protocol.map": f"CLIENTS:{door.protocol},CONTROLLER:PLAINTEXT",
    }
    if door.tls:
        settings |= _TLS
    if door.asks_who:
        settings |= _sasl(door, broker_password)
    elif door.tls:
        # A client with a certificate is known by its name; one without is welcome too.
        settings["ssl.client.auth"] = "requested"
    return "".join(f"{name}={value}\n" for name, value in settings.items())


_TLS: Final[Mapping[str, object]] = {
    "ssl.keystore.type": "PEM",
    "ssl.keystore.location": "tls/server.pem",
    "ssl.truststore.type": "PEM",
    "ssl.truststore.location": "tls/ca.pem",
}


def _sasl(door: Door, broker_password: str) -> Mapping[str, object]:
    here = "listener.name.clients"
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule"
    settings: dict[str, object] = {
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        f"{here}.scram-sha-512.sasl.jaas.config": (
            f'{scram} required username="{BROKER_USER}" password="{broker_password}";'
        ),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        # Anonymous is the broker towards its own controller, the one door that asks nobody's name.
        "super.users": f"User:admin;User:{BROKER_USER};User:ANONYMOUS",
    }
    if door.oauth is not None:
        bearer = "org.apache.kafka.common.security.oauthbearer"
        settings |= {
            "sasl.enabled.mechanisms": "SCRAM-SHA-512,OAUTHBEARER",
            f"{here}.oauthbearer.sasl.server.callback.handler.class": (
                f"{bearer}.OAuthBearerValidatorCallbackHandler"
            ),
            f"{here}.oauthbearer.sasl.jaas.config": f"{bearer}.OAuthBearerLoginModule required;",
            f"{here}.oauthbearer.sasl.oauthbearer.jwks.endpoint.url": door.oauth.jwks_url,
            f"{here}.oauthbearer.sasl.oauthbearer.expected.issuer": door.oauth.issuer,
            f"{here}.oauthbearer.sasl.oauthbearer.expected.audience": door.oauth.audience,
        }
    return settings
