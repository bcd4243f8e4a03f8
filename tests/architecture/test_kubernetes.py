"""deploy/kubernetes renders to manifests that are valid, fit together and keep the deployment's promises."""

import copy
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from tests.architecture.test_deployment import (
    DOCKERFILE,
    SECRET_SETTINGS,
    VERSION,
    fault_of,
    is_a_command_of_the_hub,
)

from hub_embedded.services import SERVICES
from hub_kernel.settings import Settings

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
OLDEST = "1.30"
NAMES = ("base/jobs", "base/services", "overlays/example/jobs", "overlays/example/services")
Manifest = dict[str, Any]


class Kustomization:
    """The part of kustomize that these files use, so that no other program is needed; a test bounds it.

    ``kubectl kustomize`` gives the same manifests, but for the hash at the end of a generated name.
    """

    def __init__(self, folder: Path) -> None:
        self.read: set[Path] = set()
        self.manifests: list[Manifest] = []
        self._take(folder.resolve())

    def _take(self, folder: Path) -> None:
        content = self._load(folder / "kustomization.yaml")[0]
        known = {"apiVersion", "kind", "namespace", "resources", "components", "configMapGenerator"}
        assert content.keys() <= known | {"images", "patches"}, f"{folder}: this test cannot follow that"
        for resource in content.get("resources", ()):
            path = (folder / resource).resolve()
            if path.is_dir():
                self._take(path)
            else:
                self.manifests += self._load(path)
        for generator in content.get("configMapGenerator", ()):
            self._generate(**generator)
        for component in content.get("components", ()):
            self._take((folder / component).resolve())
        for patch in content.get("patches", ()):
            self._patch(**patch)
        for image in content.get("images", ()):
            self._rename(**image)
        for manifest in self.manifests:
            if "namespace" in content and manifest["kind"] != "Namespace":
                manifest["metadata"]["namespace"] = content["namespace"]

    def _load(self, path: Path) -> list[Manifest]:
        assert path not in self.read, f"{path} is taken twice"
        self.read.add(path)
        return list(yaml.safe_load_all(path.read_text()))

    def _generate(self, name: str, literals: list[str], behavior: str = "create") -> None:
        data = dict(literal.split("=", 1) for literal in literals)
        if behavior == "merge":
            [settings] = [m for m in self.manifests if m["metadata"]["name"] == name]
            settings["data"] |= data
        else:
            manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
            self.manifests.append(manifest)

    def _patch(self, target: dict[str, str], patch: str) -> None:
        assert target.keys() <= {"kind", "name"}
        aims = [
            manifest
            for manifest in self.manifests
            if re.fullmatch(target["kind"], manifest["kind"])
            and re.fullmatch(target.get("name", ".*"), manifest["metadata"]["name"])
        ]
        # A component may be for kinds that this kustomization has none of; a name must be there.
        assert aims or "name" not in target, f"nothing is called {target}"
        for manifest in aims:
            for operation in yaml.safe_load(patch):
                self._operate(manifest, **operation)

    def _operate(self, manifest: Manifest, op: str, path: str, value: Any) -> None:
        """One operation of RFC 6902; the value is copied, as several manifests may get it."""
        *steps, last = [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]
        place: Any = manifest
        for step in steps:
            place = place[int(step)] if isinstance(place, list) else place[step]
        if isinstance(place, list) and last == "-":
            place.append(copy.deepcopy(value))
            return
        key = int(last) if isinstance(place, list) else last
        assert op in {"add", "replace"}
        assert op == "add" or place[key] is not None
        place[key] = copy.deepcopy(value)

    def _rename(self, name: str, newName: str, newTag: str) -> None:  # noqa: N803  kustomize's own words
        for manifest in self.manifests:
            for container in containers(manifest):
                if container["image"].partition(":")[0] == name:
                    container["image"] = f"{newName}:{newTag}"


def pod_of(manifest: Manifest) -> dict[str, Any] | None:
    return manifest["spec"]["template"] if manifest["kind"] in {"StatefulSet", "Job"} else None


def containers(manifest: Manifest) -> list[dict[str, Any]]:
    pod = pod_of(manifest)
    return pod["spec"]["containers"] if pod else []


RENDERED = {name: Kustomization(KUBERNETES / name) for name in NAMES}


def of_kind(*kinds: str) -> list[Any]:
    """Every manifest of these kinds, as parameters: the rendered set it is of, and itself."""
    return [
        pytest.param(name, m, id=f"{name}-{m['kind']}-{m['metadata']['name']}")
        for name, rendered in RENDERED.items()
        for m in rendered.manifests
        if m["kind"] in kinds or not kinds
    ]


