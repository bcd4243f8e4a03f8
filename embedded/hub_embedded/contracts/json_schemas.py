"""The JSON Schema of a fact's parts, of a document and of a message: closed, and the shape alone.

Meanings (docstrings) are left out of it: they may be put better at any time, a released shape may not change.
"""

import inspect
import json
from typing import Any, Final

import msgspec
from pydantic import BaseModel

from hub_embedded.contracts.schema_tree import Schema, ordered, resolved, rewritten, used_definitions
from hub_schemas.facts import Sealed

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_SEALED_FIELD: Final = "sealed"


def shape(kind: type) -> Schema:
    """The closed schema of a struct or model; of a fact its open part.

    Every object forbids fields it does not name: this is what a producer writes. Readers ignore them.
    """
    raw: Schema = json.loads(json.dumps(_raw(kind)))
    bare = rewritten(raw, _bare)
    schema = rewritten(bare, lambda inner: _short(inner, bare))
    return ordered({"$schema": DIALECT, "title": kind.__name__} | used_definitions(schema))


def sealed_kind(fact: type) -> type[Sealed] | None:
    """The class of a fact's sealed part, if it has one."""
    for field in msgspec.structs.fields(fact):
        if field.name == _SEALED_FIELD:
            parts = (info.cls for info in _parts(msgspec.inspect.type_info(field.type)))
            return next(part for part in parts if issubclass(part, Sealed))
    return None


def meanings(kind: type) -> dict[str, str]:
    """What each object in a kind's schema means, by its name there: the docstrings, as Markdown."""
    raw = _raw(kind)
    described = {kind.__name__: raw} | raw.get("$defs", {})
    return {
        name: plain(inner["description"]) for name, inner in described.items() if inner.get("description")
    }


def plain(docstring: str) -> str:
    """A docstring as Markdown."""
    return inspect.cleandoc(docstring).replace("``", "`")


def _raw(kind: type) -> Schema:
    """What the library says, the root written out, instants and the sealed part seen to."""
    if issubclass(kind, BaseModel):
        return kind.model_json_schema()
    schema = msgspec.json.schema(kind)
    definitions: dict[str, Schema] = schema["$defs"]
    for info in _parts(msgspec.inspect.type_info(kind)):
        fields = definitions[info.cls.__name__]["properties"]
        for field in info.fields:
            fields[field.encode_name] = _with_instants(fields[field.encode_name], field.type)
    root = definitions.pop(kind.__name__)
    root["properties"].pop(_SEALED_FIELD, None)
    return root | {"$defs": definitions}


def _with_instants(schema: Schema, info: msgspec.inspect.Type) -> Schema:
    """Instants are aware, by the house's rule rather than by their type: say so in the schema."""
    match info:
        case msgspec.inspect.DateTimeType():
            return schema | {"format": "date-time"}
        case msgspec.inspect.UnionType(types=types) if any(
            isinstance(part, msgspec.inspect.DateTimeType) for part in types
        ):
            instant = {"type": "string", "format": "date-time"}
            return schema | {"anyOf": [instant, *(s for s in schema["anyOf"] if s != {"type": "string"})]}
        case _:
            return schema


def _parts(info: msgspec.inspect.Type) -> list[msgspec.inspect.StructType]:
    """Every struct in a type, itself included."""
    match info:
        case msgspec.inspect.StructType(fields=fields):
            return [info, *(part for field in fields for part in _parts(field.type))]
        case msgspec.inspect.UnionType(types=types):
            return [part for inner in types for part in _parts(inner)]
        case msgspec.inspect.VarTupleType(item_type=inner):
            return _parts(inner)
        case _:
            return []


def _bare(schema: Schema) -> Schema:
    bare: dict[str, Any] = {
        key: value
        for key, value in schema.items()
        if key not in {"title", "description"} and (key, value) != ("required", [])
    }
    if "properties" in bare:
        bare.setdefault("additionalProperties", False)
    if "enum" in bare and all(isinstance(word, str) for word in bare["enum"]):
        bare["type"] = "string"
    return ordered(bare)


def _short(schema: Schema, root: Schema) -> Schema:
    """A default object without the fields that say no more than their own defaults."""
    if "$ref" not in schema or not isinstance(schema.get("default"), dict):
        return schema
    fields = resolved({"$ref": schema["$ref"]}, root)["properties"]
    said = {name: value for name, value in schema["default"].items() if fields[name].get("default") != value}
    return schema | {"default": said}
