"""Instances of a committed schema, made up by Hypothesis, read by today's code."""

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hub_embedded.contracts.catalogue import Reader
from hub_embedded.contracts.schema_tree import Schema, resolved

UNSAYABLE = frozenset(
    [
        "birth_day_unknown",
        "born_expected",
        "born_later",
        "count_differs",
        "nhs_number_check",
        "question_repeated",
        "ref_repeated",
        "ref_unknown",
        "string_too_short",
        "unborn_born",
        "upn_check",
        "upn_known",
    ]
)
"""Rules of documents that no JSON Schema can say: between fields, check digits, text of spaces alone."""
_INSTANTS = st.datetimes(
    datetime(1900, 1, 2),  # noqa: DTZ001  Hypothesis adds the zone
    datetime(2099, 12, 30),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=1))]),
)
_FORMATS = {
    "uuid": st.uuids().map(str),
    "date-time": _INSTANTS.map(datetime.isoformat),
    "date": st.dates(date(1900, 1, 1), date(2099, 12, 31)).map(date.isoformat),
}
_LONGEST_TEXT = 60
_LONGEST_LIST = 3


def instances(schema: Schema, root: Schema) -> st.SearchStrategy[Any]:
    """Whatever a schema allows, in the words our schemas use; bounded, so that examples stay small."""
    schema = resolved(schema, root)
    if "anyOf" in schema:
        return st.one_of([instances(inner, root) for inner in schema["anyOf"]])
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum", [schema.get("const")]))
    made: dict[str, Callable[[], st.SearchStrategy[Any]]] = {
        "object": lambda: _objects(schema, root),
        "array": lambda: _lists(schema, root),
        "string": lambda: _texts(schema),
        "integer": lambda: st.integers(schema.get("minimum"), schema.get("maximum")),
        "boolean": st.booleans,
        "null": st.none,
        "anything": lambda: st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    }
    return made[schema.get("type", "anything")]()


def _lists(schema: Schema, root: Schema) -> st.SearchStrategy[list[Any]]:
    least = schema.get("minItems", 0)
    most = min(schema.get("maxItems", _LONGEST_LIST), max(least, _LONGEST_LIST))
    return st.lists(instances(schema["items"], root), min_size=least, max_size=most)


def _objects(schema: Schema, root: Schema) -> st.SearchStrategy[dict[str, Any]]:
    if "properties" not in schema:
        values = instances(schema["additionalProperties"], root)
        return st.dictionaries(st.text(max_size=10), values, max_size=_LONGEST_LIST)
    fields = {name: instances(inner, root) for name, inner in schema["properties"].items()}
    required = schema.get("required", ())
    return st.fixed_dictionaries(
        {name: fields[name] for name in required},
        optional={name: fields[name] for name in fields if name not in required},
    )


def _texts(schema: Schema) -> st.SearchStrategy[str]:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    least, most = schema.get("minLength", 0), min(schema.get("maxLength", _LONGEST_TEXT), _LONGEST_TEXT)
    if "pattern" not in schema:
        return st.text(min_size=least, max_size=max(least, most))
    ending = re.sub(r"\$$", r"\\Z", schema["pattern"])  # in Python, $ also matches before a last line end
    return st.from_regex(ending, fullmatch=True).filter(
        lambda text: least <= len(text) <= schema.get("maxLength", len(text))
    )


def every_instance(schema: Schema, *, examples: int, check: Callable[[Any], None]) -> None:
    """Call ``check`` with that many made-up instances of a schema; the same ones at every run."""

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(instances(schema, schema))
    def run(instance: Any) -> None:
        check(instance)

    run()


def reads(read: Reader, instance: Any) -> object:
    """Read an instance; one that breaks nothing but rules a schema cannot say counts as read."""
    try:
        return read(json.dumps(instance).encode())
    except ValidationError as refused:
        faults = [
            (error["loc"], error["type"]) for error in refused.errors() if error["type"] not in UNSAYABLE
        ]
        broken = [".".join(map(str, loc)) for loc, kind in faults if not _follows(loc, kind, refused)]
        assert broken == [], "refused, though the schema allows it"
        return None


def _follows(loc: tuple[int | str, ...], kind: str, refused: ValidationError) -> bool:
    """Whether a list is too short only because one of its items was refused."""
    return kind == "too_short" and any(
        error["loc"][: len(loc)] == loc and error["loc"] != loc for error in refused.errors()
    )


def with_unknown_fields(instance: Any) -> Any:
    """The same with a field nobody knows in every object."""
    if isinstance(instance, list):
        return [with_unknown_fields(item) for item in instance]
    if isinstance(instance, dict):
        return {name: with_unknown_fields(value) for name, value in instance.items()} | {"unheard_of": [1]}
    return instance
