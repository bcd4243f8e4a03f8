"""The gate: no released schema changes, nothing once written goes unread; a fault says how to evolve.

Released means listed in ``released.json``, with the SHA-256 of the file: from the moment it was generated.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from hashlib import sha256
from typing import Final

from hub_embedded.contracts.catalogue import Catalogue, Contract, SchemaFile
from hub_embedded.contracts.changes import differences
from hub_embedded.contracts.schema_tree import written
from hub_schemas.registry import Registry

MANIFEST: Final = "released.json"
GENERATE: Final = "python scripts/generate_contracts.py"

_NEXT_FACT: Final = """\
What was recorded as version {version} stays for ever and must read. Leave that version as it was, and evolve:
  1. in {module} set schema_version to {following} on {name}, and make the change there;
  2. add an upcaster ("{name}", {version}) to its REGISTRY that turns the old open part into the new one;
  3. write its golden payload: python scripts/new_golden.py {folder} {name} < draft.json;
  4. run {generate}.
{sealed}If it means something else, rather than looks different, record a fact with a new name instead."""
_SEALED_STEP: Final = """\
A sealed part has no upcaster: no field of {part} may go or change, and a new one needs a default.
"""
_NEXT_DOCUMENT: Final = """\
Others were promised version {version}. Leave {name} as it was, and evolve:
  1. write the next version as a class of its own, and list it beside this one, as {name} version {following},
     in CATALOGUE (hub_embedded/contracts/catalogue.py);
  2. take or give both for as long as anybody uses version {version};
  3. run {generate}."""


def with_today(
    catalogue: Catalogue, on_file: Mapping[str, bytes], *, unreleased: bool = False
) -> dict[str, bytes]:
    """The files under ``schemas/json`` with today's schemas and the manifest beside them.

    A schema on file stays as it is, unless ``unreleased`` says that no commit holds its version yet.
    """
    today = {contract.file.path: written(contract.schema()) for contract in catalogue.contracts()}
    kept = {path: content for path, content in on_file.items() if path != MANIFEST}
    files = kept | today if unreleased else today | kept
    released = json.loads(on_file.get(MANIFEST, b"{}"))
    released |= {path: _hash(files[path]) for path in today if unreleased or path not in released}
    return files | {MANIFEST: written(dict(sorted(released.items())))}


def faults(catalogue: Catalogue, on_file: Mapping[str, bytes], golden: Collection[str]) -> list[str]:
    """Everything that breaks a contract, each with what to do; empty when all is well.

    ``on_file`` holds the files under ``schemas/json`` by relative path, ``golden`` the relative paths of the
    golden payloads.
    """
    return [
        *_manifest_faults(on_file),
        *_unread(catalogue, on_file),
        *_shape_faults(catalogue, on_file),
        *_version_faults(catalogue, golden),
    ]


def _hash(content: bytes) -> str:
    return sha256(content).hexdigest()


def _manifest_faults(on_file: Mapping[str, bytes]) -> Iterator[str]:
    released: dict[str, str] = json.loads(on_file.get(MANIFEST, b"{}"))
    for path, expected in released.items():
        if path not in on_file:
            yield f"{path} is released and is gone: bring it back, its events stay in the logs for ever."
        elif _hash(on_file[path]) != expected:
            yield (
                f"{path} is released and was edited: bring it back as it was. A change is a new version: "
                "CONTRIBUTING.md, a new version of a fact."
            )
    for path in sorted(on_file.keys() - released.keys() - {MANIFEST}):
        yield f"{path} is not in {MANIFEST}: remove it, then run {GENERATE}."


def _unread(catalogue: Catalogue, on_file: Mapping[str, bytes]) -> Iterator[str]:
    for path in sorted(on_file.keys() - {MANIFEST}):
        file = SchemaFile.at(path)
        if file is None:
            yield f"{path}: a schema is named <service>/<Fact>.v<n>.json. Rename it."
        elif catalogue.reader(file) is None:
            yield (
                f"{_called(file)} has no reader any more, and what was written by it stays for ever: "
                "bring its class back."
            )


def _shape_faults(catalogue: Catalogue, on_file: Mapping[str, bytes]) -> Iterator[str]:
    for contract in catalogue.contracts():
        path = contract.file.path
        if path not in on_file:
            yield f"{path} is missing: run {GENERATE}."
            continue
        schema = contract.schema()
        if found := differences(json.loads(on_file[path]), schema):
            named = "\n".join(f"  - {difference}" for difference in found)
            called = _called(contract.file)
            yield f"{called} is released, and its class has changed:\n{named}\n{_evolve(catalogue, contract)}"
        elif on_file[path] != written(schema):
            yield f"{path} says the same in other bytes than today's: let json_schemas.py write it as before."


def _version_faults(catalogue: Catalogue, golden: Collection[str]) -> Iterator[str]:
    for folder, registry in catalogue.registries.items():
        for fact in registry:
            for version in range(1, fact.schema_version + 1):
                file = SchemaFile(folder, fact.__name__, version)
                if version < fact.schema_version and not _is_lifted(registry, file):
                    yield (
                        f"{_called(file)} is not lifted to version {version + 1}: add an upcaster "
                        f'("{file.name}", {version}) to the registry in {_module(fact)}.'
                    )
                if file.path not in golden:
                    yield (
                        f"{_called(file)} has no golden payload: write it with "
                        f"python scripts/new_golden.py {folder} {file.name} < draft.json."
                    )


def _is_lifted(registry: Registry, file: SchemaFile) -> bool:
    """Whether an upcaster takes this version on: without one, the registry names it as the missing key."""
    try:
        registry.decode(file.name, file.version, b"{}")
    except KeyError as missing:
        return missing.args != ((file.name, file.version),)
    except Exception:  # noqa: BLE001  an upcaster may trip over an empty payload in any way: it is there
        return True
    return True


def _called(file: SchemaFile) -> str:
    return f"{file.folder} {file.name} version {file.version}{' (sealed part)' * file.sealed}"


def _module(kind: type) -> str:
    return f"{kind.__module__.replace('.', '/')}.py"


def _evolve(catalogue: Catalogue, contract: Contract) -> str:
    file = contract.file
    fact = catalogue.fact(file)
    if fact is None:
        return _NEXT_DOCUMENT.format(
            name=file.name, version=file.version, following=file.version + 1, generate=GENERATE
        )
    return _NEXT_FACT.format(
        name=file.name,
        version=file.version,
        following=file.version + 1,
        module=_module(fact),
        folder=file.folder,
        generate=GENERATE,
        sealed=_SEALED_STEP.format(part=contract.kind.__name__) if file.sealed else "",
    )
