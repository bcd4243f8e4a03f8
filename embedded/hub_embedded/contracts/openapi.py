"""The OpenAPI 3.1 document of each service, from its routes as they are served; nothing is connected to."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from hub_embedded.contracts.json_schemas import plain
from hub_embedded.contracts.schema_tree import Schema
from hub_intake.api.bodies import InformationBody, WithdrawalBody
from hub_kernel.access_log import AccessLog
from hub_kernel.clock import SystemClock
from hub_kernel.event_store import EventStore
from hub_kernel.heads import HeadFile
from hub_kernel.runtime import _assemble, master_key, token_verifier
from hub_kernel.sealing import Keyring
from hub_kernel.service import Parts, Service, ServiceContext
from hub_kernel.settings import Settings
from hub_kernel.web import Problem
from hub_schemas.referral import Referral

_POINTED_AT: Final[Sequence[type[BaseModel]]] = (Referral, InformationBody, WithdrawalBody, Problem)
"""Models that routes write out in full; a file that is read and compared points at them instead."""
_COMPONENT: Final = "#/components/schemas/"


@dataclass(frozen=True)
class Described:
    """A service as others see it: its HTTP interface, and the sources it hears."""

    service: Service
    document: Schema
    hears: Sequence[str]


def describe(services: Sequence[Service]) -> list[Described]:
    """Put each service together as if it stood alone, and take down what it serves and hears.

    Its pool and bus are not there: putting together opens neither.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.model_construct(
            data_dir=Path(folder)
        )  # the defaults, whatever the environment says
        return [_describe(service, settings) for service in services]


def _describe(service: Service, settings: Settings) -> Described:
    nothing: Any = None
    clock, master = SystemClock(), master_key(settings)
    keyring = Keyring(nothing, master)
    access_store = EventStore(nothing, service.access_schema, clock)
    context = ServiceContext(
        name=service.name,
        schema=service.schema,
        settings=settings,
        clock=clock,
        pool=nothing,
        store=EventStore(nothing, service.schema, clock),
        access_log=AccessLog(access_store, keyring, clock, service.name),
        keyring=keyring,
        master_key=master,
        verifier=token_verifier(settings),
        bus=nothing,
        kafka=None,
        publisher=None,
    )
    parts: Parts = service.build(context)
    heads = HeadFile(settings.data_dir / "heads.jsonl", master)
    hub = _assemble(
        services=[service],
        settings=settings,
        contexts={service.name: context},
        parts={service.name: parts},
        relaying=(),
        heads=heads,
    )
    hears = [consumer.source for consumer in parts.consumers]
    return Described(service, _published(service, hub.app.openapi()), hears)


def _published(service: Service, served: Schema) -> Schema:
    """The served document under the service's own title, large bodies among the components."""
    _, definitions = models_json_schema(
        [(model, "validation") for model in _POINTED_AT], ref_template=f"{_COMPONENT}{{model}}"
    )
    document: Schema = _pointed(served, frozenset(model.__name__ for model in _POINTED_AT))
    schemas = document["components"].get("schemas", {}) | definitions["$defs"]
    published: Schema = _plain(
        document
        | {
            "info": {"title": f"Referral hub: {service.name}", "version": "1"},
            "components": document["components"] | {"schemas": _reached(document, schemas)},
        }
    )
    return published


def _pointed(node: Any, titles: frozenset[str]) -> Any:
    """A copy in which each schema written out under one of these titles is a reference."""
    if isinstance(node, list):
        return [_pointed(item, titles) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("type") == "object" and node.get("title") in titles:
        return {"$ref": f"{_COMPONENT}{node['title']}"}
    return {key: _pointed(value, titles) for key, value in node.items()}


def _reached(document: Schema, schemas: dict[str, Schema]) -> dict[str, Schema]:
    """Only those components something leads to, by name."""
    reached: set[str] = set()
    pending: list[Any] = [document["paths"]]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            name = str(node.get("$ref", "")).removeprefix(_COMPONENT)
            if name in schemas and name not in reached:
                reached.add(name)
                pending.append(schemas[name])
            pending += node.values()
        elif isinstance(node, list):
            pending += node
    return {name: schemas[name] for name in sorted(reached)}


def _plain(node: Any) -> Any:
    """Descriptions as Markdown: they are docstrings."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: plain(value) if key == "description" and isinstance(value, str) else _plain(value)
        for key, value in node.items()
    }
