"""The AsyncAPI document, as the project that keeps AsyncAPI reads it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests import node_packages

DOCUMENT = Path(__file__).parents[2] / "schemas" / "asyncapi" / "referral-hub.json"
Json = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def packages() -> Path:
    return node_packages.installed()


def faults(document: Path) -> list[str]:
    found: list[str] = json.loads(node_packages.run("asyncapi_faults.cjs", document))
    return found


@pytest.mark.timeout(600)
def test_the_official_parser_finds_no_error_in_the_document() -> None:
    assert faults(DOCUMENT) == []


def with_a_field_of_no_known_type(document: Json) -> None:
    document["components"]["schemas"]["intake.ReferralSummary"]["properties"]["force"]["type"] = "words"


def leading_nowhere(document: Json) -> None:
    document["operations"]["takeReferrals"]["channel"]["$ref"] = "#/channels/nowhere"


@pytest.mark.parametrize("spoil", [with_a_field_of_no_known_type, leading_nowhere])
def test_the_official_parser_finds_what_is_wrong(spoil: Callable[[Json], None], tmp_path: Path) -> None:
    document = json.loads(DOCUMENT.read_bytes())
    spoil(document)
    path = tmp_path / "spoilt.json"
    path.write_text(json.dumps(document))
    assert faults(path) != []


def test_where_node_is_missing_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(node_packages.NodeMissing, match="with npm is needed for this test: install it"):
        node_packages.run("asyncapi_faults.cjs", DOCUMENT)