def found(where: str, kind: str) -> dict[str, Manifest]:
    return {m["metadata"]["name"]: m for m in RENDERED[where].manifests if m["kind"] == kind}


def environment(where: str) -> dict[str, str]:
    return found(where, "ConfigMap")["hub-settings"]["data"]


def labels_of_pods(where: str) -> list[dict[str, str]]:
    return [pod["metadata"]["labels"] for m in RENDERED[where].manifests if (pod := pod_of(m))]


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels"}, "match by labels alone"
    return selector.get("matchLabels", {}).items() <= labels.items()


WORKLOADS = ("StatefulSet", "Job")
EVERYTHING = of_kind()
PODS = of_kind(*WORKLOADS)
STATEFUL = of_kind("StatefulSet")


def test_every_file_is_used_by_what_is_deployed() -> None:
    read = set().union(*(rendered.read for rendered in RENDERED.values()))
    assert sorted(set(KUBERNETES.rglob("*.yaml")) - read) == []


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
@pytest.mark.parametrize(("where", "manifest"), EVERYTHING)
def test_a_manifest_is_valid_strictly(where: str, manifest: Manifest, version: str) -> None:
    if manifest["kind"] == "ServiceMonitor":  # the Prometheus operator's own; a test of its own below
        return
    kubernetes_validate.validate(manifest, version, strict=True)
    assert manifest["kind"] == "Namespace" or manifest["metadata"]["namespace"] == "referral-hub", where


@pytest.mark.parametrize("where", NAMES)
def test_no_two_manifests_have_one_name(where: str) -> None:
    names = [(m["kind"], m["metadata"]["name"]) for m in RENDERED[where].manifests]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("where", NAMES)
def test_the_settings_exist_and_can_be_used(where: str) -> None:
    assert fault_of(environment(where)) is None


@pytest.mark.parametrize("where", NAMES)
def test_secrets_are_only_referred_to(where: str) -> None:
    assert found(where, "Secret") == {}
    for manifest in RENDERED[where].manifests:
        for container in containers(manifest):
            assert {entry["name"] for entry in container.get("env", ())} & SECRET_SETTINGS == set()
            assert {"value"} & {key for entry in container.get("env", ()) for key in entry} == set()


@pytest.mark.parametrize(("where", "manifest"), PODS)
def test_every_secret_file_is_a_setting_and_partners_are_known_to_the_gateway_alone(
    where: str, manifest: Manifest
) -> None:
    [secrets] = [v for v in pod_of(manifest)["spec"]["volumes"] if v["name"] == "secrets"]  # type: ignore[index]
    files = [i["path"] for source in secrets["projected"]["sources"] for i in source["secret"]["items"]]
    assert {file.upper() for file in files} <= SECRET_SETTINGS
    assert ("hub_partners" in files) == (manifest["metadata"]["name"] == "partner-gateway"), where


@pytest.mark.parametrize(("where", "manifest"), PODS)
def test_every_file_that_a_setting_names_is_mounted(where: str, manifest: Manifest) -> None:
    settings = environment(where)
    volumes = {volume["name"]: volume for volume in pod_of(manifest)["spec"]["volumes"]}  # type: ignore[index]
    [container] = containers(manifest)
    mounts = {mount["mountPath"]: volumes.get(mount["name"]) for mount in container["volumeMounts"]}
    assert settings["HUB_SECRETS_DIR"] in mounts
    for path in (Path(value) for name, value in settings.items() if name.endswith("_FILE")):
        mounted = mounts[str(path.parent)]
        assert mounted
        source = mounted.get("secret") or mounted["configMap"]
        assert [item["path"] for item in source["items"]] == [path.name]


@pytest.mark.parametrize(("where", "manifest"), PODS)
def test_a_pod_is_bounded_and_closed(where: str, manifest: Manifest) -> None:
    pod = pod_of(manifest)["spec"]  # type: ignore[index]
    [user] = re.findall(r"^USER (\d+):\d+$", DOCKERFILE, re.MULTILINE)
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": int(user),
        "runAsGroup": int(user),
        "fsGroup": int(user),
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] in found(where, "ServiceAccount")
    [container] = containers(manifest)
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"].keys() == {"memory"}
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert is_a_command_of_the_hub(container["command"])
    assert container["image"].endswith(f"referral-hub:{VERSION}")
    assert container["envFrom"] == [{"configMapRef": {"name": "hub-settings"}}]


@pytest.mark.parametrize("where", [name for name in NAMES if name.endswith("services")])
def test_each_of_the_four_services_is_a_stateful_set_that_runs_it(where: str) -> None:
    modules = {name: containers(m)[0]["command"][-1] for name, m in found(where, "StatefulSet").items()}
    served = {name: importlib.import_module(module).SERVICE for name, module in modules.items()}
    assert served == {service.name: service for service in SERVICES}


