"""What the routes that read their own bytes say about their bodies in the OpenAPI document."""

from typing import Any

from pydantic import BaseModel

from hub_intake.api.cloudevents import EVENT_TYPE, STRUCTURED
from hub_schemas.referral import Referral

_DEFS = "#/$defs/"


def referral_body() -> dict[str, Any]:
    """One referral: plain JSON (or the data of a binary-mode CloudEvent), or a structured-mode CloudEvent."""
    schema = inlined(Referral)
    envelope = {
        "type": "object",
        "required": ["specversion", "id", "source", "type", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "minLength": 1},
            "source": {"type": "string", "minLength": 1},
            "type": {"const": EVENT_TYPE},
            "datacontenttype": {"const": "application/json"},
            "data": schema,
        },
    }
    return _body({"application/json": {"schema": schema}, STRUCTURED: {"schema": envelope}})


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """A JSON body of this model."""
    return _body({"application/json": {"schema": inlined(model)}})


def lines_body() -> dict[str, Any]:
    """Referrals, one JSON document a line."""
    return _body({"application/x-ndjson": {"schema": {"type": "string"}}})


def inlined(model: type[BaseModel]) -> dict[str, Any]:
    """A model's JSON Schema with every definition written out where it is used.

    Definitions inside a request body cannot be pointed at from the OpenAPI document's root.
    """
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def write_out(node: Any) -> Any:
        if isinstance(node, list):
            return [write_out(item) for item in node]
        if not isinstance(node, dict):
            return node
        if (ref := node.get("$ref", "")).startswith(_DEFS):
            return write_out(
                definitions[ref.removeprefix(_DEFS)] | {k: v for k, v in node.items() if k != "$ref"}
            )
        return {key: write_out(value) for key, value in node.items()}

    written: dict[str, Any] = write_out(schema)
    return written


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}}
