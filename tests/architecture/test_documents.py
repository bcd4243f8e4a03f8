"""The documents are true of the code: what they name exists, and what exists is named."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from hub_embedded.cli import app
from hub_kernel.settings import Settings
from hub_schemas.referral import Referral

ROOT = Path(__file__).parents[2]
FOLDERS = ("schemas", "kernel", "services", "embedded")
ADRS = sorted((ROOT / "docs" / "adr").glob("0*.md"))
MODULE = re.compile(r"`(hub_[a-z_]+/[a-z0-9_/]+\.py)`")
COMMAND = re.compile(r"^(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\S*/)?(make|hub) +([a-z].*)$")
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def documents() -> list[Path]:
    own = [path for folder in (*FOLDERS, "deploy", "docs") for path in (ROOT / folder).rglob("*.md")]
    return sorted([*ROOT.glob("*.md"), *own])


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read_commands() -> list[tuple[str, str, str]]:
    """Every ``make`` and ``hub`` command in a code span or block: where, which, and the words after it."""
    found = []
    for path in documents():
        for code in code_of(path.read_text()):
            if match := COMMAND.match(code.strip()):
                words, _, _comment = match[2].partition(" #")
                found.append((ids(path), match[1], words.strip()))
    return found


def code_of(text: str) -> list[str]:
    """The lines of the code blocks, then the code spans outside them."""
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return [*(line for block in blocks for line in block.split("\n")), *re.findall(r"`([^`\n]+)`", prose)]


COMMANDS = read_commands()


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def hub_commands() -> Iterator[tuple[str, set[str]]]:
    """Every command of ``hub`` and the options it takes."""
    pending: list[tuple[str, Any]] = [("", typer.main.get_command(app))]
    while pending:
        path, command = pending.pop()
        names = command.list_commands(None) if hasattr(command, "list_commands") else []
        pending += [(f"{path} {name}".strip(), command.get_command(None, name)) for name in names]
        if not names:
            options = {option for param in getattr(command, "params", ()) for option in param.opts}
            yield path, options | {"--help"}


HUB_COMMANDS = dict(hub_commands())


def test_the_documents_show_commands_at_all() -> None:
    assert {("README.md", "make"), ("README.md", "hub")} <= {
        (where, program) for where, program, _ in COMMANDS
    }


@pytest.mark.parametrize(("where", "program", "words"), COMMANDS, ids=lambda value: value.replace("/", "."))
def test_every_command_in_the_documents_exists(where: str, program: str, words: str) -> None:
    if program == "make":
        assert words.split(maxsplit=1)[0] in make_targets(), where
        return
    if any(name.startswith(f"{words} ") for name in HUB_COMMANDS):
        return  # a group of commands
    names = [name for name in HUB_COMMANDS if f"{words} ".startswith(f"{name} ")]
    assert names, f"{where} names a command that hub does not have"
    options = {word.partition("=")[0] for word in words.split() if word.startswith("--")}
    assert options <= HUB_COMMANDS[max(names, key=len)], where


@pytest.mark.parametrize("name", sorted(HUB_COMMANDS))
def test_every_command_of_hub_is_in_the_readme(name: str) -> None:
    assert re.search(rf"`hub {name}\b", (ROOT / "README.md").read_text())


def test_every_make_target_is_told_of_by_make_help() -> None:
    told = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert told == make_targets()


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_the_readme_tells_the_default_of_every_setting(name: str) -> None:
    default = Settings.model_fields[name].default
    shown = "unset" if default is None else f"`{default}`" if default != "" else "empty"
    assert f"| `HUB_{name.upper()}` | {shown} |" in (ROOT / "README.md").read_text()


def test_the_first_referral_of_the_readme_is_a_referral() -> None:
    [document] = re.findall(r"--data '(\{.*?\n  \})'", (ROOT / "README.md").read_text(), re.DOTALL)
    assert Referral.model_validate_json(document).source.version == 1


def test_the_walk_of_the_readme_is_the_one_the_journey_test_approves() -> None:
    walk = (ROOT / "tests" / "golden" / "walk.txt").read_text().rstrip()
    assert f"```text\n{walk}\n```" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("folder", ["kernel", "schemas", "embedded"])
def test_the_readme_of_a_folder_names_every_room_in_it(folder: str) -> None:
    [package] = [path for path in (ROOT / folder).iterdir() if path.name.startswith("hub_")]
    rooms = {path.stem for path in package.iterdir() if path.suffix == ".py" and path.stem != "__init__"}
    rooms |= {f"{path.name}/" for path in package.iterdir() if path.is_dir() and path.name != "__pycache__"}
    told = set(re.findall(r"`([^`]+)`", (ROOT / folder / "README.md").read_text()))
    assert sorted(rooms - told) == []


@pytest.mark.parametrize("path", documents(), ids=ids)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    targets = [target for target in LINK.findall(path.read_text()) if "://" not in target]
    assert [target for target in targets if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("path", ADRS, ids=ids)
def test_a_decision_is_a_page_of_the_agreed_shape_and_in_the_index(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 60
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == ["Context", "Decision", "Consequences", "What would make us change it"]
    assert re.search(r"^Status: (accepted|superseded by \d{4}), \w+ 20\d\d$", text, re.MULTILINE)
    title = text.splitlines()[0].removeprefix(f"# {path.name[:4]}. ")
    assert f"| {path.name[:4]} | [{title}]({path.name}) |" in (path.parent / "README.md").read_text()


def test_every_dependency_has_its_line_and_no_other_has() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    declared = sorted(re.split(r"[\[<>=!~ ;]", entry)[0] for group in groups for entry in group)
    rows = re.findall(
        r"^\| `([a-z0-9-]+)` \| [^|]+ \| [^|]+ \| [^|]+ \|$",
        (ROOT / "docs" / "dependencies.md").read_text(),
        re.MULTILINE,
    )
    assert sorted(rows) == declared


def modules() -> set[str]:
    """Every module by its place in its package; migrations and empty packages are told of together."""
    found = set()
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            statements = ast.parse(path.read_text()).body
            bare = path.name == "__init__.py" and len(statements) <= 1
            if "migrations" not in path.parts and not bare:
                parts = path.relative_to(ROOT).parts
                start = next(n for n, part in enumerate(parts) if part.startswith("hub_"))
                found.add("/".join(parts[start:]))
    return found


def test_the_tour_names_every_module_and_no_other() -> None:
    told = set(MODULE.findall((ROOT / "ARCHITECTURE.md").read_text()))
    assert (sorted(modules() - told), sorted(told - modules())) == ([], [])
