"""docker-compose.yml, image and secrets are right by their specifications, by the code, by each other."""

import base64
import importlib
import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from pydantic import SecretStr

from hub_embedded.cli import app
from hub_embedded.services import SERVICES
from hub_kernel.auth import ROLES, Principal, TokenVerifier, read_issuer_keys
from hub_kernel.sealing import MasterKey
from hub_kernel.settings import Settings

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "deploy" / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
CONTAINERS: dict[str, dict[str, Any]] = COMPOSE["services"]
JOBS = {"migrate", "topics"}
HUB = {name for name, container in CONTAINERS.items() if "build" in container}
SECRET_SETTINGS = {
    f"HUB_{name.upper()}"
    for name, field in Settings.model_fields.items()
    if SecretStr in {field.annotation, *getattr(field.annotation, "__args__", ())}
}
DEPLOYED = [
    ROOT / "docker-compose.yml",
    *(path for path in (ROOT / "deploy").rglob("*") if path.is_file() and "secrets" not in path.parts),
]


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def settings_of(environment: dict[str, Any]) -> dict[str, Any]:
    """The hub's settings in an environment, with compose's `${NAME:-default}` as they are by default."""
    return {
        name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)
        for name, value in environment.items()
        if name.startswith("HUB_")
    }


def fault_of(environment: dict[str, Any]) -> str | None:
    """What is wrong with settings as a container would get them; ``None`` when the hub would take them."""
    names = {name.removeprefix("HUB_").lower(): value for name, value in environment.items()}
    if unknown := sorted(names.keys() - Settings.model_fields.keys()):
        return f"no such setting: {unknown}"
    if secret := sorted(environment.keys() & SECRET_SETTINGS):
        return f"a secret in plain sight: {secret}"
    Settings(**names)
    return None


def is_a_command_of_the_hub(words: list[str]) -> bool:
    """Whether words start something this release has: one of the services, or a command of ``hub``."""
    match words:
        case ["python", "-m", module]:
            return callable(getattr(importlib.import_module(module), "run", None))
        case ["hub", command]:
            return command in typer.main.get_command(app).list_commands(None)
    return False


def seconds(duration: str) -> float:
    return float(re.fullmatch(r"(\d+)s", duration)[1])  # type: ignore[index]


def test_compose_is_of_the_compose_specification() -> None:
    schema = get_builtin_schema("vendor.compose-spec")
    jsonschema.validators.validator_for(schema)(schema).validate(COMPOSE)


def test_each_of_the_four_services_is_a_container_that_runs_it() -> None:
    modules = {name: CONTAINERS[name]["command"][-1] for name in HUB - JOBS}
    served = {name: importlib.import_module(module).SERVICE for name, module in modules.items()}
    assert served == {service.name: service for service in SERVICES}


@pytest.mark.parametrize("name", sorted(HUB))
def test_a_container_of_the_hub_runs_a_command_that_exists(name: str) -> None:
    assert is_a_command_of_the_hub(CONTAINERS[name]["command"])


