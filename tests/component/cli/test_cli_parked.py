import getpass
import json
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from tests.component.cli.conftest import REFERRAL, START

from hub_kernel.errors import Rejected
from hub_kernel.event_store.reading import Reader
from hub_kernel.inbox import Inbox, ParkedEvent
from hub_kernel.ports import Message
from hub_schemas.envelope import to_cloudevent

STREAM = f"referral-{REFERRAL}"
ME = f"cli:{getpass.getuser()}"


@pytest.fixture
async def parked(story: Any) -> Any:
    """At triage: the first referral's three facts, the first one rejected; and a message nobody can read."""
    connection = await asyncpg.connect(story.dsn)
    events = await Reader("intake").stream(connection, STREAM)
    inbox = Inbox("triage", "triage", "intake")
    chain = [
        ParkedEvent(
            Message("intake", 0, event.position, *to_cloudevent(event)),
            STREAM,
            event.version,
            "behind" if event.version > 1 else Rejected.slug,
            2 - event.version if event.version < 2 else 0,
        )
        for event in events
    ]
    foreign = Message("intake", 1, 9, (("ce_id", b"Quillfeather"),), b'{"open":{"name":"Quillfeather"}}')
    async with connection.transaction():
        await inbox.park(connection, chain, START, None)
        unreadable = [ParkedEvent(foreign, "unreadable-1-9", 1, "unreadable", 0)]
        await inbox.park(connection, unreadable, START + timedelta(hours=1), None)
    yield story
    await connection.close()


async def due(story: Any) -> list[tuple[str, int]]:
    """What would be tried at once."""
    connection = await asyncpg.connect(story.dsn)
    rows = await connection.fetch(
        "SELECT stream_id, version FROM triage.parked WHERE next_try_at <= parked_at ORDER BY 1, 2"
    )
    await connection.close()
    return [tuple(row) for row in rows]


async def test_the_list_is_a_table_for_people_and_lines_of_json_for_machines(parked: Any) -> None:
    code, out, error = await parked.hub("parked", "list")
    assert (code, error) == (0, "")
    assert out.splitlines()[0].strip() == "2 parked streams"
    [row] = [line for line in out.splitlines() if STREAM in line]
    assert [cell.strip() for cell in row.split("│")[1:-1]] == [
        "triage", "intake", STREAM, "rejected", "3", "1", "2026-03-11 09:30:00", "when asked for",
    ]  # fmt: skip
    _, lines, _ = await parked.hub("parked", "list", "--json", "--service", "triage", "--reason", "rejected")
    assert [json.loads(line) for line in lines.splitlines()] == [
        {
            "consumer": "triage",
            "source": "intake",
            "stream_id": STREAM,
            "version": 1,
            "reason": "rejected",
            "attempts": 1,
            "parked_at": "2026-03-11T09:30:00Z",
            "next_try_at": None,
            "events": 3,
        }
    ]


async def test_a_list_that_is_cut_off_says_so(parked: Any) -> None:
    _, out, _ = await parked.hub("parked", "list", "--limit", "1")
    assert "The first 1 parked stream" in out
    assert (STREAM in out, "unreadable" in out) == (True, False)
    assert "There are more" in out
    _, whole, _ = await parked.hub("parked", "list", "--limit", "2")
    assert "There are more" not in whole


async def test_the_summary_counts_by_reason_and_says_who_is_waited_for(parked: Any) -> None:
    await parked.hub("parked", "retry", "triage", "intake", "unreadable-1-9")
    _, out, _ = await parked.hub("parked", "summary")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
    assert rows == [
        ["triage", "intake", "rejected", "1", "3", "a person: 1", "2026-03-11 09:30:00"],
        ["triage", "intake", "unreadable", "1", "1", "its next try", "2026-03-11 10:30:00"],
    ]
    _, lines, _ = await parked.hub("parked", "summary", "--json", "--service", "triage")
    assert [json.loads(line)["retries_itself"] for line in lines.splitlines()] == [0, 1]
    _, none, _ = await parked.hub("parked", "summary", "--service", "oversight")
    assert none == "Nothing is parked.\n"


