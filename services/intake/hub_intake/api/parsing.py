"""Reading what came in: bytes to a document, or a problem that names fields and echoes nothing."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ErrorType

from hub_kernel.errors import Malformed
from hub_schemas.referral import Referral
from hub_schemas.referral_fields import Part

P = TypeVar("P", bound=Part)

_MAX_FIELDS_NAMED: Final = 50
_FIELD_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,39}")
_JSON_PLACE: Final = re.compile(r"at line \d+ column \d+$")
_PYDANTIC_OWN: Final = frozenset(get_args(ErrorType))


class DocumentMalformed(Malformed):
    """The document cannot be read. Mend the named fields and send it again; nothing was recorded."""

    slug = "document-malformed"


def read_referral(raw: bytes) -> Referral:
    """Read a canonical referral from JSON bytes. Raises ``DocumentMalformed`` naming every wrong field."""
    return read_body(Referral, raw)


def read_body(model: type[P], raw: bytes) -> P:
    """Read a body of this model from JSON bytes. Raises ``DocumentMalformed`` naming every wrong field."""
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        # Cut off from its cause: pydantic's text quotes the value.
        raise DocumentMalformed(fields=explain(error)) from None


def explain(error: ValidationError) -> Mapping[str, str]:
    """What is wrong with which field, in our words: paths with dots, never a value that was sent."""
    faults = error.errors(include_url=False, include_input=False)
    deep = {fault["loc"][:depth] for fault in faults for depth in range(len(fault["loc"]))}
    # A list that lost a broken entry is then called too short: the entry's own fault says it all.
    telling = [fault for fault in faults if not (fault["type"] == "too_short" and fault["loc"] in deep)]
    return {_path(fault): _words(fault) for fault in telling[:_MAX_FIELDS_NAMED]}


def _path(fault: ErrorDetails) -> str:
    steps = [str(step) for step in fault["loc"]]
    if fault["type"] == "extra_forbidden" and not _FIELD_NAME.fullmatch(steps[-1]):
        steps[-1] = "(unnamed)"
    return ".".join(steps) or "(document)"


def _words(fault: ErrorDetails) -> str:
    kind, context = fault["type"], fault.get("ctx", {})
    if kind in _WORDS:
        return _WORDS[kind](context)
    # Beside pydantic's own kinds there are only ours, whose words stand in hub_schemas and quote nothing.
    return "is not valid" if kind in _PYDANTIC_OWN else fault["msg"]


def _said(words: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda _: words


def _json_fault(context: Mapping[str, Any]) -> str:
    place = _JSON_PLACE.search(str(context.get("error", "")))
    return f"is not valid JSON in UTF-8{' ' + place.group() if place else ''}"


_WORDS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "json_invalid": _json_fault,
    "missing": _said("is missing"),
    "extra_forbidden": _said("is not a field of this document"),
    "model_type": _said("must be an object"),
    "tuple_type": _said("must be a list"),
    "string_type": _said("must be text"),
    "string_unicode": _said("must be text in UTF-8"),
    "int_type": _said("must be a whole number"),
    "bool_type": _said("must be true or false"),
    "uuid_type": _said("must be a UUID"),
    "uuid_parsing": _said("must be a UUID"),
    "date_type": _said("must be a date as YYYY-MM-DD"),
    "date_parsing": _said("must be a date as YYYY-MM-DD"),
    "date_from_datetime_parsing": _said("must be a date as YYYY-MM-DD"),
    "datetime_type": _said("must be an instant in ISO 8601"),
    "datetime_parsing": _said("must be an instant in ISO 8601"),
    "datetime_from_date_parsing": _said("must be an instant in ISO 8601"),
    "timezone_aware": _said("must state its offset from UTC"),
    "string_pattern_mismatch": _said("has characters or a form this field does not take"),
    "string_too_short": _said("must not be empty"),
    "string_too_long": lambda context: f"is longer than {context['max_length']} characters",
    "too_short": _said("must not be empty"),
    "too_long": lambda context: f"has more than {context['max_length']} entries",
    "greater_than_equal": lambda context: f"must not be below {context['ge']}",
    "less_than_equal": lambda context: f"must not be above {context['le']}",
    "less_than": lambda context: f"must be below {context['lt']}",
    "literal_error": lambda context: f"must be one of {context['expected']}",
}
