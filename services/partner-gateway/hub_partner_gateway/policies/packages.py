"""Partner packages: everything the hub knows about how one agency of one authority takes contacts, as data.

A package is ``partners/<authority>-<agency>/v<n>/profile.toml`` with its own code lists; it stands on a
shape (the mappings, schema and code lists of one kind of system) and on a minimisation profile (what the
partner may receive). A package's own file takes the place of its shape's file of the same name.
"""

import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Literal, Self, TypeVar

import jsonschema_rs
import msgspec

from hub_partner_gateway.policies.code_lists import CodeList, Unmapped
from hub_partner_gateway.policies.mapping_language import JsonMapping
from hub_schemas.codes import Agency, Authority

AcknowledgementWay = Literal["poll", "callback"]
T = TypeVar("T")
_PROFILE: Final = "profile.toml"


class PackageBroken(Exception):
    """A partner package cannot be used. The text names the file and what is wrong with it."""


class _Codes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    unmapped: Unmapped
    default: str | None = None


class _Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    content_type: str
    acknowledgement: AcknowledgementWay
    submit_path: str
    status_path: str
    carries: tuple[str, ...]
    codes: dict[str, _Codes]


class _Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    authority: Authority
    agency: Agency
    version: int
    shape: str
    minimisation: str
    constants: dict[str, str]


class _Minimisation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    receives: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PartnerPackage:
    """One version of one partner's package, ready to render and to read answers with.

    ``carries`` and ``receives`` are canonical paths: what the partner's format can hold, and what the
    partner may be given. ``mapping_hash`` is SHA-256 (hex) over the names and bytes of all its files.
    """

    name: str
    version: int
    authority: Authority
    agency: Agency
    content_type: str
    acknowledgement: AcknowledgementWay
    submit_path: str
    status_path: str
    mapping_hash: str
    carries: frozenset[str]
    receives: frozenset[str]
    constants: Mapping[str, str]
    codes: Mapping[str, CodeList]
    mapping: JsonMapping = field(repr=False)
    answers: JsonMapping = field(repr=False)
    schema: jsonschema_rs.Validator = field(repr=False)

    @classmethod
    def load(cls, folder: str, files: Mapping[str, bytes]) -> Self:
        """Build the package in ``folder`` from the files of the whole ``partners`` tree, by relative path.

        Raises ``PackageBroken``.
        """
        at = f"{folder}/{_PROFILE}"
        try:
            profile = _read(files[at], _Profile)
            own = _below(f"{folder}/", files)
            parts = _below(f"shapes/{profile.shape}/", files) | own
            at = f"shapes/{profile.shape}/shape.toml"
            shape = _read(parts["shape.toml"], _Shape)
            at = f"minimisation/{profile.minimisation}.toml"
            parts["minimisation.toml"] = files[at]
            receives = _read(files[at], _Minimisation).receives
            at = folder
            return cls(
                name=f"{profile.authority}-{profile.agency}",
                version=profile.version,
                authority=profile.authority,
                agency=profile.agency,
                content_type=shape.content_type,
                acknowledgement=shape.acknowledgement,
                submit_path=shape.submit_path,
                status_path=shape.status_path,
                mapping_hash=_hash(parts),
                carries=frozenset(shape.carries),
                receives=frozenset(receives),
                constants=profile.constants,
                codes={
                    name: CodeList.load(parts[f"codes/{name}.csv"], policy.unmapped, policy.default)
                    for name, policy in shape.codes.items()
                },
                mapping=JsonMapping(parts["mapping.jsonata"].decode()),
                answers=JsonMapping(parts["acknowledgement.jsonata"].decode()),
                schema=jsonschema_rs.validator_for(msgspec.json.decode(parts["schema.json"])),
            )
        except KeyError as missing:
            raise PackageBroken(f"{at}: {missing.args[0]} is missing") from missing
        except ValueError as error:
            raise PackageBroken(f"{at}: {error}") from error


class PackageBook:
    """The newest version of every partner's package, found by authority and agency."""

    def __init__(self, packages: Iterable[PartnerPackage]) -> None:
        self._packages: dict[tuple[Authority, Agency], PartnerPackage] = {}
        for package in sorted(packages, key=lambda package: package.version):
            self._packages[package.authority, package.agency] = package

    @classmethod
    def load(cls, files: Mapping[str, bytes]) -> Self:
        """Build every package of a ``partners`` tree. Raises ``PackageBroken``."""
        folders = [path.removesuffix(f"/{_PROFILE}") for path in files if path.endswith(f"/{_PROFILE}")]
        return cls(PartnerPackage.load(folder, files) for folder in sorted(folders))

    def find(self, authority: Authority, agency: Agency) -> PartnerPackage | None:
        """The package by which this agency is reached; ``None`` when the hub knows no way."""
        return self._packages.get((authority, agency))

    def only(self, names: Collection[str]) -> "PackageBook":
        """The book without the partners that are not named."""
        return PackageBook(package for package in self if package.name in names)

    def __iter__(self) -> Iterator[PartnerPackage]:
        return iter(self._packages.values())


def _read(content: bytes, kind: type[T]) -> T:
    return msgspec.convert(tomllib.loads(content.decode()), kind)


def _below(prefix: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of one folder by their path in it, golden examples left out."""
    found = {path.removeprefix(prefix): content for path, content in files.items() if path.startswith(prefix)}
    return {path: content for path, content in found.items() if not path.startswith("golden/")}


def _hash(parts: Mapping[str, bytes]) -> str:
    digest = sha256()
    for name in sorted(parts):
        digest.update(f"{name}\0{len(parts[name])}\0".encode() + parts[name])
    return digest.hexdigest()