@pytest.mark.parametrize("name", sorted(HUB))
def test_a_container_of_the_hub_has_settings_that_exist_and_can_be_used(name: str) -> None:
    environment = settings_of(CONTAINERS[name]["environment"])
    assert fault_of(environment) is None
    kafka = CONTAINERS["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert environment["HUB_BUS_URL"].removeprefix("kafka://") == kafka.removeprefix("PLAINTEXT://")


def test_every_service_has_a_lasting_name_of_its_own() -> None:
    names = {name: CONTAINERS[name]["environment"].get("HUB_INSTANCE") for name in HUB - JOBS}
    assert names == {name: f"{name}-0" for name in HUB - JOBS}


@pytest.mark.parametrize("name", sorted(CONTAINERS))
def test_an_image_is_pinned(name: str) -> None:
    image = CONTAINERS[name]["image"]
    assert re.search(r":v?\d+\.\d+(\.\d+)?(-[a-z]+)?$", image), (
        "a whole version, so that nothing moves unseen"
    )
    assert (image == f"referral-hub:{VERSION}") == (name in HUB)


@pytest.mark.parametrize("name", sorted(CONTAINERS))
def test_a_container_is_bounded_and_closed(name: str) -> None:
    container = CONTAINERS[name]
    assert not {"mem_limit", "cpus", "pids_limit", "logging", "restart"} - container.keys()
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert int(container["user"].split(":")[0]) > 0, "not as root"
    assert not {"privileged", "cap_add", "devices", "network_mode", "pid"} & container.keys()
    assert container.get("read_only", False) or name == "kafka", "Kafka's image writes its settings at start"


@pytest.mark.parametrize("name", sorted(CONTAINERS))
def test_a_container_that_stays_up_can_be_asked_how_it_is(name: str) -> None:
    """But for the collector, whose image has no program to ask it with: Prometheus asks it."""
    assert ("healthcheck" in CONTAINERS[name]) == (name not in JOBS | {"collector"})
    if name in HUB - JOBS:
        asked = CONTAINERS[name]["healthcheck"]["test"]
        assert asked[:3] == ["CMD", "python", "-c"]
        compile(asked[3], name, "exec")
        assert '("live", "ready")' in asked[3]
        assert f":{CONTAINERS[name]['environment']['HUB_PORT']}/health/" in asked[3]


@pytest.mark.parametrize("name", sorted(HUB - JOBS))
def test_a_service_is_given_the_time_its_stop_may_take(name: str) -> None:
    shutdown_seconds = float(CONTAINERS[name]["environment"]["HUB_SHUTDOWN_SECONDS"])
    assert seconds(CONTAINERS[name]["stop_grace_period"]) >= 2 * shutdown_seconds + 5


@pytest.mark.parametrize("name", sorted(CONTAINERS))
def test_a_container_waits_for_what_it_can_wait_for(name: str) -> None:
    for other, wait in CONTAINERS[name].get("depends_on", {}).items():
        expected = "service_completed_successfully" if other in JOBS else "service_healthy"
        assert wait["condition"] == expected
        assert other in JOBS or "healthcheck" in CONTAINERS[other]


def test_what_is_published_is_on_loopback_and_each_port_once() -> None:
    ports = [port for container in CONTAINERS.values() for port in container.get("ports", ())]
    published = [re.fullmatch(r"127\.0\.0\.1:(\d+):\d+", port) for port in ports]
    assert all(published)
    assert len({match[1] for match in published if match}) == len(ports)


def test_only_the_services_reach_what_keeps_data_and_that_has_no_way_out() -> None:
    assert {name for name, c in CONTAINERS.items() if "stores" in c["networks"]} == HUB | {
        "postgres",
        "kafka",
    }
    assert {name for name in ("postgres", "kafka") if CONTAINERS[name]["networks"] != ["stores"]} == set()
    assert COMPOSE["networks"]["stores"] == {"internal": True}


def test_every_mount_leads_to_a_file_or_a_volume_and_every_volume_is_used() -> None:
    mounts = [mount.split(":") for c in CONTAINERS.values() for mount in c.get("volumes", ())]
    files = [parts for parts in mounts if parts[0].startswith("./")]
    assert [parts[0] for parts in files if not (ROOT / parts[0]).exists() or parts[-1] != "ro"] == []
    assert {parts[0] for parts in mounts} - {parts[0] for parts in files} == COMPOSE["volumes"].keys()


def test_the_data_directory_of_each_service_is_a_volume_of_its_own() -> None:
    [data_dir] = re.findall(r"HUB_DATA_DIR=(\S+)", DOCKERFILE)
    assert {name: CONTAINERS[name]["volumes"] for name in HUB - JOBS} == {
        name: [f"{name}-data:{data_dir}"] for name in HUB - JOBS
    }


def test_every_secret_is_a_file_that_somebody_needs_and_partners_are_known_to_the_gateway_alone() -> None:
    assert COMPOSE["secrets"] == {name: {"file": f"deploy/secrets/{name}"} for name in COMPOSE["secrets"]}
    given = {name: set(container.get("secrets", ())) for name, container in CONTAINERS.items()}
    assert set().union(*given.values()) == COMPOSE["secrets"].keys()
    assert [name for name, secrets in given.items() if "hub_partners" in secrets] == ["partner-gateway"]
    hub_files = {secret for name in HUB for secret in given[name]} - {"issuer_jwks"}
    assert {secret.upper() for secret in hub_files} <= SECRET_SETTINGS
    for name, container in CONTAINERS.items():
        environment = container.get("environment", {})
        paths = {value for value in environment.values() if str(value).startswith("/run/secrets/")}
        assert {Path(path).name for path in paths} <= given[name]
        secretive = {key for key in environment if re.search("PASSWORD|TOKEN|SECRET|KEY", key)}
        assert {key for key in secretive if not key.endswith(("_FILE", "_DIR"))} == set()


LITERALS = re.compile(
    r"-----BEGIN|\beyJ[\w-]{10,}|\b[0-9a-f]{32,}\b|[A-Za-z0-9+/]{43}=|://[^\s/:@]+:[^\s/@%$]+@"
    r"|(?i:password|token|secret)[\"']?\s*([:=]\s*[\"']?|[\"'])[A-Za-z0-9+/]{12,}"
)


@pytest.mark.parametrize("path", DEPLOYED, ids=ids)
def test_no_file_of_the_deployment_holds_a_secret(path: Path) -> None:
    assert LITERALS.findall(path.read_text()) == []


def test_the_folder_of_secrets_is_kept_out_of_the_repository_and_of_the_image() -> None:
    ignored = subprocess.run(
        ["git", "check-ignore", "--quiet", "deploy/secrets/hub_master_key"], cwd=ROOT, check=False
    )
    assert ignored.returncode == 0, "name deploy/secrets/ in .gitignore"
    first, *allowed = [line for line in dockerignore() if not line.startswith("**")]
    assert first == "*"
    assert [line for line in allowed if not line.startswith("!") or "deploy" in line] == []


def dockerignore() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_the_builder_is_sent_all_that_the_package_is_made_of() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    needed = {Path(package).parts[0] for package in packages}
    needed |= {"pyproject.toml", "requirements.lock", project["project"]["readme"]}
    assert {line.removeprefix("!") for line in dockerignore() if line.startswith("!")} == needed


def test_the_image_is_built_of_pinned_parts_and_runs_as_nobody_in_particular() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(bases) == len({*bases}) + 1 == 2, "built on what it runs on"
    assert re.fullmatch(r"python:3\.1[123]\.\d+-slim-\w+", bases[0])
    instructions = re.sub(r"^\s*#.*$", "", DOCKERFILE, flags=re.MULTILINE)
    assert "pip wheel --no-deps --require-hashes" in instructions
    assert len(re.findall(r"--no-index", instructions)) == 2, "nothing but the lock's own files is installed"
    assert "://" not in DOCKERFILE
    assert "HEALTHCHECK" not in instructions
    [user] = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert {CONTAINERS[name]["user"] for name in HUB} == {user}
    command = json.loads(re.findall(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)[0])
    assert command[0] == "hub"


def run(program: str, *words: str) -> str:
    done = subprocess.run([DOCKER / program, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(name="secrets", scope="module")
def made_secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deploy") / "secrets"
    told = run("make-secrets", str(folder))
    values = [path.read_text().strip() for path in folder.iterdir()]
    assert [value for value in values if len(value) > len("{}") and value in told] == []
    return folder


def test_make_secrets_makes_every_secret_of_compose_and_opens_none_to_others(secrets: Path) -> None:
    made = {path.name: path.stat().st_mode & 0o777 for path in secrets.iterdir()}
    assert made == {
        **dict.fromkeys(COMPOSE["secrets"], 0o444),
        "hub_partners": 0o644,
        "issuer.pem": 0o600,
    }
    assert secrets.stat().st_mode & 0o777 == 0o700
    MasterKey.from_text((secrets / "hub_master_key").read_text().strip())
    password = (secrets / "hub_database_password").read_text().strip()
    assert (secrets / "hub_database_url").read_text() == (
        f"postgresql://hub:{password}@postgres:5432/referral_hub\n"
    )


def test_make_secrets_changes_nothing_that_is_there(secrets: Path) -> None:
    before = {path.name: path.read_bytes() for path in secrets.iterdir()}
    assert run("make-secrets", str(secrets)) == ""
    assert {path.name: path.read_bytes() for path in secrets.iterdir()} == before


def test_a_token_of_the_development_issuer_opens_the_hub_of_compose(secrets: Path) -> None:
    environment = settings_of(CONTAINERS["intake"]["environment"])
    verifier = TokenVerifier(
        read_issuer_keys(secrets / "issuer_jwks"), environment["HUB_ISSUER"], environment["HUB_AUDIENCE"]
    )
    assert verifier.verify((secrets / "operator_token").read_text().strip()) == Principal(
        "prometheus", "operator"
    )
    words = shlex.split("records_system rms 1 system=west-mercia-rms")
    assert verifier.verify(run("make-token", str(secrets), *words).strip()) == Principal(
        "rms", "records_system", system="west-mercia-rms"
    )


@pytest.mark.parametrize("role", ROLES)
def test_make_token_knows_every_role(role: str, secrets: Path) -> None:
    _, claims, _ = run("make-token", str(secrets), role, "somebody", "1").split(".")
    assert json.loads(base64.urlsafe_b64decode(claims + "=="))["role"] == role


def test_make_token_knows_no_other_role(secrets: Path) -> None:
    asked = [DOCKER / "make-token", secrets, "anybody", "somebody", "1"]
    assert subprocess.run(asked, capture_output=True, check=False).returncode == 2
