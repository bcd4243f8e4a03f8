"""The scalar fields a referral is made of: bounded text, dates in a sane range, checked identifiers.

Every bound is a defence: no field can hold an unlimited or unprintable value. Patterns run in pydantic's
core, so that reading a document costs no Python per field.
"""

from datetime import UTC, date, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from hub_schemas.check_digits import is_nhs_number, is_upn

UNKNOWN_BIRTH_DAY: Final = 15
"""The day that stands for "only month and year known" (DfE convention)."""

_PRINTABLE: Final = r"^[^\x00-\x1f\x7f-\x9f]*$"
_PRINTABLE_LINES: Final = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"


def line(max_length: int) -> StringConstraints:
    """One line of text: 1 to ``max_length`` characters, no control characters, outer spaces dropped."""
    return StringConstraints(strip_whitespace=True, min_length=1, max_length=max_length, pattern=_PRINTABLE)


def text(max_length: int) -> StringConstraints:
    """Text of several lines: as ``line``, and tabs and line ends may stand in it."""
    return StringConstraints(
        strip_whitespace=True, min_length=1, max_length=max_length, pattern=_PRINTABLE_LINES
    )


def _checked_nhs_number(value: str) -> str:
    if not is_nhs_number(value):
        raise PydanticCustomError("nhs_number_check", "the check digit is wrong")
    return value


def _checked_upn(value: str) -> str:
    if not is_upn(value):
        raise PydanticCustomError("upn_check", "the check letter is wrong")
    return value


Word = Annotated[str, line(60)]
Line = Annotated[str, line(200)]
Remark = Annotated[str, text(2_000)]
Narrative = Annotated[str, text(50_000)]

Ref = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
"""A name for one person inside one document; it means nothing outside it."""
SystemCode = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,39}$")]
"""A records system, force or agency as the hub's settings name it."""
RecordId = Annotated[str, line(64)]
Postcode = Annotated[
    str, StringConstraints(to_upper=True, pattern=r"^[A-Za-z]{1,2}[0-9][0-9A-Za-z]? ?[0-9][A-Za-z]{2}$")
]
Uprn = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,12}$")]
SchoolUrn = Annotated[str, StringConstraints(pattern=r"^[0-9]{6}$")]
PhoneNumber = Annotated[str, StringConstraints(pattern=r"^\+?[0-9 ()-]{3,30}$")]
EmailAddress = Annotated[str, StringConstraints(max_length=254, pattern=r"^[!-?A-~]+@[!-?A-~]+$")]
NhsNumber = Annotated[str, StringConstraints(max_length=10), AfterValidator(_checked_nhs_number)]
"""Ten digits without spaces, check digit included."""
Upn = Annotated[str, StringConstraints(max_length=13), AfterValidator(_checked_upn)]
"""A permanent or temporary unique pupil number."""

Day = Annotated[date, Field(ge=date(1900, 1, 1), lt=date(2100, 1, 1))]
Instant = Annotated[
    AwareDatetime, Field(ge=datetime(1900, 1, 1, tzinfo=UTC), lt=datetime(2100, 1, 1, tzinfo=UTC))
]
"""An instant with its offset stated; one without is refused, because nobody can say when it was."""


class Part(BaseModel):
    """A part of the canonical document: frozen, closed to unknown fields, and silent when printed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    def __repr__(self) -> str:
        """Name the part only: a person's data must not reach a log through a stray format."""
        return f"<{type(self).__name__}>"

    __str__ = __repr__


class Faults:
    """What is wrong across the fields of one part, each fault with its place, raised together."""

    def __init__(self) -> None:
        self._found: list[InitErrorDetails] = []

    def add(self, loc: tuple[str | int, ...], slug: str, words: str) -> None:
        """Note a fault at ``loc``, a path inside the part; ``words`` never hold the value."""
        self._found.append(InitErrorDetails(type=PydanticCustomError(slug, words), loc=loc, input=None))

    def raise_any(self, part: str) -> None:
        """Raise ``ValidationError`` with every fault noted; pydantic puts the part's place before each."""
        if self._found:
            raise ValidationError.from_exception_data(part, self._found, hide_input=True)
