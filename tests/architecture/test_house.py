"""The house's own rules, held by a machine: what stands where, how large, and what is documented."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from hub_embedded.services import SERVICES
from hub_kernel.service import Service
from hub_kernel.settings import Settings

ROOT = Path(__file__).parents[2]
SOURCES = [
    path
    for folder in ("schemas", "kernel", "services", "embedded")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
PURE = ("commands", "domain", "policies", "views")


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_every_module_says_in_one_line_what_it_is_for(path: Path) -> None:
    text = path.read_text()
    if text.strip():
        docstring = ast.get_docstring(ast.parse(text))
        assert docstring, "a module begins with a docstring"
        assert docstring.split("\n")[0].endswith((".", ":")), "its first line is one sentence"


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_no_room_is_without_a_purpose_in_its_name(path: Path) -> None:
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc", "base", "manager"}


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_no_module_outgrows_its_room(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400, "split it by behaviour"


def test_sql_of_a_service_stands_in_its_tables_and_migrations_only() -> None:
    sql = re.compile(
        r"\b(SELECT\s.+\sFROM|INSERT\s+INTO|UPDATE\s+\w+(\.\w+)?\s+SET|DELETE\s+FROM)\b", re.DOTALL
    )
    found = []
    for path in SOURCES:
        parts = path.relative_to(ROOT).parts
        if parts[0] != "services" or "migrations" in parts or "tables" in [Path(part).stem for part in parts]:
            continue
        texts = [
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        found += [ids(path) for text in texts if sql.search(text)]
    assert found == []


def test_the_pure_core_awaits_nothing() -> None:
    found = []
    for path in SOURCES:
        parts = [Path(part).stem for part in path.relative_to(ROOT).parts]
        if parts[0] == "services" and set(parts) & set(PURE) and "tables" not in parts:
            found += [
                ids(path)
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.AsyncFunctionDef | ast.Await)
            ]
    assert found == []


WORDS_OF_REFERRALS = re.compile(
    r"\b(triage|oversight|gateway|child|police|county|worklist|assessment)\b", re.IGNORECASE
)


def test_the_kernel_knows_no_word_of_referrals() -> None:
    """Only the access reasons and the roles may say what the hub is for."""
    spoken = {
        ids(path)
        for path in (ROOT / "kernel").rglob("*.py")
        if WORDS_OF_REFERRALS.search("\n".join(_code_words(path)))
    }
    assert spoken <= {"kernel/hub_kernel/access_log.py", "kernel/hub_kernel/auth.py"}


def _code_words(path: Path) -> list[str]:
    tree = ast.parse(path.read_text())
    names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    docstrings = {
        ast.get_docstring(node, clean=False)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    }
    return names + [text for text in texts if text not in docstrings]


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_in_the_readme(name: str) -> None:
    assert f"`HUB_{name.upper()}`" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_every_service_says_which_facts_it_records_and_what_it_serves(service: Service) -> None:
    readme = (ROOT / "services" / service.name / "README.md").read_text()
    assert {kind.__name__ for kind in service.registry if kind.__name__ not in readme} == set()
    for heading in ("Routes", "Settings"):
        assert re.search(rf"^#+ .*{heading}", readme, re.MULTILINE | re.IGNORECASE), heading


def test_no_file_names_this_machine_and_the_lock_names_no_host() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    # A short path, as containers have them, is also a word of other things: it would find what is not there.
    places = [f"{place}/" for place, parts in ((ROOT, 3), (Path.home(), 2)) if len(place.parts) >= parts]
    files = [ROOT / name for name in tracked if name and (ROOT / name).is_file()]
    found = [ids(path) for path in files if any(p in path.read_text(errors="ignore") for p in places)]
    assert found == []
    assert "://" not in (ROOT / "requirements.lock").read_text()