@pytest.mark.parametrize(("where", "manifest"), STATEFUL)
def test_a_service_is_asked_how_it_is_and_given_the_time_its_stop_may_take(
    where: str, manifest: Manifest
) -> None:
    pod = pod_of(manifest)
    assert pod
    [container] = containers(manifest)
    settings = environment(where)
    assert container["ports"] == [
        {"name": "http", "containerPort": int(settings["HUB_PORT"]), "protocol": "TCP"}
    ]
    asked = {probe: container[f"{probe}Probe"]["httpGet"] for probe in ("startup", "liveness", "readiness")}
    assert asked == {
        "startup": {"path": "/health/live", "port": "http"},
        "liveness": {"path": "/health/live", "port": "http"},
        "readiness": {"path": "/health/ready", "port": "http"},
    }
    longest = container["lifecycle"]["preStop"]["sleep"]["seconds"] + 2 * float(
        settings["HUB_SHUTDOWN_SECONDS"]
    )
    assert pod["spec"]["terminationGracePeriodSeconds"] >= longest + 5


@pytest.mark.parametrize(("where", "manifest"), STATEFUL)
def test_a_service_has_a_lasting_name_and_a_lasting_data_directory(where: str, manifest: Manifest) -> None:
    [container] = containers(manifest)
    name = {"name": "HUB_INSTANCE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    assert container["env"] == [name]
    [data_dir] = re.findall(r"HUB_DATA_DIR=(\S+)", DOCKERFILE)
    assert {"name": "data", "mountPath": data_dir} in container["volumeMounts"]
    assert [claim["metadata"]["name"] for claim in manifest["spec"]["volumeClaimTemplates"]] == ["data"]
    assert manifest["spec"]["serviceName"] in found(where, "Service")


@pytest.mark.parametrize(("where", "manifest"), of_kind("StatefulSet", "PodDisruptionBudget"))
def test_a_selector_finds_the_pods_of_one_service(where: str, manifest: Manifest) -> None:
    chosen = [labels for labels in labels_of_pods(where) if matches(manifest["spec"]["selector"], labels)]
    assert [labels["app.kubernetes.io/name"] for labels in chosen] == [manifest["metadata"]["name"]]


@pytest.mark.parametrize(("where", "manifest"), of_kind("Service"))
def test_a_service_leads_to_a_port_of_its_pods(where: str, manifest: Manifest) -> None:
    [workload] = [
        m
        for m in RENDERED[where].manifests
        if (pod := pod_of(m)) and manifest["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    ]
    assert workload["metadata"]["name"] == manifest["metadata"]["name"]
    [port] = manifest["spec"]["ports"]
    assert port["targetPort"] in {p["name"] for p in containers(workload)[0]["ports"]}


@pytest.mark.parametrize("where", [name for name in NAMES if name.endswith("services")])
@pytest.mark.parametrize("kind", ["Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"])
def test_every_service_has_its_own(where: str, kind: str) -> None:
    assert found(where, kind).keys() == found(where, "StatefulSet").keys()


@pytest.mark.parametrize(("where", "manifest"), of_kind("HorizontalPodAutoscaler"))
def test_a_service_scales_within_its_partitions_and_by_its_own_lag(where: str, manifest: Manifest) -> None:
    spec, name = manifest["spec"], manifest["metadata"]["name"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": name}
    assert 2 <= spec["minReplicas"] <= spec["maxReplicas"] <= int(environment(where)["HUB_BUS_PARTITIONS"])
    assert "replicas" not in found(where, "StatefulSet")[name]["spec"], "the autoscaler says how many"
    for metric in spec["metrics"]:
        if metric["type"] == "External":
            assert metric["external"]["metric"] == {
                "name": "hub_consumer_lag_seconds",
                "selector": {"matchLabels": {"consumer": name}},
            }


@pytest.mark.parametrize("where", NAMES)
def test_nobody_speaks_to_anybody_by_default(where: str) -> None:
    spec = found(where, "NetworkPolicy")["default-deny"]["spec"]
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def ways(manifest: Manifest) -> Iterator[tuple[list[dict[str, Any]], set[int]]]:
    """Every way that a policy opens: to or from whom, and by which ports."""
    for rule in (*manifest["spec"].get("ingress", ()), *manifest["spec"].get("egress", ())):
        [peers] = [value for key, value in rule.items() if key in {"from", "to"}]
        yield peers, {port["port"] for port in rule["ports"]}


@pytest.mark.parametrize(("where", "manifest"), of_kind("NetworkPolicy"))
def test_a_network_policy_opens_named_ports_to_named_peers_of_pods_that_exist(
    where: str, manifest: Manifest
) -> None:
    spec = manifest["spec"]
    pods = [labels for labels in labels_of_pods(where) if matches(spec["podSelector"], labels)]
    assert pods or where.endswith("jobs"), "it is about pods that exist"
    directions = {
        {"ingress": "Ingress", "egress": "Egress"}[key] for key in spec if key in {"ingress", "egress"}
    }
    assert directions <= set(spec["policyTypes"])
    for peers, ports in ways(manifest):
        assert peers
        assert ports
        assert all(peer.get("namespaceSelector") or peer.get("ipBlock") for peer in peers)
        wide = [peer for peer in peers if peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0"]
        assert not wide or {labels["app.kubernetes.io/name"] for labels in pods} <= {"partner-gateway"}


@pytest.mark.parametrize("where", NAMES)
def test_the_network_policies_open_the_ports_that_the_settings_name(where: str) -> None:
    policies = {name: [p for _, p in ways(m)] for name, m in found(where, "NetworkPolicy").items()}
    settings = environment(where)
    brokers = {int(broker.rpartition(":")[2]) for broker in settings["HUB_BUS_URL"].split(",")}
    assert policies == {
        "default-deny": [],
        "names": [{53}],
        "stores": [{5432}, brokers],
        "traces": [{int(settings["HUB_OTLP_ENDPOINT"].rpartition(":")[2])}],
        "requests": [{int(settings["HUB_PORT"])}],
        "metrics": [{int(settings["HUB_PORT"])}],
        "partners": [{443}],
    }


def routes() -> Iterator[tuple[str, str]]:
    """Every route that a service's own code serves: the service and the path."""
    for service in SERVICES:
        for path in (ROOT / "services" / service.name).rglob("*.py"):
            text = path.read_text()
            if prefix := re.search(r"\bAPIRouter\((?:.*?prefix=\"([^\"]*)\")?", text):
                for route in re.findall(r"@router\.\w+\(\s*\"([^\"]*)\"", text):
                    yield service.name, (prefix[1] or "") + route


@pytest.mark.parametrize("where", [name for name in NAMES if name.endswith("services")])
def test_the_ingress_leads_every_route_to_the_service_that_serves_it_and_nothing_else(where: str) -> None:
    [ingress] = found(where, "Ingress").values()
    [rule] = ingress["spec"]["rules"]
    served = {backend["service"]["name"] for backend in (p["backend"] for p in rule["http"]["paths"])}
    assert served == found(where, "Service").keys()
    assert {p["backend"]["service"]["port"]["name"] for p in rule["http"]["paths"]} == {"http"}

    def leads_to(path: str) -> str | None:
        fits = [
            (len(p["path"]), p["backend"]["service"]["name"])
            for p in rule["http"]["paths"]
            if path == p["path"] or (p["pathType"] == "Prefix" and path.startswith(p["path"] + "/"))
        ]
        return max(fits)[1] if fits else None

    assert len(list(routes())) > 15
    assert [(service, path) for service, path in routes() if leads_to(path) != service] == []
    assert [leads_to(path) for path in ("/metrics", "/health/live", "/openapi.json")] == [None] * 3
    assert ingress["spec"]["tls"]


@pytest.mark.parametrize(("where", "manifest"), of_kind("ServiceMonitor"))
def test_the_service_monitor_finds_the_services_and_brings_a_token(where: str, manifest: Manifest) -> None:
    spec = manifest["spec"]
    services = found(where, "Service").values()
    assert all(matches(spec["selector"], service["metadata"]["labels"]) for service in services)
    [endpoint] = spec["endpoints"]
    assert {endpoint["port"]} == {port["name"] for s in services for port in s["spec"]["ports"]}
    assert endpoint["authorization"]["credentials"] == {"name": "hub-operator-token", "key": "token"}
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "hub"}]


def test_an_overlay_says_who_signs_tokens_or_no_service_would_listen() -> None:
    for overlay in (name for name in NAMES if name.startswith("overlays")):
        settings = {n.removeprefix("HUB_").lower(): v for n, v in environment(overlay).items()}
        assert Settings(**settings).has_real_issuer  # type: ignore[arg-type]


def test_the_document_applies_the_jobs_of_the_overlay_before_its_services() -> None:
    told = re.findall(r"apply -k (\S+)", (ROOT / "deploy" / "README.md").read_text())
    assert told == [f"deploy/kubernetes/overlays/example/{part}" for part in ("jobs", "services")]
