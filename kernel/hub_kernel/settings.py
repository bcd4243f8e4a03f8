"""Settings: the only place that reads the environment. Names begin ``HUB_`` and carry their units."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)


class Settings(BaseSettings):
    """What the hub can be told from outside. README lists each one; a test keeps the two equal."""

    model_config = SettingsConfigDict(env_prefix="HUB_", frozen=True, extra="ignore")

    data_dir: Path = Field(Path(".hub-data"), description="where the embedded hub keeps everything")
    database_url: SecretStr | None = Field(
        None, description="PostgreSQL 15 to 18; unset: a private server under the data directory"
    )
    secrets_dir: Path | None = Field(
        None, description="a directory of files named after settings (hub_database_url) with their values"
    )
    bus_url: str = Field(
        "log://", description="what carries the facts: log://, or kafka://host:port,host:port"
    )
    bus_partitions: int = Field(
        2, ge=1, le=1024, description="partitions of the log bus, and of Kafka topics the hub makes"
    )
    kafka_prefix: str = Field(
        "", pattern=r"^[a-zA-Z0-9._-]{0,60}$", description="before the name of every topic and group"
    )
    kafka_replication: int = Field(1, ge=1, le=9, description="replicas of topics the hub makes")
    kafka_security: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = Field(
        "plaintext", description="how brokers are spoken to; beyond loopback, ssl or sasl_ssl"
    )
    kafka_ca_file: Path | None = Field(
        None, description="certificates (PEM) brokers are trusted by; unset: the system's"
    )
    kafka_cert_file: Path | None = Field(None, description="this client's own certificate (PEM), for ssl")
    kafka_key_file: Path | None = Field(None, description="the key (PEM) of that certificate")
    kafka_sasl_mechanism: Literal["SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = Field(
        "SCRAM-SHA-512", description="how the hub proves to brokers who it is"
    )
    kafka_username: str | None = Field(None, description="user name, for SCRAM")
    kafka_password: SecretStr | None = Field(None, description="password, for SCRAM")
    kafka_token_url: str | None = Field(None, description="the issuer's token endpoint, for OAUTHBEARER")
    kafka_client_id: str | None = Field(None, description="client id at the issuer, for OAUTHBEARER")
    kafka_client_secret: SecretStr | None = Field(None, description="its secret, for OAUTHBEARER")
    kafka_session_seconds: float = Field(
        10.0,
        ge=1,
        le=300,
        description="silence after which another member takes over a consumer's partitions",
    )
    instance: str | None = Field(
        None,
        pattern=r"^[a-zA-Z0-9._-]{1,100}$",
        description="this process's own lasting name, such as worker-0: it takes up its partitions again",
    )
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8026, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    master_key: SecretStr | None = Field(None, description="32 bytes in base64; unset: master_key_file")
    master_key_file: Path | None = Field(
        None, description="file of the master key; unset: master.key in the data directory"
    )
    issuer: str | None = Field(None, description="issuer (iss) of the tokens of a real identity provider")
    issuer_jwks_file: Path | None = Field(None, description="the issuer's public keys, a JWK set")
    audience: str = Field("referral-hub", description="audience (aud) a token must name")
    otlp_endpoint: str | None = Field(None, description="OTLP/HTTP collector for traces, e.g. its base URL")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least level logged")
    pool_size: int = Field(8, ge=2, le=100, description="database connections a service may hold")
    max_body_bytes: int = Field(1_048_576, ge=1024, description="largest body of an ordinary request")
    max_batch_body_bytes: int = Field(33_554_432, ge=1024, description="largest body of a batch of referrals")
    shutdown_seconds: float = Field(10.0, gt=0, description="how long a clean stop may take")
    partners: SecretStr | None = Field(
        None, description="JSON: partner package to its url and token, or to its topic's principal"
    )
    failpoint: str | None = Field(
        None, description="chaos tests only: NAME:HITS, die by SIGKILL at the HITS-th pass of NAME"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment, then the files of the directory it names."""
        del dotenv_settings, file_secret_settings
        directory = env_settings().get("secrets_dir")
        files = () if directory is None else (SecretsSettingsSource(settings_cls, directory),)
        return init_settings, env_settings, *files

    def as_environment(self) -> dict[str, str]:
        """What was set, as the environment of a process with the same settings; secrets in clear."""
        values = {name: getattr(self, name) for name in self.model_fields_set}
        return {
            f"HUB_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in values.items()
            if value is not None
        }

    @property
    def has_real_issuer(self) -> bool:
        """Whether tokens come from a configured identity provider rather than the local issuer."""
        return self.issuer is not None and self.issuer_jwks_file is not None
