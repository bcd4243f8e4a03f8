"""The page about a service's HTTP interface, from its OpenAPI document."""

from collections.abc import Iterator
from typing import Any, Final

from hub_embedded.contracts.markdown import Place, Reading, table
from hub_embedded.contracts.pages import code_lists, page, referral_places
from hub_embedded.contracts.schema_tree import Schema

_REFUSALS: Final = ("4XX", "5XX")
_ABOUT: Final = """\
Every route but health takes a bearer token. Whatever is refused, or fails, is answered with problem details
(RFC 9457): [Problem](#problem) says what is wrong, by field, and what to do."""
_METHODS: Final = ("get", "put", "post", "patch", "delete")


def http_page(name: str, document: Schema) -> bytes:
    """The page: a table of the routes, each route, then the objects they take and give."""
    elsewhere = referral_places()
    schemas: dict[str, Schema] = document["components"]["schemas"]
    own = {name: schema for name, schema in schemas.items() if name not in elsewhere}
    reading = Reading({name: Place.on("", name) for name in own} | elsewhere, code_lists())
    routes = list(_routes(document))
    listed = [
        (f"[`{route}`]({Place.on('', route).link})", _roles(operation), _first_line(operation))
        for route, operation in routes
    ]
    objects = [
        [f"### {title}", "", schema.get("description", ""), "", *reading.fields(schema)]
        for title, schema in own.items()
    ]
    return page(
        f"HTTP: {name}",
        [
            _ABOUT,
            "",
            *table(("route", "for", "what it does"), listed),
        ],
        *[_route(route, operation, reading) for route, operation in routes],
        ["## Objects", ""],
        *objects,
    )


def _routes(document: Schema) -> Iterator[tuple[str, Schema]]:
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                yield f"{method.upper()} {path}", item[method]


def _first_line(operation: Schema) -> str:
    return str(operation["description"]).partition("\n")[0]


def _roles(operation: Schema) -> str:
    return ", ".join(role.replace("_", " ") for role in operation.get("x-roles", ["anybody"]))


def _route(route: str, operation: Schema, reading: Reading) -> list[str]:
    lines = [f"## `{route}`", "", operation["description"], "", f"For: {_roles(operation)}.", ""]
    lines += table(
        ("parameter", "in", "what it takes", "left out"),
        [
            (
                f"`{parameter['name']}`",
                parameter["in"],
                reading.words(parameter["schema"]),
                "required" if parameter.get("required") else "optional",
            )
            for parameter in operation.get("parameters", ())
        ],
    )
    body = operation.get("requestBody", {}).get("content", {})
    lines += table(("body", "what it is"), _contents(body, reading))
    lines += table(("status", "content", "what it is"), _answers(operation, reading))
    return lines


def _contents(content: dict[str, Any], reading: Reading) -> list[tuple[str, str]]:
    found = []
    for media_type, body in content.items():
        schema = body.get("schema", {})
        data = schema.get("properties", {}).get("data")
        told = reading.words(schema) if schema else ""
        found.append(
            (f"`{media_type}`", f"a CloudEvent; its `data`: {reading.words(data)}" if data else told)
        )
    return found


def _answers(operation: Schema, reading: Reading) -> Iterator[tuple[str, str, str]]:
    for status, response in operation["responses"].items():
        if status in _REFUSALS:
            continue
        for media_type, told in _contents(response.get("content", {}), reading) or [("", "")]:
            said = "" if response["description"] == "Successful Response" else response["description"]
            yield status, media_type, ". ".join(part for part in (said.removesuffix("."), told) if part)
