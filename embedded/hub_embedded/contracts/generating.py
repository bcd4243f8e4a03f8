"""Everything that is generated, by its path in the repository, and how it meets what is on file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hub_embedded.contracts import asyncapi, gate
from hub_embedded.contracts.bus_page import bus_page
from hub_embedded.contracts.catalogue import CATALOGUE
from hub_embedded.contracts.http_page import http_page
from hub_embedded.contracts.openapi import describe
from hub_embedded.contracts.pages import REFERRAL_PAGE, index_page, referral_page
from hub_embedded.contracts.schema_tree import Schema, written
from hub_embedded.services import SERVICES

SCHEMAS: Final = "schemas/json"
GOLDEN: Final = "tests/golden/facts"
REMADE: Final = ("schemas/asyncapi", "schemas/openapi", "docs/reference")
"""Folders that hold nothing but what is generated. ``schemas/json`` keeps what no code writes any more."""


class ContractBroken(Exception):
    """Nothing was generated: a contract is broken. Each fault says what to do."""


def on_file(root: Path, *folders: str) -> dict[str, bytes]:
    """The files in these folders of a repository, by their path from its root."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for folder in folders
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }


def generated(root: Path, *, unreleased: bool = False) -> dict[str, bytes]:
    """Every generated file of a repository, as today's code has it.

    ``unreleased`` lets schemas on file be written anew: only for versions no commit holds. Raises
    ``ContractBroken`` naming each fault.
    """
    schemas = gate.with_today(CATALOGUE, _below(root, SCHEMAS), unreleased=unreleased)
    golden = _below(root, GOLDEN)
    if faults := gate.faults(CATALOGUE, schemas, golden):
        raise ContractBroken("\n\n".join(faults))
    return {f"{SCHEMAS}/{path}": content for path, content in schemas.items()} | _described(
        {path: json.loads(content) for path, content in schemas.items() if path != gate.MANIFEST},
        {path: json.loads(content) for path, content in golden.items()},
    )


def _described(schemas: Mapping[str, Schema], examples: Mapping[str, Any]) -> dict[str, bytes]:
    services = describe(SERVICES)
    bus = asyncapi.document(CATALOGUE, schemas, examples, services)
    pages = {"bus.md": "every topic of the bus, and every fact on it", REFERRAL_PAGE: "the referral document"}
    files = {
        "schemas/asyncapi/referral-hub.json": written(bus),
        "docs/reference/bus.md": bus_page(bus),
        f"docs/reference/{REFERRAL_PAGE}": referral_page(),
    }
    for described in services:
        name = described.service.name
        pages[f"http-{name}.md"] = f"the HTTP interface of {name.replace('-', ' ')}"
        files[f"schemas/openapi/{name}.json"] = written(described.document)
        files[f"docs/reference/http-{name}.md"] = http_page(name.replace("-", " "), described.document)
    return files | {"docs/reference/README.md": index_page(CATALOGUE, pages)}


def _below(root: Path, folder: str) -> dict[str, bytes]:
    return {path.removeprefix(f"{folder}/"): content for path, content in on_file(root, folder).items()}
