"""The AsyncAPI 3.0 document of the whole hub: every topic, who writes and who reads it, and what is on it."""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import groupby
from typing import Any, Final, NamedTuple, get_args

from hub_embedded.contracts.catalogue import Catalogue, SchemaFile
from hub_embedded.contracts.messages import (
    FACT_ATTRIBUTES,
    KAFKA_BINDING,
    components,
    contact_message,
    contract_components,
    fact_attributes,
    fact_message,
    inbound_messages,
    reply_message,
)
from hub_embedded.contracts.openapi import Described
from hub_embedded.contracts.schema_tree import Schema
from hub_kernel.kafka.connection import MAX_MESSAGE_BYTES
from hub_partner_gateway.adapters.package_files import read_partner_files
from hub_partner_gateway.adapters.topic_partners import RETENTION_MS
from hub_schemas.codes import AUTHORITY_NAMES, Agency, Authority
from hub_schemas.topics import INBOUND_TOPIC, REPLIES_TOPIC, facts_topic, partner_topic

_DESCRIPTION: Final = """\
What crosses the bus, in CloudEvents 1.0 binary mode (Kafka protocol binding): attributes in headers, data in
the value. Nothing personal stands in a header, a key or the open part of a fact. Delivery is at least
once and in order within a key: a reader drops what it has seen before, by `ce_id`, or by `ce_subject` and
`ce_sequence`. An installation may put one prefix before the name of every topic."""
_SERVER: Final[Schema] = {
    "host": "{brokers}",
    "protocol": "kafka-secure",
    "description": "Apache Kafka over TLS. Access control lists say who may read and write which topic.",
    "variables": {"brokers": {"description": "The bootstrap servers, as the hub's operator names them."}},
    "security": [
        {"$ref": f"#/components/securitySchemes/{name}"} for name in ("scram512", "scram256", "certificate")
    ],
}
_SECURITY: Final[Schema] = {
    "scram512": {"type": "scramSha512", "description": "SASL SCRAM-SHA-512."},
    "scram256": {"type": "scramSha256", "description": "SASL SCRAM-SHA-256."},
    "certificate": {"type": "X509", "description": "A client certificate of the hub's own authority."},
}


def document(
    catalogue: Catalogue,
    schemas: Mapping[str, Schema],
    examples: Mapping[str, Any],
    services: Sequence[Described],
) -> Schema:
    """The document. ``schemas`` and ``examples``: the schema files and golden payloads, by relative path."""
    facts = {
        described.service.schema: dict(_facts(catalogue, described.service.schema, schemas, examples))
        for described in services
        if tuple(described.service.registry)
    }
    contacts = {contact.name: contact for contact in _contacts()}
    inbound = inbound_messages()
    messages: dict[str, Schema] = {
        **{f"{source}.{name}": message for source, own in facts.items() for name, message in own.items()},
        **inbound,
        "Reply": reply_message(),
        **{name: contact.message for name, contact in contacts.items()},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Referral hub", "version": "1", "description": _DESCRIPTION},
        "defaultContentType": "application/json",
        "servers": {"cluster": _SERVER},
        "channels": {
            **{_camel(source, "facts"): _facts_channel(source, own) for source, own in facts.items()},
            "inbound": _channel(
                INBOUND_TOPIC,
                "Where records systems post. Each message is answered.",
                {n: n for n in inbound},
            ),
            "replies": _channel(REPLIES_TOPIC, "What became of each inbound message.", {"Reply": "Reply"}),
            "contacts": _contacts_channel(contacts),
        },
        "operations": _operations(services, facts),
        "components": {
            "securitySchemes": _SECURITY,
            "messages": messages,
            "schemas": {
                FACT_ATTRIBUTES: fact_attributes(),
                **_schemas(catalogue, schemas, set(facts)),
                **{key: schema for contact in contacts.values() for key, schema in contact.schemas.items()},
            },
        },
    }


def _facts(
    catalogue: Catalogue, source: str, schemas: Mapping[str, Schema], examples: Mapping[str, Any]
) -> Iterator[tuple[str, Schema]]:
    """Every version of a service's facts that a reader may meet: the logs keep them all."""
    for fact in catalogue.registries[source]:
        for version in range(1, fact.schema_version + 1):
            file = SchemaFile(source, fact.__name__, version)
            message = fact_message(
                file,
                fact,
                examples[file.path],
                sealed=file._replace(sealed=True).path in schemas,
                newest=version == fact.schema_version,
            )
            yield f"{file.name}.v{version}", message


