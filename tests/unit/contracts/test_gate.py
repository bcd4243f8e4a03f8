"""The gate refuses what would break a contract, and says how to evolve instead."""

import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from tests.unit.contracts.reading_back import every_instance, reads

from hub_embedded.contracts.catalogue import Catalogue, Document, SchemaFile
from hub_embedded.contracts.gate import MANIFEST, faults, with_today
from hub_schemas.facts import Fact, Sealed
from hub_schemas.registry import Registry, Upcaster

Field = tuple[str, Any] | tuple[str, Any, Any]
MOVED: dict[str, Field] = {
    "thing_id": ("thing_id", UUID),
    "to": ("to", Literal["north", "south"]),
    "weight": ("weight", Annotated[int, msgspec.Meta(ge=0, le=100)]),
    "note": ("note", str | None, None),
}
ANOTHER_DEFAULT = "note: another default: old data that left it out says something else"
GOLDEN = {"made_up/Moved.v1.json"}

REFUSED = """\
made_up Moved version 1 is released, and its class has changed:
  - weight: removed
What was recorded as version 1 stays for ever and must read. Leave that version as it was, and evolve:
  1. in hub_schemas/made_up.py set schema_version to 2 on Moved, and make the change there;
  2. add an upcaster ("Moved", 1) to its REGISTRY that turns the old open part into the new one;
  3. write its golden payload: python scripts/new_golden.py made_up Moved < draft.json;
  4. run python scripts/generate_contracts.py.
If it means something else, rather than looks different, record a fact with a new name instead."""
NOT_IN_PLACE = """\
post Letter version 1 is released, and its class has changed:
  - text: removed
Others were promised version 1. Leave Letter as it was, and evolve:
  1. write the next version as a class of its own, and list it beside this one, as Letter version 2,
     in CATALOGUE (hub_embedded/contracts/catalogue.py);
  2. take or give both for as long as anybody uses version 1;
  3. run python scripts/generate_contracts.py."""
NOT_LIFTED = (
    'made_up Moved version 1 is not lifted to version 2: add an upcaster ("Moved", 1) to the registry in '
    "hub_schemas/made_up.py."
)
NO_GOLDEN = (
    "made_up Moved version 2 has no golden payload: write it with python scripts/new_golden.py made_up "
    "Moved < draft.json."
)
UNREAD = (
    "made_up Moved version 1 has no reader any more, and what was written by it stays for ever: bring its "
    "class back."
)


class Driver(Sealed, frozen=True, kw_only=True):
    """Who drove."""

    words: str


def moved(changed: dict[str, Field | None] | None = None, version: int = 1) -> type[Fact]:
    """The made-up fact, with some fields changed, added, or (``None``) gone."""
    fields = [field for field in (MOVED | (changed or {})).values() if field is not None]
    return msgspec.defstruct(
        "Moved",
        fields,
        bases=(Fact,),
        namespace={"schema_version": version, "__doc__": "A thing was moved."},
        module="hub_schemas.made_up",
        frozen=True,
        kw_only=True,
    )


def catalogue(fact: type[Fact], upcasters: dict[tuple[str, int], Upcaster] | None = None) -> Catalogue:
    return Catalogue({"made_up": Registry((fact,), upcasters)})


ON_FILE = with_today(catalogue(moved()), {})


def named(changed: dict[str, Field | None]) -> list[str]:
    """The lines of the one fault that name fields."""
    [fault] = faults(catalogue(moved(changed)), ON_FILE, GOLDEN)
    return [line.removeprefix("  - ") for line in fault.splitlines() if line.startswith("  - ")]


def test_an_unchanged_fact_breaks_nothing() -> None:
    assert faults(catalogue(moved()), ON_FILE, GOLDEN) == []


def test_a_breaking_change_is_refused_by_name_and_told_how_to_evolve() -> None:
    assert faults(catalogue(moved({"weight": None})), ON_FILE, GOLDEN) == [REFUSED]


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"weight": None}, ["weight: removed"]),
        (
            {"note": ("note", str | None)},
            ["note: newly required", ANOTHER_DEFAULT],
        ),
        ({"speed": ("speed", int)}, ["speed: added, and required"]),
        ({"weight": ("weight", str)}, ["weight: was integer, is string"]),
        ({"to": ("to", Literal["north"])}, ["to: no longer takes south"]),
        (
            {"weight": ("weight", Annotated[int, msgspec.Meta(ge=0, le=50)])},
            ["weight: maximum tightened (100, now 50)"],
        ),
        (
            {"weight": ("weight", Annotated[int, msgspec.Meta(ge=1, le=100)])},
            ["weight: minimum tightened (0, now 1)"],
        ),
        ({"note": ("note", str, "")}, ["note: no longer takes null", ANOTHER_DEFAULT]),
        (
            {"thing_id": ("thing_id", str)},
            ["thing_id: format was uuid, is not stated (old data still reads)"],
        ),
        (
            {"to": ("to", Literal["north", "south", "west"])},
            ["to: now also takes west (old data still reads)"],
        ),
        ({"speed": ("speed", int, 0)}, ["speed: added (old data still reads)"]),
    ],
)
def test_every_change_inside_a_released_version_is_named(
    changed: dict[str, Field | None], what: list[str]
) -> None:
    assert named(changed) == what


