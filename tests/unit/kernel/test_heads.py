import json
from pathlib import Path

import pytest
from tests.component.ledger_service import NOON

from hub_kernel.clock import FixedClock
from hub_kernel.event_store import Head
from hub_kernel.heads import HeadFile, SignedHead
from hub_kernel.sealing import MasterKey

CLOCK = FixedClock(NOON)
MASTER = MasterKey(bytes(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "heads.jsonl"


@pytest.fixture
def heads(path: Path) -> HeadFile:
    file = HeadFile(path, MASTER)
    for log, position in (("ledger", 3), ("reader", 1), ("ledger", 5)):
        file.add(log, head(position), CLOCK)
    return file


def head(position: int) -> Head:
    return Head(position, NOON, bytes([position]) * 32)


def said(found: SignedHead) -> tuple[str, int, str, str]:
    return found.log, found.position, found.root, found.at


def test_the_heads_of_a_log_are_read_in_the_order_written(heads: HeadFile) -> None:
    at = NOON.isoformat()
    assert [said(found) for found in heads.read("ledger")] == [
        ("ledger", 3, "03" * 32, at),
        ("ledger", 5, "05" * 32, at),
    ]
    assert [found.position for found in heads.read("nobody")] == []


def test_no_file_is_no_heads(path: Path) -> None:
    assert list(HeadFile(path, MASTER).read("ledger")) == []


def test_the_file_is_closed_to_others(heads: HeadFile, path: Path) -> None:
    assert (list(heads.read("reader")) != [], path.stat().st_mode & 0o777) == (True, 0o600)


@pytest.mark.parametrize(
    "change",
    [
        {"position": 4},
        {"root": "00" * 32},
        {"log": "ledger"},
        {"at": "2020-01-01"},
        {"signature": "00" * 64},
        {"more": 1},
    ],
    ids=str,
)
def test_a_changed_line_is_named(heads: HeadFile, path: Path, change: dict[str, object]) -> None:
    lines = path.read_text().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | change)
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"^line 2 of heads\.jsonl is not a head signed here$"):
        list(heads.read("ledger"))


@pytest.mark.parametrize("line", ["", "x", "[]", "null", "{}", '{"log": 1}', "\udcff"])
def test_a_line_that_is_no_head_is_named(heads: HeadFile, path: Path, line: str) -> None:
    whole = path.read_bytes()
    path.write_bytes(line.encode(errors="surrogateescape") + b"\n" + whole)
    with pytest.raises(ValueError, match=r"^line 1 of"):
        list(heads.read("ledger"))


def test_a_head_signed_under_another_master_key_is_named(heads: HeadFile, path: Path) -> None:
    HeadFile(path, MasterKey(bytes([7]) * 32)).add("ledger", head(6), CLOCK)
    with pytest.raises(ValueError, match=r"^line 4 of"):
        list(heads.read("ledger"))


def test_a_last_line_cut_short_by_a_crash_is_passed_over_and_the_next_head_follows_whole(
    heads: HeadFile, path: Path
) -> None:
    for cut in (1, 20, 200):
        heads.add("ledger", head(9), CLOCK)
        path.write_bytes(path.read_bytes()[:-cut])
        assert [found.position for found in heads.read("ledger")] == [3, 5]
    heads.add("ledger", head(7), CLOCK)
    assert [found.position for found in heads.read("ledger")] == [3, 5, 7]
