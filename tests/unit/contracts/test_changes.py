from typing import Any

import pytest

from hub_embedded.contracts.changes import Difference, differences


def closed(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "additionalProperties": False}


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ({"type": "string"}, {"type": "string", "pattern": "^a"}, "pattern was not stated, is ^a"),
        ({"type": "string"}, {"type": "string", "maxLength": 5}, "maxLength tightened (none, now 5)"),
        ({"type": "array", "items": {}}, {"type": "array"}, "items changed"),
        ({"type": "string"}, {"type": "string", "enum": ["a", "b"]}, "now takes only a, b"),
        ({"const": 1, "type": "integer"}, {"const": 2, "type": "integer"}, "no longer takes 1"),
        ({}, {"type": "string"}, "was any, is string"),
    ],
)
def test_what_old_data_may_break_on_is_found(old: dict[str, Any], new: dict[str, Any], found: str) -> None:
    name = "field[]" if found == "items changed" else "field"
    assert differences(closed(field=old), closed(field=new))[0] == Difference(name, found, breaks=True)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ({"type": "string", "maxLength": 5}, {"type": "string"}, "maxLength loosened (5, now none)"),
        ({"type": "string", "enum": ["a"]}, {"type": "string"}, "now takes any word"),
        ({"type": "string"}, {"anyOf": [{"type": "string"}, {"type": "null"}]}, "now also takes null"),
        ({"type": "integer", "minimum": 1}, {"type": "integer", "minimum": 0}, "minimum loosened (1, now 0)"),
    ],
)
def test_what_old_data_does_not_break_on_is_told_apart(
    old: dict[str, Any], new: dict[str, Any], found: str
) -> None:
    assert differences(closed(field=old), closed(field=new)) == [Difference("field", found, breaks=False)]


def test_definitions_are_followed_and_may_change_their_names() -> None:
    old = closed(place={"$ref": "#/$defs/Place"}) | {"$defs": {"Place": closed(name={"type": "string"})}}
    new = closed(place={"$ref": "#/$defs/Spot"}) | {"$defs": {"Spot": closed(name={"type": "string"})}}
    assert differences(old, new) == []
    new["$defs"]["Spot"] = closed(name={"type": "integer"})
    assert differences(old, new) == [Difference("place.name", "was string, is integer", breaks=True)]


def test_values_of_a_map_are_compared() -> None:
    old = closed(faults={"type": "object", "additionalProperties": {"type": "string"}})
    new = closed(faults={"type": "object", "additionalProperties": {"type": "integer"}})
    assert differences(old, new) == [Difference("faults.*", "was string, is integer", breaks=True)]
