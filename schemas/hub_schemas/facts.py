"""What a fact is: one past-tense statement a service has recorded, with an open and a sealed part."""

from typing import ClassVar

import msgspec


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a fact that can identify a person; it leaves the process only encrypted."""


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. Subclasses are named in the past tense and never change once shipped.

    The open part is every field except ``sealed``: codes, grades, counts, age bands, authorities and
    instants (aware UTC), nothing that names a person. A fact type that carries personal data declares
    ``sealed: SomeSealed | msgspec.UnsetType = msgspec.UNSET``; ``UNSET`` means not opened for this reader.

    A change of meaning or shape is a new ``schema_version`` with an upcaster and a golden file.
    """

    schema_version: ClassVar[int] = 1