def test_a_change_inside_a_part_of_a_fact_is_named_by_its_path() -> None:
    def carrying(*fields: Field) -> type[Fact]:
        load = msgspec.defstruct("Load", fields, frozen=True)
        return moved({"loads": ("loads", tuple[load, ...])})

    on_file = with_today(catalogue(carrying(("kind", str), ("count", int))), {})
    [fault] = faults(catalogue(carrying(("kind", str))), on_file, GOLDEN)
    assert "  - loads[].count: removed\n" in fault


def test_a_raised_version_needs_an_upcaster_and_a_golden_payload() -> None:
    raised = moved({"weight": None}, version=2)
    on_file = with_today(catalogue(raised), ON_FILE)
    assert faults(catalogue(raised), on_file, GOLDEN) == [NOT_LIFTED, NO_GOLDEN]


def test_a_raised_version_with_all_it_needs_breaks_nothing() -> None:
    raised = catalogue(
        moved({"speed": ("speed", int)}, version=2), {("Moved", 1): lambda old: old | {"speed": 0}}
    )
    on_file = with_today(raised, ON_FILE)
    assert sorted(on_file) == ["made_up/Moved.v1.json", "made_up/Moved.v2.json", MANIFEST]
    assert on_file["made_up/Moved.v1.json"] == ON_FILE["made_up/Moved.v1.json"]
    assert faults(raised, on_file, GOLDEN | {"made_up/Moved.v2.json"}) == []


def forgets(old: dict[str, Any]) -> dict[str, Any]:
    return old


def trips(old: dict[str, Any]) -> dict[str, Any]:
    return old | {"speed": len(old.get("note", ""))}


@pytest.mark.parametrize("upcaster", [forgets, trips])
def test_an_upcaster_that_cannot_lift_all_that_was_ever_allowed_is_found(
    upcaster: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    raised = catalogue(moved({"speed": ("speed", int)}, version=2), {("Moved", 1): upcaster})
    read = raised.reader(SchemaFile("made_up", "Moved", 1))
    assert read is not None
    schema = json.loads(ON_FILE["made_up/Moved.v1.json"])
    with pytest.raises((msgspec.ValidationError, TypeError)):
        every_instance(schema, examples=30, check=lambda instance: reads(read, instance))


def test_a_sealed_part_has_a_schema_of_its_own_and_no_upcaster() -> None:
    sealed = {"sealed": ("sealed", Driver | msgspec.UnsetType, msgspec.UNSET)}
    on_file = with_today(catalogue(moved(sealed)), {})
    assert "made_up/Moved.v1.sealed.json" in on_file
    assert b"words" not in on_file["made_up/Moved.v1.json"]
    other = msgspec.defstruct("Driver", [("name", str)], bases=(Sealed,), frozen=True, kw_only=True)
    changed = moved({"sealed": ("sealed", other | msgspec.UnsetType, msgspec.UNSET)})
    [fault] = faults(catalogue(changed), on_file, GOLDEN)
    assert fault.startswith(
        "made_up Moved version 1 (sealed part) is released, and its class has changed:\n"
        "  - words: removed\n"
        "  - name: added, and required\n"
    )
    assert "A sealed part has no upcaster: no field of Driver may go or change" in fault


def test_a_fact_that_is_no_longer_known_is_missed() -> None:
    assert faults(Catalogue({"made_up": Registry(())}), ON_FILE, ()) == [UNREAD]


def test_a_schema_on_file_may_be_neither_edited_nor_removed_nor_slipped_in() -> None:
    path = "made_up/Moved.v1.json"
    edited = ON_FILE | {path: ON_FILE[path].replace(b"100", b"200")}
    [first, *_rest] = faults(catalogue(moved()), edited, GOLDEN)
    assert first.startswith(f"{path} is released and was edited: bring it back as it was.")
    removed = {MANIFEST: ON_FILE[MANIFEST]}
    [first, *_rest] = faults(catalogue(moved()), removed, GOLDEN)
    assert first.startswith(f"{path} is released and is gone: bring it back")
    slipped = ON_FILE | {"made_up/Moved.v7.sealed.json": b"{}"}
    assert faults(catalogue(moved()), slipped, GOLDEN)[0] == (
        f"made_up/Moved.v7.sealed.json is not in {MANIFEST}: remove it, then run "
        "python scripts/generate_contracts.py."
    )


def test_a_schema_on_file_is_written_anew_only_when_it_is_said_to_be_unreleased() -> None:
    changed = catalogue(moved({"weight": None}))
    assert with_today(changed, ON_FILE) == ON_FILE
    anew = with_today(changed, ON_FILE, unreleased=True)
    assert faults(changed, anew, GOLDEN) == []
    assert anew == with_today(changed, {})


def test_a_changed_document_is_told_to_become_a_class_beside_the_old_one() -> None:
    def letters(fields: Sequence[Field]) -> Catalogue:
        letter = msgspec.defstruct("Letter", fields, module="hub_schemas.made_up", frozen=True)
        return Catalogue({}, (Document("post", letter, "Letter", 1),))

    on_file = with_today(letters([("to", str), ("text", str)]), {})
    assert faults(letters([("to", str)]), on_file, ()) == [NOT_IN_PLACE]
