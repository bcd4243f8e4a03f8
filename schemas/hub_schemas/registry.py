"""Which fact types exist, how their stored bytes are read, and how older versions are lifted to today's."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from hub_schemas.facts import Fact

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

_encoder = msgspec.json.Encoder()


class UnknownFact(ValueError):
    """This fact type or version is not known here. Deploy the release that records it, then redrive."""


class Registry:
    """The fact types of one or more services. Reading is tolerant: unknown fields are ignored.

    ``upcasters[(type, n)]`` turns the open part of version ``n`` into that of version ``n + 1``.
    """

    def __init__(
        self, types: Iterable[type[Fact]], upcasters: Mapping[tuple[str, int], Upcaster] | None = None
    ) -> None:
        self._types = {kind.__name__: kind for kind in types}
        self._decoders = {name: msgspec.json.Decoder(kind) for name, kind in self._types.items()}
        self._upcasters = dict(upcasters or {})

    def __iter__(self) -> Iterator[type[Fact]]:
        return iter(self._types.values())

    def __contains__(self, type_name: str) -> bool:
        return type_name in self._types

    def decode(self, type_name: str, schema_version: int, open_part: bytes) -> Fact:
        """Read a stored open part as today's fact, its ``sealed`` left ``UNSET``.

        Raises ``UnknownFact`` for a type or version from a later release, ``ValueError`` for bytes that
        are not such a fact.
        """
        kind = self._types.get(type_name)
        if kind is None or schema_version > kind.schema_version:
            raise UnknownFact(f"{type_name} version {schema_version}")
        if schema_version == kind.schema_version:
            return self._decoders[type_name].decode(open_part)
        content = msgspec.json.decode(open_part)
        for version in range(schema_version, kind.schema_version):
            content = self._upcasters[type_name, version](content)
        return msgspec.convert(content, kind)


def encode_open(fact: Fact) -> bytes:
    """Write the open part of a fact as JSON; the sealed part is left out."""
    if getattr(fact, "sealed", msgspec.UNSET) is not msgspec.UNSET:
        fact = msgspec.structs.replace(fact, sealed=msgspec.UNSET)
    return _encoder.encode(fact)
