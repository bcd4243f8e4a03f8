"""The AsyncAPI and OpenAPI documents are true of what the code sends and serves."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from hub_embedded.contracts.catalogue import CATALOGUE
from hub_embedded.contracts.openapi import describe
from hub_embedded.contracts.schema_tree import written
from hub_embedded.services import SERVICES
from hub_schemas.envelope import RecordedEvent, to_cloudevent

ROOT = Path(__file__).parents[3]
BUS: dict[str, Any] = json.loads((ROOT / "schemas/asyncapi/referral-hub.json").read_bytes())
GOLDEN = ROOT / "tests/golden/facts"
ID = UUID("5b1f6c0e-93a7-8c44-a1d2-7e0f35b9c681")
NOON = datetime(2026, 11, 6, 12, tzinfo=UTC)
FACTS = [
    (folder, fact.__name__, version)
    for folder, registry in CATALOGUE.registries.items()
    if folder != "access"
    for fact in registry
    for version in range(1, fact.schema_version + 1)
]


def faults(reference: str, value: object) -> list[str]:
    """What is wrong with a value by a schema somewhere in the AsyncAPI document."""
    validator = Draft202012Validator({"$ref": f"#/{reference}"} | BUS)
    return [error.message for error in validator.iter_errors(value)]


@pytest.mark.parametrize(("source", "name", "version"), FACTS)
@pytest.mark.parametrize("sealed", [None, b"ciphertext"])
def test_a_fact_goes_out_as_the_asyncapi_document_says(
    source: str, name: str, version: int, sealed: bytes | None
) -> None:
    message = f"{source}.{name}.v{version}"
    if "sealed" not in BUS["components"]["messages"][message]["payload"]["properties"]:
        sealed = None
    event = RecordedEvent(
        source=source,
        position=7,
        stream_id=f"referral-{ID}",
        version=3,
        event_id=ID,
        type=name,
        schema_version=version,
        occurred_at=NOON,
        recorded_at=NOON,
        correlation_id=ID,
        causation_id=ID,
        actor="west-mercia-rms",
        traceparent=f"00-{ID.hex}-{ID.hex[:16]}-01",
        open=(GOLDEN / source / f"{name}.v{version}.json").read_bytes().strip(),
        key_id=ID if sealed else None,
        sealed=sealed,
    )
    headers, value = to_cloudevent(event)
    sent = {header: raw.decode() for header, raw in headers}
    assert faults(f"components/messages/{message}/headers", sent) == []
    assert faults(f"components/messages/{message}/payload", json.loads(value)) == []
    told = BUS["components"]["schemas"]["FactAttributes"]["properties"].keys() | {"ce_source", "ce_type"}
    assert sent.keys() <= told
    assert faults(f"components/messages/{message}/headers", sent | {"ce_type": "Other.v1"}) != []


def test_every_fact_is_on_the_topic_of_its_service() -> None:
    on_topics = {
        (channel["address"], message)
        for channel in BUS["channels"].values()
        for message in channel["messages"]
        if channel["address"].startswith("hub.")
    }
    assert on_topics == {(f"hub.{source}.facts.v1", f"{name}.v{version}") for source, name, version in FACTS}


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_the_openapi_document_is_openapi_3_1(service: Any) -> None:
    document = json.loads((ROOT / f"schemas/openapi/{service.name}.json").read_bytes())
    assert document["openapi"].startswith("3.1.")
    assert [error.message for error in OPENAPI_31_VALIDATOR.iter_errors(document)] == []
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_the_openapi_documents_are_the_same_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = [written(described.document) for described in describe(SERVICES)]
    monkeypatch.setenv("HUB_PARTNERS", "not json")
    monkeypatch.setenv("HUB_PORT", "not a number")
    assert [written(described.document) for described in describe(SERVICES)] == before
