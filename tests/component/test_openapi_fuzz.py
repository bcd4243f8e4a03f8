import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from jsonschema import Draft202012Validator
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR
from tests.component.served_hub import Referred, ServedHub, serve_hub

from hub_kernel.testing import fresh_database

Json = dict[str, Any]
FULL: Json = json.loads((Path(__file__).parents[1] / "unit" / "intake" / "full_referral.json").read_bytes())
EXAMPLES = 12
WHOLE_DOCUMENT = {"/v1/referrals", "/v1/referrals/{referral_id}/amendments"}
EXAMPLES_OF_DOCUMENTS = 5  # a whole referral is large, and slow to make up
HARD_TO_REACH = {
    "POST /v1/referrals",  # a sound referral keeps rules between its fields that no schema can say
    "POST /v1/referrals/{referral_id}/amendments",
    "POST /v1/acknowledgements/{message_id}",  # needs a partner that was sent something
    "GET /v1/parked/{service}/{source}/{stream_id}",  # needs an event that could not be applied
    "POST /v1/parked/{service}/{source}/{stream_id}/retry",
}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


@schemathesis.serializer("application/x-ndjson")
def lines(_context: Any, value: Any) -> bytes:
    """A made-up batch: whatever text was made up, and a line of JSON."""
    return f"{value}\n{json.dumps(value)}".encode(errors="surrogatepass")


@dataclass(frozen=True)
class World:
    """A served hub, its OpenAPI document as served, and a referral that is there to be found."""

    hub: ServedHub
    document: Json
    referred: Referred

    def headers(self, role: str | None) -> dict[str, str]:
        """A token for a role, bounded where that role must be; none for an open route."""
        claims = {
            "records_system": {"system": FULL["source"]["system"]},
            "partner_client": {"authority": self.referred.authority, "agency": self.referred.agency},
        }
        if role is None:
            return {}
        token = self.hub.token(role, **claims.get(role, {}))  # type: ignore[arg-type]  # one of x-roles
        return {"Authorization": f"Bearer {token}", "Access-Reason": "audit"}


@pytest.fixture(scope="module")
async def world(
    postgres_dsn: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    async with (
        fresh_database(postgres_dsn, template) as dsn,
        serve_hub(dsn, tmp_path_factory.mktemp("hub")) as hub,
        hub.caller(hub.token("operator")) as operator,
    ):
        yield World(hub, (await operator.get("/openapi.json")).json(), await hub.refer(FULL))


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield method, path, item[method]


def schemas(node: Any) -> Iterator[Any]:
    """Every JSON Schema in a part of the document."""
    if isinstance(node, dict):
        if "schema" in node:
            yield node["schema"]
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from schemas(inner)


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from references(inner)


def test_the_served_document_is_openapi_3_1(world: World) -> None:
    document = world.document
    assert document["openapi"].startswith("3.1.")
    assert [error.message for error in OPENAPI_31_VALIDATOR.iter_errors(document)] == []
    for schema in [*schemas(document["paths"]), *document["components"]["schemas"].values()]:
        Draft202012Validator.check_schema(schema)
    defined = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) <= defined


def test_no_operation_and_no_route_is_there_twice(world: World) -> None:
    found = list(operations(world.document))
    ids = [operation["operationId"] for _, _, operation in found]
    shapes = [
        (method, "/".join("{}" if step.startswith("{") else step for step in path.split("/")))
        for method, path, _ in found
    ]
    assert len(set(ids)) == len(ids)
    assert len(set(shapes)) == len(shapes)


def test_every_operation_says_how_it_refuses(world: World) -> None:
    for method, path, operation in operations(world.document):
        for kind in ("4XX", "5XX"):
            assert list(operation["responses"][kind]["content"]) == ["application/problem+json"], (
                method,
                path,
            )


def aimed(case: Any, world: World, *, at_what_is_there: bool) -> Any:
    """Half of what is made up asks for records that are there, for the caller's own system."""
    if at_what_is_there:
        known = world.referred._asdict()
        for parameters in (case.path_parameters, case.query):
            if isinstance(parameters, dict):
                parameters.update({name: known[name] for name in parameters if name in known})
        source = case.body.get("source") if isinstance(case.body, dict) else None
        if isinstance(source, dict) and "system" in source:
            source["system"] = FULL["source"]["system"]
    return case


def fuzz(world: World, operation: Any, mode: GenerationMode) -> set[int]:
    """Ask one operation many made-up things, once for each role that may; the statuses it answered with."""
    examples = EXAMPLES_OF_DOCUMENTS if operation.path in WHOLE_DOCUMENT else EXAMPLES
    statuses: set[int] = set()
    asked = 0

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        nonlocal asked
        asked += 1
        roles = operation.definition.raw.get("x-roles", [None])
        response = aimed(case, world, at_what_is_there=asked % 2 == 0).call(
            headers=world.headers(roles[asked % len(roles)])
        )
        statuses.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    with contextlib.suppress(Unsatisfiable):  # nothing can be wrong about a request that takes nothing
        ask()
    return statuses


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda m: m.value)
async def test_no_made_up_request_is_answered_otherwise_than_documented(
    world: World, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_dict(world.document)
    schema.config.update(base_url=world.hub.base_url)
    answered = {}
    for result in schema.get_all_operations():
        operation = result.ok()
        answered[operation.label] = await asyncio.to_thread(fuzz, world, operation, mode)
    assert len(answered) == len(list(operations(world.document)))
    if mode is GenerationMode.POSITIVE:
        unreached = {label for label, statuses in answered.items() if not statuses & {200, 201, 202, 409}}
        assert unreached <= HARD_TO_REACH
    assert "http.unhandled" not in world.hub.logged
