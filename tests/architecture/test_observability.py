"""Alert rules, dashboards and their set-up: every query parses and asks for metrics and labels there are."""

import ast
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import prometheus_client
import promql_parser
import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase
from tests.architecture.test_deployment import COMPOSE, CONTAINERS

from hub_embedded.services import SERVICES

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PROMETHEUS = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
[GROUP] = yaml.safe_load((DEPLOY / "prometheus" / "hub.rules.yml").read_text())["groups"]
BOARDS = {path.name: json.loads(path.read_text()) for path in (DEPLOY / "grafana" / "dashboards").iterdir()}
COLLECTOR = yaml.safe_load((DEPLOY / "collector" / "config.yaml").read_text())
OF_THE_TARGET = frozenset({"job", "instance", "service"})
"""What Prometheus adds to every series of the hub, by prometheus.yml or by the ServiceMonitor."""


def metrics() -> dict[str, frozenset[str]]:
    """Every series this release writes, and the labels it has. Importing the services has made them."""
    assert SERVICES
    known: dict[str, frozenset[str]] = {"up": frozenset()}
    for collector in list(prometheus_client.REGISTRY._collector_to_names):
        if isinstance(collector, MetricWrapperBase):
            labels = frozenset(collector._labelnames)
            for family in collector.describe():
                for ending in {
                    "counter": ("_total",),
                    "histogram": ("_bucket", "_count", "_sum"),
                }.get(family.type, ("",)):
                    known[family.name + ending] = labels | ({"le"} if ending == "_bucket" else set())
        else:
            known |= {
                sample.name: frozenset(sample.labels) for f in collector.collect() for sample in f.samples
            }
    return known


METRICS = metrics()


def parsed(query: str) -> promql_parser.Expr:
    """A query as Prometheus gets it, with Grafana's variables filled in."""
    filled = query.replace("$__rate_interval", "5m").replace("$service", "intake")
    assert "$" not in filled
    return promql_parser.parse(filled)


def labels_of(expression: Any) -> frozenset[str] | None:  # noqa: PLR0911  one answer a kind of node
    """The labels of what a query answers, ``None`` for a number. Fails on a metric or label there is not."""
    match expression:
        case promql_parser.NumberLiteral():
            return None
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr() | promql_parser.SubqueryExpr():
            return labels_of(expression.expr)
        case promql_parser.VectorSelector():
            assert expression.name in METRICS, "no such metric"
            labels = METRICS[expression.name] | OF_THE_TARGET
            assert {matcher.name for matcher in expression.matchers.matchers} <= labels
            return labels
        case promql_parser.MatrixSelector():
            return labels_of(expression.vector_selector)
        case promql_parser.AggregateExpr():
            inner = labels_of(expression.expr) or frozenset()
            if expression.modifier is None:
                return frozenset()
            assert expression.modifier.type == promql_parser.AggModifierType.By
            assert set(expression.modifier.labels) <= inner, "no such label"
            return frozenset(expression.modifier.labels)
        case promql_parser.Call():
            [inner] = [found for argument in expression.args if (found := labels_of(argument)) is not None]
            return inner - {"le"} if expression.func.name == "histogram_quantile" else inner
        case promql_parser.BinaryExpr():
            assert expression.modifier is None or expression.modifier.matching is None
            left, right = labels_of(expression.lhs), labels_of(expression.rhs)
            assert left is None or right is None or left == right, "two sides that never match"
            return left if right is None else right
    raise AssertionError(f"this test cannot follow {type(expression).__name__}")


def panels() -> Iterator[Any]:
    for name, board in BOARDS.items():
        for panel in board["panels"]:
            yield pytest.param(panel, id=f"{name}-{panel['title']}")


PANELS = list(panels())
ALERTS = [pytest.param(rule, id=rule["alert"]) for rule in GROUP["rules"]]


@pytest.mark.parametrize("rule", ALERTS)
def test_an_alert_asks_for_what_there_is_and_says_what_to_do(rule: dict[str, Any]) -> None:
    labels = labels_of(parsed(rule["expr"]))
    assert labels is not None
    assert rule["labels"] in ({"severity": "page"}, {"severity": "ticket"})
    assert rule["annotations"].keys() == {"summary", "action"}
    used = re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values()))
    assert set(used) <= labels


def test_a_parked_referral_pages_somebody_within_five_minutes() -> None:
    [rule] = [rule for rule in GROUP["rules"] if "hub_parked_events" in rule["expr"]]
    assert (rule["expr"], rule["for"], rule["labels"]["severity"]) == (
        "max by (consumer) (hub_parked_events) > 0",
        "5m",
        "page",
    )


