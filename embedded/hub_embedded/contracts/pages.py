"""The reference pages under ``docs/reference``: what a page is, the referral document, the index."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hub_embedded.contracts.catalogue import Catalogue
from hub_embedded.contracts.json_schemas import meanings, shape
from hub_embedded.contracts.markdown import Place, Reading, table
from hub_schemas import codes, referral_codes
from hub_schemas.referral import Referral

REFERRAL_PAGE: Final = "referral.md"
_GENERATED: Final = "*Made by `scripts/generate_contracts.py`: change the code, then run it.*"
_ABOUT_REFERRAL: Final = """\
What a records system sends of one police report. Almost everything is optional: the answer says how complete
it is and what is missing. `null`, or left out, means not stated, never "no". Instants state their offset.
Fields not named here are refused. Rules between fields (whoever is pointed at is in the document, check
digits hold, nobody was born after it was sent) are checked on receipt, and a refusal names the fields."""
_ABOUT_FILES: Final = """\
The same for machines: [AsyncAPI](../../schemas/asyncapi/referral-hub.json), and OpenAPI and JSON Schema files
beside it under `schemas/`. How they change: [CONTRIBUTING.md](../../CONTRIBUTING.md)."""
_CODE_LISTS: Final[Mapping[str, Mapping[Any, str]]] = {
    "Local authorities": codes.AUTHORITY_NAMES,
    "Assessment factors": referral_codes.FACTORS,
    "Categories of abuse": referral_codes.ABUSE_CATEGORIES,
    "Types of adult abuse": referral_codes.ADULT_ABUSE_TYPES,
    "DfE ethnicities": referral_codes.DFE_ETHNICITIES,
    "Police ethnicities": referral_codes.POLICE_ETHNICITIES,
    "Disabilities": referral_codes.DISABILITIES,
    "Sexes": referral_codes.SEXES,
    "Genders": referral_codes.GENDERS,
    "Reasons for no UPN": referral_codes.UPN_UNKNOWN_REASONS,
    "Sources of a contact": referral_codes.CONTACT_SOURCES,
}


def page(title: str, *sections: Sequence[str]) -> bytes:
    """A page of lines under its title."""
    lines = [f"# {title}", "", _GENERATED, "", *(line for section in sections for line in section)]
    return ("\n".join(lines).rstrip() + "\n").encode()


def code_lists(on: str = REFERRAL_PAGE) -> dict[frozenset[str], Place]:
    """Where the meanings of each coded list stand, by its words; ``on`` is empty on that page itself."""
    return {frozenset(words): Place.on(on, title) for title, words in _CODE_LISTS.items()}


def referral_places(on: str = REFERRAL_PAGE) -> dict[str, Place]:
    """Where each part of the canonical document is described, by its name."""
    return {name: Place.on(on, name) for name in ("Referral", *shape(Referral)["$defs"])}


def referral_page() -> bytes:
    """The canonical referral document: its parts in the order in which they are met, then its code lists."""
    schema, means = shape(Referral), meanings(Referral)
    reading = Reading(referral_places(on=""), code_lists(on=""))
    parts = {"Referral": schema} | {name: schema["$defs"][name] for name in _as_met(schema)}
    sections = [
        [f"## {name}", "", means.get(name, ""), "", *reading.fields(part)] for name, part in parts.items()
    ]
    lists = [_code_list(title, words) for title, words in _CODE_LISTS.items()]
    return page(
        "The referral document",
        [
            _ABOUT_REFERRAL,
            "",
            "As JSON Schema: [Referral.v1.json](../../schemas/json/referral/Referral.v1.json).",
            "",
        ],
        *sections,
        ["## Code lists", ""],
        *lists,
    )


def index_page(catalogue: Catalogue, pages: Mapping[str, str]) -> bytes:
    """All pages, and every schema file of today with what it describes."""
    rows = []
    for contract in catalogue.contracts():
        path = contract.file.path
        means = meanings(contract.kind).get(contract.kind.__name__, "").partition("\n\n")[0]
        rows.append((f"[{path}](../../schemas/json/{path})", means))
    links = [(f"[{name}]({name})", what) for name, what in pages.items()]
    return page(
        "Reference",
        [*table(("page", "what it describes"), links), _ABOUT_FILES, ""],
        ["## Schemas", "", *table(("file under `schemas/json`", "what it describes"), rows)],
    )


def _code_list(title: str, words: Mapping[Any, str]) -> list[str]:
    return [
        f"### {title}",
        "",
        *table(("code", "means"), [(f"`{code}`", said) for code, said in words.items()]),
    ]


def _as_met(schema: dict[str, Any]) -> list[str]:
    """The definitions in the order in which a reader from the top meets them."""
    met: list[str] = []
    pending: list[Any] = [schema["properties"]]
    while pending:
        node = pending.pop(0)
        if isinstance(node, dict):
            name = str(node.get("$ref", "")).rpartition("/")[2]
            if name and name not in met:
                met.append(name)
                pending.append(schema["$defs"][name])
            pending[:0] = [value for key, value in node.items() if key != "default"]
        elif isinstance(node, list):
            pending[:0] = node
    return met
