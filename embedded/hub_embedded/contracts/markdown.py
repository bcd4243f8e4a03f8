"""How a schema reads as Markdown: a table of its fields, what each takes, and what leaving it out means."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

from hub_embedded.contracts.schema_tree import Schema

_FORMATS: Final = {"uuid": "UUID", "date-time": "instant", "date": "date"}
_TYPES: Final = {
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "null": "`null`",
    "object": "object",
}
_NULL: Final = {"type": "null"}
_PRINTABLE: Final = {
    r"^[^\x00-\x1f\x7f-\x9f]*$": "one line",
    r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$": "lines of text",
}
"""The patterns that only keep control characters out, and what is left."""
_NAMES: Final = ("field", "what it takes", "left out")


def anchor(heading: str) -> str:
    """The anchor a heading gets where Markdown is shown."""
    kept = (letter for letter in heading.lower() if letter.isalnum() or letter in " -_")
    return "".join(kept).replace(" ", "-")


def table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table's lines and an empty one; nothing at all without rows."""
    lines = ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return ["| " + " | ".join(names) + " |", "|---" * len(names) + "|", *lines, ""] if lines else []


def folded(title: str, value: Any) -> list[str]:
    """A JSON example that opens on request."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return ["<details>", f"<summary>{title}</summary>", "", "```json", text, "```", "", "</details>", ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


class Place(NamedTuple):
    """Where an object is described: the heading it has there, and the link that leads to it."""

    title: str
    link: str

    @classmethod
    def on(cls, page: str, title: str) -> Self:
        """A heading on a page; on the same page when ``page`` is empty."""
        return cls(title, f"{page}#{anchor(title)}")


@dataclass(frozen=True)
class Reading:
    """Renders schemas of one document.

    ``places`` tell, by the last step of a reference, where it leads; ``code_lists``, by its words, where the
    meaning of each word of a list stands.
    """

    places: Mapping[str, Place]
    code_lists: Mapping[frozenset[str], Place] = field(default_factory=dict)

    def fields(self, schema: Schema) -> list[str]:
        """The table of an object's fields; objects written out inside it by dotted names."""
        return table(_NAMES, self._rows(schema, ""))

    def words(self, schema: Schema) -> str:
        """What a schema takes, in words."""
        alternatives = schema.get("anyOf", schema.get("oneOf"))
        if alternatives is not None:
            some = dict.fromkeys(self.words(inner) for inner in alternatives if inner != _NULL)
            return " or ".join(some) + (", or `null`" if _NULL in alternatives else "")
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return _linked(self.places[name]) if name in self.places else name
        if "const" in schema:
            return f"`{schema['const']}`"
        if "enum" in schema:
            return self._one_of(schema["enum"])
        return self._typed(schema)

    def _one_of(self, words: Sequence[str]) -> str:
        if place := self.code_lists.get(frozenset(words)):
            return f"a code of {_linked(place)}"
        return "one of " + ", ".join(f"`{word}`" for word in words)

    def _typed(self, schema: Schema) -> str:
        match schema.get("type"):
            case "array":
                told = f"list of {self.words(schema.get('items', {}))}{_bounds(schema, 'Items', 'of them')}"
            case "object" if isinstance(schema.get("additionalProperties"), dict):
                told = f"map of names to {self.words(schema['additionalProperties'])}"
            case "string":
                told = _text(schema)
            case kind:
                told = f"{_TYPES.get(str(kind), 'anything')}{_range(schema)}"
        return told

    def _rows(self, schema: Schema, prefix: str) -> Iterator[tuple[str, str, str]]:
        required = schema.get("required", ())
        for name, inner in schema.get("properties", {}).items():
            yield f"`{prefix}{name}`", self._told(inner), _left_out(inner, required=name in required)
            item = inner.get("items", {})
            if "properties" in inner:
                yield from self._rows(inner, f"{prefix}{name}.")
            elif isinstance(item, dict) and "properties" in item:
                yield from self._rows(item, f"{prefix}{name}[].")

    def _told(self, schema: Schema) -> str:
        description = "" if "$ref" in schema else schema.get("description", "")
        return f"{self.words(schema)}. {description}" if description else self.words(schema)


def _linked(place: Place) -> str:
    return f"[{place.title}]({place.link})"


def _left_out(schema: Schema, *, required: bool) -> str:
    if required:
        return "required"
    return f"`{json.dumps(schema['default'], ensure_ascii=False)}`" if "default" in schema else "optional"


def _bounds(schema: Schema, what: str, of: str) -> str:
    least, most = schema.get(f"min{what}"), schema.get(f"max{what}")
    if least is None and most is None:
        return ""
    if most is None:
        return ", not empty" if least == 1 else f", at least {least} {of}"
    return f", up to {most:,} {of}" if not least else f", {least} to {most:,} {of}"


def _range(schema: Schema) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is None and most is None:
        return ""
    if most is None:
        return f", from {least}"
    return f", up to {most}" if least is None else f", {least} to {most:,}"


def _text(schema: Schema) -> str:
    pattern = schema.get("pattern", "")
    kind = _PRINTABLE.get(pattern) or _FORMATS.get(schema.get("format", ""), "text")
    bounds = _bounds(schema, "Length", "characters")
    return kind + bounds + (f", matching `{pattern}`" if pattern and pattern not in _PRINTABLE else "")
