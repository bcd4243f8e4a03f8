"""Every fact is pinned: its golden payload reads back to the same bytes, for ever."""

from pathlib import Path

import msgspec
import pytest

from hub_kernel.access_log import REGISTRY as ACCESS
from hub_schemas import intake, partner_gateway, triage
from hub_schemas.facts import Fact, Sealed
from hub_schemas.registry import Registry, encode_open

GOLDEN = Path(__file__).parents[1] / "golden" / "facts"
REGISTRIES: dict[str, Registry] = {
    "intake": intake.REGISTRY,
    "triage": triage.REGISTRY,
    "partner_gateway": partner_gateway.REGISTRY,
    "access": ACCESS,
}
FACTS = [(name, kind) for name, registry in REGISTRIES.items() for kind in registry]


@pytest.mark.parametrize(("service", "kind"), FACTS, ids=lambda value: getattr(value, "__name__", value))
def test_every_version_of_a_fact_has_a_golden_payload_that_still_reads(
    service: str, kind: type[Fact]
) -> None:
    for version in range(1, kind.schema_version + 1):
        path = GOLDEN / service / f"{kind.__name__}.v{version}.json"
        assert path.exists(), f"{path.name} is missing: add a golden payload for the new fact version"
        stored = path.read_bytes().strip()
        fact = REGISTRIES[service].decode(kind.__name__, version, stored)
        if version == kind.schema_version:
            assert encode_open(fact) == stored


def test_no_golden_payload_is_without_its_fact() -> None:
    known = {
        f"{service}/{kind.__name__}.v{version}.json"
        for service, kind in FACTS
        for version in range(1, kind.schema_version + 1)
    }
    assert {str(path.relative_to(GOLDEN)) for path in GOLDEN.rglob("*.json")} == known


def _fields(kind: type) -> list[tuple[str, str]]:
    found = []
    for field in msgspec.structs.fields(kind):
        found.append((kind.__name__, field.name))
        for part in msgspec.inspect.multi_type_info([field.type]):
            found += [(kind.__name__, name) for name in _nested(part)]
    return found


def _nested(info: msgspec.inspect.Type) -> list[str]:
    if isinstance(info, msgspec.inspect.StructType):
        if issubclass(info.cls, Sealed):
            return []
        return [name for field in info.fields for name in [field.name, *_nested(field.type)]]
    if isinstance(info, msgspec.inspect.UnionType):
        return [name for part in info.types for name in _nested(part)]
    if isinstance(info, msgspec.inspect.VarTupleType):
        return _nested(info.item_type)
    return []


PERSONAL = frozenset(
    [
        "name",
        "names",
        "family_name",
        "given_names",
        "first_name",
        "surname",
        "address",
        "addresses",
        "postcode",
        "date_of_birth",
        "dob",
        "phone",
        "phones",
        "email",
        "nhs_number",
        "upn",
        "narrative",
        "text",
        "record_id",
        "occurrence_number",
        "contact_id",
        "body",
        "document",
    ]
)


@pytest.mark.parametrize(("service", "kind"), FACTS, ids=lambda value: getattr(value, "__name__", value))
def test_no_open_field_is_named_like_personal_data(service: str, kind: type[Fact]) -> None:
    allowed = {("SealedRead", "record_id")}  # the referral's opaque id
    assert {pair for pair in _fields(kind) if pair[1] in PERSONAL} - allowed == set(), service
