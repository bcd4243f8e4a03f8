"""The contract gate: what was once written reads for ever, and the contract files are what the code says."""

import json
import subprocess
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from tests.unit.contracts.reading_back import every_instance, reads, with_unknown_fields

from hub_embedded.contracts.catalogue import CATALOGUE, SchemaFile
from hub_embedded.contracts.gate import MANIFEST, faults
from hub_embedded.contracts.generating import GOLDEN, REMADE, SCHEMAS, generated, on_file

ROOT = Path(__file__).parents[2]
NEVER_EDITED = (SCHEMAS, GOLDEN)
EXAMPLES = 30
EXAMPLES_OF_DOCUMENTS = 5  # a whole referral is large, and slow to make up
FILES = sorted(file for path in on_file(ROOT / SCHEMAS, ".") if (file := SchemaFile.at(path)) is not None)
FACT_FILES = [file for file in FILES if file.folder in CATALOGUE.registries and not file.sealed]


def ids(file: SchemaFile) -> str:
    return file.path


def schema_of(file: SchemaFile) -> dict[str, object]:
    return json.loads((ROOT / SCHEMAS / file.path).read_bytes())


def test_every_contract_is_kept() -> None:
    broken = faults(CATALOGUE, on_file(ROOT / SCHEMAS, "."), set(on_file(ROOT / GOLDEN, ".")))
    assert not broken, "\n\n" + "\n\n".join(broken)


def test_the_generated_files_are_what_the_code_says() -> None:
    expected = generated(ROOT)
    found = on_file(ROOT, SCHEMAS, *REMADE)
    paths = sorted(expected.keys() | found.keys())
    stale = [path for path in paths if expected.get(path) != found.get(path)]
    assert not stale, "run python scripts/generate_contracts.py, look at the change, and commit it"


def test_no_commit_ever_edited_a_released_schema_or_a_golden_payload() -> None:
    """The manifest may be edited with the file it vouches for; history may not."""
    if not (ROOT / ".git").exists():
        return  # an exported tree has no history; the manifest still holds
    versions: dict[str, set[str]] = {}
    options = ("-m", "--raw", "--no-renames", "--no-abbrev", "--format=")
    for line in git("log", *options, "--", *NEVER_EDITED).splitlines():
        description, _, path = line.partition("\t")
        versions.setdefault(path, set()).add(description.split()[3])  # the blob after; zeros where it went
    paths = sorted(on_file(ROOT, *NEVER_EDITED))
    for path, blob in zip(paths, git("hash-object", *paths).splitlines(), strict=True):
        versions.setdefault(path, set()).add(blob)
    edited = [path for path in sorted(versions) if len(versions[path]) > 1 and not path.endswith(MANIFEST)]
    assert edited == [], "bring each back as it was first committed; a change is a new version"


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("file", FILES, ids=ids)
def test_a_schema_on_file_is_a_closed_json_schema_with_a_name_of_its_own(file: SchemaFile) -> None:
    schema = schema_of(file)
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == file.urn
    assert open_objects(schema) == []


def open_objects(node: object, at: str = "#") -> list[str]:
    """The objects that allow fields they do not name."""
    if isinstance(node, list):
        return [found for index, item in enumerate(node) for found in open_objects(item, f"{at}/{index}")]
    if not isinstance(node, dict):
        return []
    found = [found for key, value in node.items() for found in open_objects(value, f"{at}/{key}")]
    return found + [at] * ("properties" in node and node.get("additionalProperties") is not False)


@pytest.mark.parametrize("file", FILES, ids=ids)
def test_whatever_a_schema_on_file_allows_is_read_by_todays_code(file: SchemaFile) -> None:
    read, schema = CATALOGUE.reader(file), schema_of(file)
    assert read is not None
    validator = Draft202012Validator(schema)

    def check(instance: object) -> None:
        assert validator.is_valid(instance), "reading_back.py makes up what the schema does not allow"
        reads(read, instance)

    examples = EXAMPLES_OF_DOCUMENTS if file.folder == "referral" else EXAMPLES
    every_instance(schema, examples=examples, check=check)


@pytest.mark.parametrize("file", FACT_FILES, ids=ids)
def test_a_reader_of_facts_ignores_fields_it_does_not_know(file: SchemaFile) -> None:
    read = CATALOGUE.reader(file)
    assert read is not None

    def check(instance: object) -> None:
        assert reads(read, with_unknown_fields(instance)) == reads(read, instance)

    every_instance(schema_of(file), examples=10, check=check)


@pytest.mark.parametrize("file", FACT_FILES, ids=ids)
def test_a_golden_payload_is_what_its_schema_says(file: SchemaFile) -> None:
    golden = json.loads((ROOT / GOLDEN / file.path).read_bytes())
    assert [error.message for error in Draft202012Validator(schema_of(file)).iter_errors(golden)] == []
