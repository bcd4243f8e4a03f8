"""JSON Schemas as trees: every schema within a schema, rewritten, pointed elsewhere, or written as a file."""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

Schema = dict[str, Any]
Change = Callable[[Schema], Schema]

_BY_NAME: Final = ("properties", "$defs")
_LISTED: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE: Final = ("items", "additionalProperties", "propertyNames")
_LOCAL: Final = "#/$defs/"
_ORDER: Final = (
    "$schema", "$id", "title", "description", "$ref", "type", "const", "enum", "format", "pattern", "anyOf",
    "properties", "required", "additionalProperties", "items", "default", "$defs",
)  # fmt: skip


def rewritten(schema: Schema, change: Change) -> Schema:
    """A copy in which every schema, the innermost first, has passed through ``change``."""
    copy = dict(schema)
    for keyword in _BY_NAME:
        if keyword in copy:
            copy[keyword] = {name: rewritten(inner, change) for name, inner in copy[keyword].items()}
    for keyword in _LISTED:
        if keyword in copy:
            copy[keyword] = [rewritten(inner, change) for inner in copy[keyword]]
    for keyword in _SINGLE:
        if isinstance(copy.get(keyword), dict):
            copy[keyword] = rewritten(copy[keyword], change)
    return change(copy)


def ordered(schema: Schema) -> Schema:
    """Keywords and definitions in one order, whatever made them; fields stay as they were declared."""
    rank = {keyword: place for place, keyword in enumerate(_ORDER)}
    copy = {key: schema[key] for key in sorted(schema, key=lambda key: (rank.get(key, len(rank)), key))}
    if "$defs" in copy:
        copy["$defs"] = dict(sorted(copy["$defs"].items()))
    return copy


def resolved(schema: Schema, root: Schema) -> Schema:
    """What a schema says once its reference, if it is one, has been followed inside ``root``."""
    seen = schema
    while "$ref" in seen:
        seen = root["$defs"][seen["$ref"].removeprefix(_LOCAL)] | {
            k: v for k, v in seen.items() if k != "$ref"
        }
    return seen


def used_definitions(schema: Schema) -> Schema:
    """The same without the definitions nothing leads to; without ``$defs`` when none is left."""
    definitions = schema.get("$defs", {})
    body = {key: value for key, value in schema.items() if key != "$defs"}
    used: set[str] = set()
    pending = [body]
    while pending:
        found = set(_references(pending.pop())) - used
        used |= found
        pending += [definitions[name] for name in sorted(found)]
    return body | ({"$defs": {name: definitions[name] for name in sorted(used)}} if used else {})


def hoisted(schema: Schema, place: Callable[[str], str]) -> tuple[Schema, dict[str, Schema]]:
    """A schema whose definitions stand among a document's components: itself, and those by their names there.

    ``place`` gives the name of a definition among the components.
    """

    def point(inner: Schema) -> Schema:
        if inner.get("$ref", "").startswith(_LOCAL):
            name = place(inner["$ref"].removeprefix(_LOCAL))
            return inner | {"$ref": f"#/components/schemas/{name}"}
        return {key: value for key, value in inner.items() if key not in {"$schema", "$id"}}

    moved = rewritten(schema, point)
    definitions = moved.pop("$defs", {})
    return moved, {place(name): inner for name, inner in definitions.items()}


def written(document: Any) -> bytes:
    """A JSON file as it is committed."""
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"].removeprefix(_LOCAL)
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from _references(inner)