async def test_looking_shows_open_parts_and_never_what_is_sealed(parked: Any) -> None:
    code, out, _ = await parked.hub("parked", "show", "triage", "intake", STREAM, COLUMNS="220")
    assert (code, "Quillfeather" in out) == (0, False)
    for word in ("ReferralReceived", "InformationAdded", "in its turn", '"source_system": "athena"'):
        assert word in out
    _, document, _ = await parked.hub("parked", "show", "triage", "intake", STREAM, "--json")
    shown = json.loads(document)
    assert [(e["version"], e["event"]["type"], e["event"]["has_sealed"]) for e in shown["events"]] == [
        (1, "ReferralReceived", True),
        (2, "InformationAdded", False),
        (3, "InformationAdded", False),
    ]
    _, foreign, _ = await parked.hub("parked", "show", "triage", "intake", "unreadable-1-9")
    assert ("not shown, 32 bytes" in foreign, "Quillfeather" in foreign) == (True, False)


async def test_a_retry_makes_the_head_of_the_chain_due(parked: Any) -> None:
    code, out, _ = await parked.hub("parked", "retry", "triage", "intake", STREAM)
    assert (code, out.startswith("Asked for 1 stream of triage to be tried again. Tried within ")) == (
        0,
        True,
    )
    assert await due(parked) == [(STREAM, 1)]


async def test_a_retry_of_all_names_the_service_and_the_reason(parked: Any) -> None:
    code, out, _ = await parked.hub("parked", "retry-all", "--service", "triage", "--reason", "unreadable")
    assert (code, out.startswith("Asked for 1 stream of triage")) == (0, True)
    assert await due(parked) == [("unreadable-1-9", 1)]
    code, _, _ = await parked.hub("parked", "retry-all", "--service", "triage")
    assert code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("retry", "triage", "intake", "referral-none"), "No event of this stream is parked here."),
        (("show", "triage", "intake", "referral-none"), "No event of this stream is parked here."),
        (("retry-all", "--service", "triage", "--reason", "gap"), "Nothing is parked there for this reason."),
    ],
)
async def test_what_is_not_there_ends_with_one_and_a_line(parked: Any, arguments: Any, said: str) -> None:
    code, out, error = await parked.hub("parked", *arguments)
    assert (code, out, error.startswith(said)) == (1, "", True)


async def test_who_looked_and_asked_is_in_the_access_log_which_still_verifies(parked: Any) -> None:
    await parked.hub("parked", "list")
    await parked.hub("parked", "show", "triage", "intake", STREAM)
    await parked.hub("parked", "retry", "triage", "intake", STREAM)
    await parked.hub("parked", "retry-all", "--service", "triage", "--reason", "unreadable")
    _, out, _ = await parked.hub("audit", "access", "--service", "triage")
    about = f", source intake, stream {STREAM}"
    assert [line.split("  ")[-1].strip() for line in out.splitlines()] == [
        f"operator {ME}: listed 2 parked streams",
        f"operator {ME}: looked at 3 parked events{about}",
        f"operator {ME}: asked to retry 1 stream{about}",
        f"operator {ME}: asked to retry 1 stream, reason unreadable",
    ]
    assert [line.split()[2] for line in out.splitlines()] == ["-", str(REFERRAL), str(REFERRAL), "-"]
    _, lines, _ = await parked.hub("audit", "access", "--json", "--record", str(REFERRAL))
    kinds = [(json.loads(line)["type"], json.loads(line)["actor"]) for line in lines.splitlines()]
    assert kinds == [("ParkedEventsViewed", ME), ("ParkedRetryRequested", ME)]
    await parked.sign()
    code, verdict, _ = await parked.hub("audit", "verify", "--service", "triage")
    assert (code, verdict.splitlines()[1].split()[:2]) == (0, ["triage_access", "4"])
