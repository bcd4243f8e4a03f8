"""What is under contract: every fact, document and message, its version, and how today's code reads it."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

import msgspec
from pydantic import BaseModel

from hub_embedded.contracts.json_schemas import sealed_kind, shape
from hub_embedded.contracts.schema_tree import Schema, ordered
from hub_embedded.services import SERVICES
from hub_intake.api.bodies import InformationBody, WithdrawalBody
from hub_kernel.access_log import REGISTRY as ACCESS
from hub_schemas.facts import Fact
from hub_schemas.inbound import InboundReply
from hub_schemas.referral import Referral
from hub_schemas.registry import Registry

Reader = Callable[[bytes], object]
_FILE: Final = re.compile(r"([a-z_]+)/([A-Za-z]+)\.v([1-9][0-9]*)(\.sealed)?\.json")


class SchemaFile(NamedTuple):
    """What a file under ``schemas/json`` describes: which part of which version."""

    folder: str
    name: str
    version: int
    sealed: bool = False

    @classmethod
    def at(cls, path: str) -> Self | None:
        """What a path, relative to ``schemas/json``, describes; ``None`` when its name says nothing."""
        match = _FILE.fullmatch(path)
        return cls(match[1], match[2], int(match[3]), match[4] is not None) if match else None

    @property
    def path(self) -> str:
        """Where it stands, relative to ``schemas/json``."""
        return f"{self.folder}/{self.name}.v{self.version}{'.sealed' if self.sealed else ''}.json"

    @property
    def urn(self) -> str:
        """The schema's own name; it is nobody's address."""
        part = ":sealed" if self.sealed else ""
        return f"urn:referral-hub:schema:{self.folder}:{self.name}:v{self.version}{part}"


class Document(NamedTuple):
    """A document or message that is no fact. A later version is a class of its own, beside this one."""

    folder: str
    kind: type
    name: str
    version: int


@dataclass(frozen=True, slots=True)
class Contract:
    """One schema as today's code writes it."""

    file: SchemaFile
    kind: type

    def schema(self) -> Schema:
        """The closed schema, named."""
        title = {} if self.file.sealed else {"title": self.file.name}
        return ordered(shape(self.kind) | {"$id": self.file.urn} | title)


@dataclass(frozen=True)
class Catalogue:
    """All that is under contract. ``registries`` are the facts by folder."""

    registries: Mapping[str, Registry]
    documents: Sequence[Document] = ()

    def contracts(self) -> Iterator[Contract]:
        """Today's version of everything; a fact's sealed part follows its open part."""
        for folder, registry in self.registries.items():
            for fact in registry:
                name, version = fact.__name__, fact.schema_version
                yield Contract(SchemaFile(folder, name, version), fact)
                if (part := sealed_kind(fact)) is not None:
                    yield Contract(SchemaFile(folder, name, version, sealed=True), part)
        for document in self.documents:
            yield Contract(SchemaFile(document.folder, document.name, document.version), document.kind)

    def fact(self, file: SchemaFile) -> type[Fact] | None:
        """Today's class of the fact a file describes, whatever its version."""
        facts = self.registries.get(file.folder, ())
        return next((fact for fact in facts if fact.__name__ == file.name), None)

    def reader(self, file: SchemaFile) -> Reader | None:
        """How today's code reads what a schema of any version describes; ``None`` when it cannot.

        The reader raises ``ValueError`` for what it does not take.
        """
        fact = self.fact(file)
        if fact is None:
            kinds = [
                document.kind for document in self.documents if (*document[:1], *document[2:]) == file[:3]
            ]
            return _reads(kinds[0]) if kinds else None
        if file.sealed:
            part = sealed_kind(fact)
            return None if part is None else _reads(part)
        registry = self.registries[file.folder]
        return lambda content: registry.decode(file.name, file.version, content)


def _reads(kind: type) -> Reader:
    if issubclass(kind, BaseModel):
        return kind.model_validate_json
    return msgspec.json.Decoder(kind).decode


CATALOGUE: Final = Catalogue(
    registries={service.schema: service.registry for service in SERVICES if tuple(service.registry)}
    | {"access": ACCESS},
    documents=(
        Document("referral", Referral, "Referral", 1),
        Document("inbound", InformationBody, "InformationBody", 1),
        Document("inbound", WithdrawalBody, "WithdrawalBody", 1),
        Document("inbound", InboundReply, "InboundReply", 1),
    ),
)