def test_whatever_says_that_work_stands_still_raises_an_alert() -> None:
    asked = {name for rule in GROUP["rules"] for name in METRICS if re.search(rf"\b{name}\b", rule["expr"])}
    assert {
        "hub_parked_events",
        "hub_consumer_lag_seconds",
        "hub_consumer_lag_events",
        "hub_relay_lag_seconds",
        "hub_consumer_circuit_open",
        "hub_consumer_rebuilds_total",
        "hub_worker_failures_total",
        "up",
    } <= asked


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_asks_for_what_there_is(panel: dict[str, Any]) -> None:
    assert panel["targets"]
    for target in panel["targets"]:
        labels = labels_of(parsed(target["expr"]))
        assert labels is not None
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= labels


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows_in_which_unit_and_from_where(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
    [source] = yaml.safe_load(
        (DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text()
    )["datasources"]
    assert sources == [{"type": source["type"], "uid": source["uid"]}] * len(sources)


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_the_panels_of_a_dashboard_lie_side_by_side(name: str) -> None:
    taken = [
        (x, y)
        for panel in BOARDS[name]["panels"]
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
    assert once(panel["id"] for panel in BOARDS[name]["panels"])
    assert once(panel["title"] for panel in BOARDS[name]["panels"])


def once(values: Iterable[object]) -> bool:
    found = list(values)
    return len(found) == len(set(found))


def test_dashboards_have_names_of_their_own_and_link_to_each_other() -> None:
    uids = {board["uid"] for board in BOARDS.values()}
    assert len(uids) == len(BOARDS) == 3
    for board in BOARDS.values():
        assert {link["url"].removeprefix("/d/") for link in board["links"]} == uids - {board["uid"]}


def test_grafana_is_given_its_dashboards_where_it_looks_for_them() -> None:
    mounts = dict(mount.split(":")[:2] for mount in CONTAINERS["grafana"]["volumes"])
    [provider] = yaml.safe_load((DEPLOY / "grafana" / "provisioning" / "dashboards" / "hub.yml").read_text())[
        "providers"
    ]
    assert provider["options"]["path"] == mounts["./deploy/grafana/dashboards"]
    home = Path(CONTAINERS["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == mounts["./deploy/grafana/dashboards"]
    assert home.name in BOARDS


def test_prometheus_asks_every_service_with_an_operators_token() -> None:
    [hub] = [job for job in PROMETHEUS["scrape_configs"] if job["job_name"] == "hub"]
    assert hub["static_configs"] == [
        {
            "targets": [f"{service.name}:{CONTAINERS[service.name]['environment']['HUB_PORT']}"],
            "labels": {"service": service.name},
        }
        for service in SERVICES
    ]
    token = Path(hub["authorization"]["credentials_file"])
    assert token == Path("/run/secrets/operator_token")
    assert token.name in CONTAINERS["prometheus"]["secrets"]
    assert token.name in COMPOSE["secrets"]


def test_prometheus_reads_the_rules_and_the_jobs_they_name_are_asked() -> None:
    assert [name for name in PROMETHEUS["rule_files"] if not (DEPLOY / "prometheus" / name).exists()] == []
    jobs = {job["job_name"] for job in PROMETHEUS["scrape_configs"]}
    named = re.findall(r'job=~?"([^"]+)"', " ".join(rule["expr"] for rule in GROUP["rules"]))
    assert {job for names in named for job in names.split("|")} == jobs


def test_the_adapter_offers_the_metric_that_services_scale_by() -> None:
    [rule] = yaml.safe_load((DEPLOY / "prometheus" / "adapter.yml").read_text())["externalRules"]
    assert labels_of(parsed(rule["seriesQuery"])) == METRICS["hub_consumer_lag_seconds"] | OF_THE_TARGET
    filled = rule["metricsQuery"].replace("<<.Series>>", "hub_consumer_lag_seconds")
    assert labels_of(parsed(filled.replace("<<.LabelMatchers>>", 'consumer="triage"'))) == {"consumer"}


def test_the_collector_takes_what_the_hub_sends_and_asks_for_nothing_it_has_not() -> None:
    for pipeline in COLLECTOR["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            assert set(pipeline[kind]) == COLLECTOR[kind].keys()
    endpoint = COLLECTOR["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
    assert CONTAINERS["intake"]["environment"]["HUB_OTLP_ENDPOINT"] == (
        f"http://collector:{endpoint.rpartition(':')[2]}"
    )
    [reader] = COLLECTOR["service"]["telemetry"]["metrics"]["readers"]
    [job] = [job for job in PROMETHEUS["scrape_configs"] if job["job_name"] == "collector"]
    assert job["static_configs"][0]["targets"] == [
        f"collector:{reader['pull']['exporter']['prometheus']['port']}"
    ]
    assert CONTAINERS["collector"]["command"] == ["--config=/etc/collector/config.yaml"]


def attributes_of_spans() -> Iterator[str]:
    """Every attribute that spans get: keywords of ``span`` with dots for underscores, and literals."""
    for path in [*(ROOT / "kernel").rglob("*.py"), *(ROOT / "services").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="span"), keywords=keywords):
                    named = {keyword.arg for keyword in keywords if keyword.arg} - {"kind", "caller"}
                    yield from (name.replace("_", ".") for name in named)
                case ast.Constant(value=str(text)) if re.fullmatch(
                    r"messaging\.[a-z._]+|service\.name", text
                ):
                    yield text


def test_the_collector_lets_through_every_attribute_that_the_hub_sets_and_no_other() -> None:
    allowed = set(COLLECTOR["processors"]["redaction"]["allowed_keys"])
    assert {name for name in allowed if not name.startswith("telemetry.sdk.")} == set(attributes_of_spans())
