"""The language mappings are written in, JSONata, behind the one call this service makes of it."""

from collections.abc import Callable, Mapping
from typing import Any

from jlens import Expression, JlensError

Code = Callable[[str, str | None, str], str | None]
"""``$code(list, value, path)`` in a mapping: the partner's word for a code of the hub, or the other way."""


class MappingFailed(Exception):
    """The mapping could not be run on this input. The text is the engine's error code and no value."""


class JsonMapping:
    """A compiled mapping; evaluating it is pure and leaves nothing behind.

    Raises ``ValueError`` when the source is not JSONata.
    """

    def __init__(self, source: str) -> None:
        try:
            self._expression = Expression(source)
        except JlensError as error:
            raise ValueError(f"not a JSONata expression: {error}") from error

    def evaluate(self, value: Any, code: Code, variables: Mapping[str, Any]) -> Any:
        """The result for this input. Raises ``MappingFailed``, or what ``code`` raises."""
        try:
            return self._expression.evaluate(value, {**variables, "code": code})
        except JlensError as error:
            raise MappingFailed(error.code) from None
