"""The messages on the bus as AsyncAPI describes them: attributes (headers), data (payload), examples."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from hub_embedded.contracts.catalogue import Contract, SchemaFile
from hub_embedded.contracts.json_schemas import meanings, plain
from hub_embedded.contracts.schema_tree import Schema, hoisted
from hub_partner_gateway.adapters.topic_partners import CONTACT_TYPE, SOURCE
from hub_schemas.envelope import CONTENT_TYPE, SPEC_VERSION
from hub_schemas.inbound import (
    AMENDED,
    AUTHORIZATION_HEADER,
    INFORMED,
    REPLY_TYPE,
    SUBMITTED,
    WITHDRAWN,
)

JSON: Final = "application/json"
KAFKA_BINDING: Final = "0.5.0"
FACT_ATTRIBUTES: Final = "FactAttributes"

_INSTANT: Final = {"type": "string", "format": "date-time"}
_ID: Final = {"type": "string", "format": "uuid"}
_COUNT: Final = {"type": "string", "pattern": "^[1-9][0-9]*$"}
_SPEC: Final = {"type": "string", "const": SPEC_VERSION, "description": "CloudEvents 1.0."}


def _attributes(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """Headers as a schema; names it does not know are allowed, as CloudEvents asks."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }


def _said(schema: Schema, description: str) -> Schema:
    return schema | {"description": description}


def fact_attributes() -> Schema:
    """The attributes of every fact, whatever its service."""
    return _attributes(
        {
            "ce_specversion": _SPEC,
            "ce_id": _said(_ID, "The event's id, the same however often it is sent."),
            "ce_subject": _said({"type": "string"}, "The stream: one referral, assessment or delivery."),
            "ce_time": _said(_INSTANT, "When it was true."),
            "ce_partitionkey": _said(_ID, "The referral's opaque id; also the record's key."),
            "ce_sequence": _said(_COUNT, "The place in its stream, from 1 without gaps."),
            "ce_position": _said(_COUNT, "The place in its service's log, from 1 without gaps."),
            "ce_recordedtime": _said(_INSTANT, "When the log learned it."),
            "ce_correlationid": _said(_ID, "The same along the whole chain one referral sets off."),
            "ce_actor": _said({"type": "string"}, "Which caller or service; never a person's name."),
            "content-type": _said({"type": "string", "const": CONTENT_TYPE}, "What the data is."),
        },
        {
            "ce_causationid": _said(_ID, "The event that led to this one."),
            "ce_keyid": _said(_ID, "Which data key the sealed part is encrypted under."),
            "ce_traceparent": _said({"type": "string"}, "W3C trace context of the request it came from."),
        },
    )


def fact_message(file: SchemaFile, fact: type, example: Any, *, sealed: bool, newest: bool) -> Schema:
    """A version of a fact as a message; its open part is the component of the schema's name."""
    key = f"{file.folder}.{file.name}.v{file.version}"
    properties: dict[str, Schema] = {
        "open": {"$ref": f"#/components/schemas/{key}"},
    }
    if sealed:
        path = SchemaFile(file.folder, file.name, file.version, sealed=True).path
        properties["sealed"] = {
            "type": "string",
            "contentEncoding": "base64",
            "description": f"AES-256-GCM ciphertext; in clear it is as schemas/json/{path} says.",
        }
    means = plain(fact.__doc__ or "")
    return {
        "name": f"{file.name}.v{file.version}",
        "title": file.name,
        "summary": _first_sentence(means),
        "description": means if newest else f"An older version, as it stands in the log. {means}",
        "contentType": CONTENT_TYPE,
        "headers": {
            "allOf": [
                {"$ref": f"#/components/schemas/{FACT_ATTRIBUTES}"},
                _attributes(
                    {
                        "ce_source": {"type": "string", "const": f"/{file.folder}"},
                        "ce_type": {"type": "string", "const": f"{file.name}.v{file.version}"},
                    }
                ),
            ]
        },
        "payload": {
            "type": "object",
            "properties": properties,
            "required": ["open"],
            "additionalProperties": False,
        },
        "bindings": _keyed("The referral's opaque id."),
        "examples": [{"name": file.name, "payload": {"open": example}}],
    }