def _schemas(catalogue: Catalogue, schemas: Mapping[str, Schema], sources: set[str]) -> dict[str, Schema]:
    """Today's schemas with what their docstrings say; older versions as they are on file."""
    wanted = sources | {document.folder for document in catalogue.documents}
    today = [c for c in catalogue.contracts() if c.file.folder in wanted and not c.file.sealed]
    found = contract_components(today, sources)
    older = {SchemaFile.at(path): schema for path, schema in schemas.items()}
    for file, schema in older.items():
        if file is not None and file.folder in sources and not file.sealed:
            key = f"{file.folder}.{file.name}.v{file.version}"
            found = components(schema, key, key, {}) | found if key not in found else found
    return found


class _Contact(NamedTuple):
    name: str
    message: Schema
    schemas: dict[str, Schema]


def _contacts() -> Iterator[_Contact]:
    """One message for each format of contact that ships, with the partners that take it."""
    shipped = read_partner_files(files("hub_partner_gateway") / "partners")
    profiles = {
        path.removesuffix("/profile.toml"): tomllib.loads(content.decode())
        for path, content in sorted(shipped.items())
        if path.endswith("/profile.toml")
    }

    def schema_file(folder: str) -> str:
        own = f"{folder}/schema.json"
        return own if own in shipped else f"shapes/{profiles[folder]['shape']}/schema.json"

    for path, folders in groupby(sorted(profiles, key=schema_file), schema_file):
        schema = json.loads(shipped[path])
        name = "".join(part.capitalize() for part in path.split("/")[1:-1]) + "Contact"
        named = [_partner(profiles[folder]) for folder in folders]
        shape = tomllib.loads(shipped[path.replace("schema.json", "shape.toml")].decode())
        message = contact_message(schema["title"], named, f"contact.{name}", shape["content_type"])
        yield _Contact(name, message, components(schema, f"contact.{name}", f"contact.{name}", {}))


def _partner(profile: Mapping[str, Any]) -> str:
    authority: Authority = profile["authority"]
    agency = profile["agency"].replace("_", " ").replace("childrens", "children's")
    return f"{AUTHORITY_NAMES[authority]} {agency}"


def _channel(address: str, description: str, messages: Mapping[str, str]) -> Schema:
    return {
        "address": address,
        "description": description,
        "messages": {name: {"$ref": f"#/components/messages/{key}"} for name, key in messages.items()},
        "bindings": {
            "kafka": {
                "topicConfiguration": {"cleanup.policy": ["delete"], "max.message.bytes": MAX_MESSAGE_BYTES},
                "bindingVersion": KAFKA_BINDING,
            }
        },
    }


def _facts_channel(source: str, messages: Mapping[str, Schema]) -> Schema:
    channel = _channel(
        facts_topic(source),
        f"The facts of {source.replace('_', ' ')}, every one ever recorded, kept for ever.",
        {name: f"{source}.{name}" for name in messages},
    )
    channel["bindings"]["kafka"]["topicConfiguration"]["retention.ms"] = -1
    return channel


def _contacts_channel(contacts: Mapping[str, _Contact]) -> Schema:
    channel = _channel(
        partner_topic("{authority}", "{agency}"),
        "One agency's contacts, in its own system's format, with only what it may see; kept for "
        f"{RETENTION_MS // 86_400_000} days.",
        {name: name for name in contacts},
    )
    channel["bindings"]["kafka"]["topicConfiguration"]["retention.ms"] = RETENTION_MS
    authorities = ", ".join(f"{code} {name}" for code, name in AUTHORITY_NAMES.items())
    channel["parameters"] = {
        "authority": {"enum": list(get_args(Authority)), "description": f"By DfE code: {authorities}."},
        "agency": {"enum": list(get_args(Agency)), "description": "Which service of the authority."},
    }
    return channel


def _operations(services: Sequence[Described], facts: Mapping[str, Mapping[str, Schema]]) -> Schema:
    """Who writes to and who reads each channel, seen from the hub."""
    operations: Schema = {}
    for described in services:
        name, source = described.service.name, described.service.schema
        if source in facts:
            operations[_camel(source, "records")] = _operation("send", _camel(source, "facts"), name)
        for heard in described.hears:
            operations[_camel(source, "hears", heard)] = _operation("receive", _camel(heard, "facts"), name)
    reply = {
        "channel": {"$ref": "#/channels/replies"},
        "messages": [{"$ref": "#/channels/replies/messages/Reply"}],
    }
    operations["takeReferrals"] = _operation("receive", "inbound", "intake") | {"reply": reply}
    operations["sendContacts"] = _operation("send", "contacts", "partner-gateway")
    return operations


def _operation(action: str, channel: str, service: str) -> Schema:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "tags": [{"name": service.replace("-", " ")}],
    }


def _camel(*words: str) -> str:
    first, *rest = [part for word in words for part in word.split("_")]
    return first + "".join(part.capitalize() for part in rest)
