"""In what two closed schemas differ, field by field, and whether data written by the old one still reads."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from hub_embedded.contracts.schema_tree import Schema, resolved

_LOWER_BOUNDS: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER_BOUNDS: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_COMPARED_ELSEWHERE: Final = frozenset(
    {"$schema", "$id", "$defs", "title", "type", "const", "enum", "properties", "required", "items", "anyOf"}
    | {"additionalProperties", *_LOWER_BOUNDS, *_UPPER_BOUNDS}
)
_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """One field's change. ``breaks``: what the old schema allowed may no longer read, or read otherwise."""

    field: str
    what: str
    breaks: bool

    def __str__(self) -> str:
        return f"{self.field}: {self.what}" + ("" if self.breaks else " (old data still reads)")


def differences(old: Schema, new: Schema) -> list[Difference]:
    """Everything in which the new schema says more or less than the old one, in the order of the old."""
    return list(_Comparison(old, new).compare(old, new, ""))


@dataclass(frozen=True, slots=True)
class _Comparison:
    old_root: Schema
    new_root: Schema

    def compare(self, old: Schema, new: Schema, at: str) -> Iterator[Difference]:
        old, new = resolved(old, self.old_root), resolved(new, self.new_root)
        olds, news = _by_type(old, self.old_root), _by_type(new, self.new_root)
        field = at or "(whole)"
        gone, added = sorted(olds.keys() - news.keys()), sorted(news.keys() - olds.keys())
        if gone and added:
            yield Difference(field, f"was {' or '.join(gone)}, is {' or '.join(added)}", breaks=True)
        elif gone:
            yield Difference(field, f"no longer takes {' or '.join(gone)}", breaks=True)
        elif added:
            yield Difference(field, f"now also takes {' or '.join(added)}", breaks=False)
        for kind in olds:
            if kind in news:
                yield from self._one(olds[kind], news[kind], at)
        if old.get("default", _ABSENT) != new.get("default", _ABSENT):
            yield Difference(
                field, "another default: old data that left it out says something else", breaks=True
            )

    def _one(self, old: Schema, new: Schema, at: str) -> Iterator[Difference]:
        field = at or "(whole)"
        yield from _words(old, new, field)
        yield from _bounds(old, new, field)
        yield from self._fields(old, new, at)
        for keyword, name in (("items", f"{at}[]"), ("additionalProperties", f"{at}.*")):
            before, after = old.get(keyword), new.get(keyword)
            if isinstance(before, dict) and isinstance(after, dict):
                yield from self.compare(before, after, name)
            elif before != after:
                yield Difference(name, f"{keyword} changed", breaks=True)
        for keyword in sorted((old.keys() | new.keys()) - _COMPARED_ELSEWHERE - {"default"}):
            if old.get(keyword) != new.get(keyword):
                what = f"{keyword} was {old.get(keyword, 'not stated')}, is {new.get(keyword, 'not stated')}"
                yield Difference(field, what, breaks=keyword in new)

    def _fields(self, old: Schema, new: Schema, at: str) -> Iterator[Difference]:
        olds, news = old.get("properties", {}), new.get("properties", {})
        was, now = set(old.get("required", ())), set(new.get("required", ()))
        for name in [*olds, *(name for name in news if name not in olds)]:
            field = f"{at}.{name}" if at else name
            if name not in news:
                yield Difference(field, "removed", breaks=True)
            elif name not in olds:
                what = "added, and required" if name in now else "added"
                yield Difference(field, what, breaks=name in now)
            else:
                if name in now - was:
                    yield Difference(field, "newly required", breaks=True)
                elif name in was - now:
                    yield Difference(field, "no longer required", breaks=False)
                yield from self.compare(olds[name], news[name], field)


def _by_type(schema: Schema, root: Schema) -> dict[str, Schema]:
    """The alternatives of a schema by JSON type; further ones of one type are told apart by their place."""
    found: dict[str, Schema] = {}
    for alternative in schema.get("anyOf", [schema]):
        branch = resolved(alternative, root)
        name = _type_of(branch)
        found[name if name not in found else f"{name} ({len(found)})"] = branch
    return found


def _type_of(schema: Schema) -> str:
    if "type" in schema:
        return str(schema["type"])
    words = _allowed(schema)
    return "string" if words and all(isinstance(word, str) for word in words) else "any"


def _allowed(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _words(old: Schema, new: Schema, field: str) -> Iterator[Difference]:
    before, after = _allowed(old), _allowed(new)
    if before is None and after is not None:
        yield Difference(field, f"now takes only {', '.join(map(str, after))}", breaks=True)
    elif before is not None and after is None:
        yield Difference(field, "now takes any word", breaks=False)
    elif before is not None and after is not None:
        gone = [str(word) for word in before if word not in after]
        added = [str(word) for word in after if word not in before]
        if gone:
            yield Difference(field, f"no longer takes {', '.join(gone)}", breaks=True)
        if added:
            yield Difference(field, f"now also takes {', '.join(added)}", breaks=False)


def _bounds(old: Schema, new: Schema, field: str) -> Iterator[Difference]:
    for keyword in (*_LOWER_BOUNDS, *_UPPER_BOUNDS):
        before, after = old.get(keyword), new.get(keyword)
        if before == after:
            continue
        raised = before is None or (after is not None and after > before)
        tightened = after is not None and (before is None or raised == (keyword in _LOWER_BOUNDS))
        was, now = ("none" if bound is None else bound for bound in (before, after))
        yield Difference(
            field,
            f"{keyword} {'tightened' if tightened else 'loosened'} ({was}, now {now})",
            breaks=tightened,
        )
