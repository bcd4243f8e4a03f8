"""The page about the bus, from the AsyncAPI document: topics, what is on them, what each field takes."""

from collections.abc import Iterator
from typing import Any, Final

from hub_embedded.contracts.markdown import Place, Reading, folded, table
from hub_embedded.contracts.messages import FACT_ATTRIBUTES
from hub_embedded.contracts.pages import REFERRAL_PAGE, code_lists, page, referral_places
from hub_embedded.contracts.schema_tree import Schema

_REFERRAL: Final = "referral.Referral.v1"
_COMPONENT: Final = "#/components/schemas/"
_FACTS: Final = "Facts"
_ABOUT_ATTRIBUTES: Final = """\
In the headers of every fact, whatever its service; `ce_source` is the service, `ce_type` the fact and its
version. The data is an object of `open`, described with each fact, and for some `sealed`: ciphertext under
the referral's own key, which only the hub holds. Readers ignore attributes and fields they do not know."""


def bus_page(document: Schema) -> bytes:
    """The page. Every facts topic is a section; so are posting by bus, replies, and partners' contacts."""
    schemas: dict[str, Schema] = document["components"]["schemas"]
    reading = Reading(_places(schemas), code_lists())
    sections = [_topics(document), _attributes(schemas[FACT_ATTRIBUTES], reading)]
    for name, channel in document["channels"].items():
        messages = [
            document["components"]["messages"][reference["$ref"].rpartition("/")[2]]
            for reference in channel["messages"].values()
        ]
        if name.endswith(_FACTS):
            sections.append(_facts(channel, messages, schemas, reading))
        else:
            sections.append(_exchange(channel, messages, schemas, reading))
    return page("The bus", [document["info"]["description"], ""], *sections)


def _places(schemas: dict[str, Schema]) -> dict[str, Place]:
    """Where each component is described: on this page, or the referral's parts on theirs."""
    places = {name: Place.on("", _title(name)) for name in schemas}
    parts = {f"{_REFERRAL}.{name}": place for name, place in referral_places().items()}
    return places | parts | {_REFERRAL: Place.on(REFERRAL_PAGE, "Referral")}


def _title(component: str) -> str:
    """``intake.ReferralReceived.v1`` is read as ``ReferralReceived``."""
    named = [step for step in component.split(".") if not (step[0] == "v" and step[1:].isdigit())]
    return named[-1]


def _topics(document: Schema) -> list[str]:
    rows = []
    for name, channel in document["channels"].items():
        written_by, heard_by = (_services(document, name, action) for action in ("send", "receive"))
        rows.append((f"`{channel['address']}`", channel["description"], written_by, heard_by))
    return ["## Topics", "", *table(("topic", "what is on it", "the hub writes", "the hub reads"), rows)]


def _services(document: Schema, channel: str, action: str) -> str:
    """Which services do this on a channel; whoever takes a message that is answered also sends the answer."""
    reference = {"$ref": f"#/channels/{channel}"}
    found = [
        operation["tags"][0]["name"]
        for operation in document["operations"].values()
        if (operation["channel"] == reference and operation["action"] == action)
        or (operation.get("reply", {}).get("channel") == reference and action == "send")
    ]
    return ", ".join(found)


def _attributes(attributes: Schema, reading: Reading) -> list[str]:
    return [
        "## Attributes of a fact",
        "",
        _ABOUT_ATTRIBUTES,
        "",
        *reading.fields(attributes),
    ]


def _facts(
    channel: Schema, messages: list[Schema], schemas: dict[str, Schema], reading: Reading
) -> list[str]:
    lines = [f"## `{channel['address']}`", "", channel["description"], ""]
    used: list[str] = []
    for message in messages:
        reference = message["payload"]["properties"]["open"]["$ref"].removeprefix(_COMPONENT)
        lines += [f"### {message['title']}", "", message["description"], ""]
        lines += [f"`ce_type` `{message['name']}`; {_schema_files(message, reference)}.", ""]
        lines += reading.fields(schemas[reference])
        lines += folded("Example of the open part", message["examples"][0]["payload"]["open"])
        used += [part for part in _below(schemas[reference], schemas) if part not in used]
    return lines + _parts(used, schemas, reading)


def _schema_files(message: Schema, component: str) -> str:
    source, name, version = component.split(".")
    file = f"{name}.{version}.json"
    said = f"schema [{file}](../../schemas/json/{source}/{file})"
    if "sealed" not in message["payload"]["properties"]:
        return f"{said}; nothing is sealed"
    file = f"{name}.{version}.sealed.json"
    return f"{said}; sealed part [{file}](../../schemas/json/{source}/{file})"


def _exchange(
    channel: Schema, messages: list[Schema], schemas: dict[str, Schema], reading: Reading
) -> list[str]:
    lines = [f"## `{channel['address']}`", "", channel["description"], ""]
    lines += table(
        ("part of the name", "one of", "means"),
        [
            (f"`{name}`", ", ".join(f"`{word}`" for word in parameter["enum"]), parameter["description"])
            for name, parameter in channel.get("parameters", {}).items()
        ],
    )
    used: list[str] = []
    for message in messages:
        reference = message["payload"]["$ref"].removeprefix(_COMPONENT)
        lines += [f"### {message['title']}", "", message["summary"], "", "Headers:", ""]
        lines += reading.fields(message["headers"])
        lines += [f"Data: {reading.words(message['payload'])}.", ""]
        found = [reference, *_below(schemas[reference], schemas)]
        used += [part for part in found if part not in used and not part.startswith(_REFERRAL)]
    return lines + _parts(used, schemas, reading)


def _parts(names: list[str], schemas: dict[str, Schema], reading: Reading) -> list[str]:
    lines: list[str] = []
    for name in names:
        described = schemas[name].get("description", "")
        lines += [
            f"### {_title(name)}",
            "",
            *([described, ""] if described else []),
            *reading.fields(schemas[name]),
        ]
    return lines


def _below(schema: Schema, schemas: dict[str, Schema]) -> Iterator[str]:
    """The components a schema stands on, each once, in the order in which they are met."""
    seen: set[str] = set()
    pending: list[Any] = [schema]
    while pending:
        node = pending.pop(0)
        if isinstance(node, dict):
            name = str(node.get("$ref", "")).removeprefix(_COMPONENT)
            if name in schemas and name not in seen:
                seen.add(name)
                yield name
                pending.append(schemas[name])
            pending[:0] = list(node.values())
        elif isinstance(node, list):
            pending[:0] = node
