"""The language mappings are written in, JSONata, behind the one call this service makes of it."""

from collections.abc import Callable, Mapping
from typing import Any

from jsonata import Jsonata

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
            self._expression = Jsonata(source)
        except Exception as error:
            raise ValueError(f"not a JSONata expression: {error}") from error

    def evaluate(self, value: Any, code: Code, variables: Mapping[str, Any]) -> Any:
        """The result for this input. Raises ``MappingFailed``, or what ``code`` raises."""
        raised: list[Exception] = []

        def guarded(name: str, coded: str | None, path: str) -> str | None:
            try:
                return code(name, coded, path)
            except Exception as error:
                raised.append(error)
                raise

        bindings = {**variables, "code": Jsonata.JLambda(guarded)}
        try:
            return self._expression.evaluate(value, bindings)
        except Exception as error:  # noqa: BLE001  the engine raises whatever its Python code ran into
            if raised:
                raise raised[0] from None
            raise MappingFailed(getattr(error, "error", type(error).__name__)) from None