def inbound_messages() -> dict[str, Schema]:
    """What a records system may post, by the name of the message."""
    document, information, withdrawal = (
        {"$ref": f"#/components/schemas/{name}"}
        for name in ("referral.Referral.v1", "inbound.InformationBody.v1", "inbound.WithdrawalBody.v1")
    )
    return {
        message["title"]: message
        for message in (
            _inbound("SubmitReferral", SUBMITTED, "A referral not posted before.", document, about=False),
            _inbound("AmendReferral", AMENDED, "A later version of a record, whole.", document, about=True),
            _inbound("AddInformation", INFORMED, "Something more became known.", information, about=True),
            _inbound("WithdrawReferral", WITHDRAWN, "A referral is taken back.", withdrawal, about=True),
        )
    }


def reply_message() -> Schema:
    """The answer to one inbound message."""
    return {
        "name": REPLY_TYPE,
        "title": "Reply",
        "summary": "What became of one inbound message.",
        "contentType": JSON,
        "headers": _attributes(
            {
                "ce_specversion": _SPEC,
                "ce_id": _said({"type": "string"}, "The reply's own id."),
                "ce_source": _said({"type": "string"}, "The service that answers."),
                "ce_type": {"type": "string", "const": REPLY_TYPE},
                "content-type": {"type": "string", "const": JSON},
            },
        ),
        "payload": {"$ref": "#/components/schemas/inbound.InboundReply.v1"},
    }


def contact_message(title: str, partners: Sequence[str], payload: str, content_type: str) -> Schema:
    """A contact in the format of one kind of partner system; ``payload`` names the component."""
    return {
        "name": CONTACT_TYPE,
        "title": title,
        "summary": f"For {', '.join(partners)}.",
        "contentType": content_type,
        "headers": _attributes(
            {
                "ce_specversion": _SPEC,
                "ce_id": _said(_ID, "The message id: the same through every retry, so a repeat shows."),
                "ce_source": {"type": "string", "const": SOURCE},
                "ce_type": {"type": "string", "const": CONTACT_TYPE},
                "ce_subject": _said(_ID, "The delivery's id."),
                "ce_time": _said(_INSTANT, "When it was written for the partner."),
                "ce_partitionkey": _said(_ID, "The referral's opaque id; also the record's key."),
                "content-type": {"type": "string", "const": content_type},
            },
        ),
        "payload": {"$ref": f"#/components/schemas/{payload}"},
        "bindings": _keyed("The referral's opaque id."),
    }


def components(schema: Schema, key: str, prefix: str, means: Mapping[str, str]) -> dict[str, Schema]:
    """A schema and its definitions as components: itself under ``key``, the others under ``prefix``."""
    root, definitions = hoisted(schema, lambda name: f"{prefix}.{name}")
    found = {key: root} | definitions
    named = {key: schema.get("title", "")} | {f"{prefix}.{name}": name for name in schema.get("$defs", {})}
    return {
        place: ({"description": means[named[place]]} if named[place] in means else {}) | inner
        for place, inner in found.items()
    }


def contract_components(contracts: Iterable[Contract], sources: Collection[str]) -> dict[str, Schema]:
    """Today's schemas of these contracts as components, with what their docstrings say.

    The facts of one source share what they are made of; a document may stand beside its next version.
    """
    found: dict[str, Schema] = {}
    for contract in contracts:
        file = contract.file
        key = f"{file.folder}.{file.name}.v{file.version}"
        prefix = file.folder if file.folder in sources else key
        found |= components(contract.schema(), key, prefix, meanings(contract.kind))
    return found


def _inbound(title: str, ce_type: str, summary: str, payload: Schema, *, about: bool) -> Schema:
    subject = {"ce_subject": _said(_ID, "The referral's id, as a reply named it.")} if about else {}
    return {
        "name": ce_type,
        "title": title,
        "summary": summary,
        "contentType": JSON,
        "headers": _attributes(
            {
                AUTHORIZATION_HEADER: _said(
                    {"type": "string", "pattern": "^[Bb]earer +[A-Za-z0-9._~+/=-]+$"},
                    "The records system's token, valid when the broker took the message in.",
                ),
                "ce_specversion": _SPEC,
                "ce_id": _said({"type": "string", "minLength": 1}, "The sender's own; the reply names it."),
                "ce_source": _said({"type": "string", "minLength": 1}, "The records system."),
                "ce_type": {"type": "string", "const": ce_type},
                **subject,
            },
            {"content-type": {"type": "string", "const": JSON}},
        ),
        "payload": payload,
    }


def _keyed(description: str) -> Schema:
    return {"kafka": {"key": _said(_ID, description), "bindingVersion": KAFKA_BINDING}}


def _first_sentence(text: str) -> str:
    sentence, dot, _rest = text.replace("\n", " ").partition(". ")
    return sentence + "." if dot else sentence
