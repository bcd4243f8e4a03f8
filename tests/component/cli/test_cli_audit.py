import json
from typing import Any

from hub_kernel.auth import LocalIssuer

LOGS = [
    "intake", "intake_access", "triage", "triage_access", "partner_gateway", "partner_gateway_access",
    "oversight", "oversight_access",
]  # fmt: skip


async def test_verifying_whole_logs_says_so_and_ends_well(story: Any) -> None:
    code, out, error = await story.hub("audit", "verify")
    lines = out.splitlines()
    assert (code, error, [line.split()[0] for line in lines[:-1]]) == (0, "", LOGS)
    assert lines[0].split() == ["intake", "7", "events", "signed", "through", "7", "whole"]
    assert lines[-1].startswith("Every log is as it was recorded: 10 events verified in ")


async def test_a_fault_ends_with_one_and_its_position_and_leaves_the_other_logs_verified(story: Any) -> None:
    await story.tamper("UPDATE intake.events SET actor = 'x' WHERE position = 3")
    code, out, _ = await story.hub("audit", "verify")
    lines = out.splitlines()
    assert code == 1
    assert "FAULT at position 3: the stored bytes are not those its leaf hash was made of" in lines[0]
    assert lines[2].endswith("whole")
    assert lines[-1].startswith("1 of 8 logs are not whole: ")


async def test_a_verdict_for_machines_is_one_json_document(story: Any) -> None:
    await story.tamper("DELETE FROM triage.events WHERE position = 2")
    code, out, error = await story.hub("audit", "verify", "--service", "triage", "--json")
    document = json.loads(out)
    assert (code, error, document["ok"], document["events"]) == (1, "", False, 1)
    assert document["logs"] == [
        {
            "log": "triage",
            "events": 1,
            "signed_through": 1,
            "fault": {
                "kind": "missing",
                "position": 2,
                "detail": "no row stands here; the next is at 3",
            },
        },
        {"log": "triage_access", "events": 0, "signed_through": 0, "fault": None},
    ]


async def test_a_changed_file_of_heads_is_told_in_one_line(story: Any) -> None:
    path = story.data_dir / "heads.jsonl"
    path.write_text(path.read_text().replace('"position": 2', '"position": 3', 1))
    code, out, error = await story.hub("audit", "verify")
    assert (code, out) == (1, "")
    assert error == (
        "line 1 of heads.jsonl is not a head signed here. "
        "Put back the copy kept elsewhere, then verify again.\n"
    )


async def test_a_missing_file_of_heads_is_a_fault(story: Any) -> None:
    (story.data_dir / "heads.jsonl").unlink()
    code, out, _ = await story.hub("audit", "verify", "--service", "intake")
    assert code == 1
    assert "FAULT at position 1: no signed head of this log is kept here" in out


async def test_looking_without_the_master_key_makes_no_new_one(story: Any) -> None:
    (story.data_dir / "master.key").unlink()
    code, out, error = await story.hub("audit", "head")
    assert (code, out) == (1, "")
    assert error.startswith("The hub's master key is not here.")
    assert not (story.data_dir / "master.key").exists()


async def test_the_last_signed_head_of_each_log_is_printed(story: Any) -> None:
    expected = [list(story.heads.read(log))[-1] for log in LOGS]
    _, as_json, _ = await story.hub("audit", "head", "--json")
    _, text, _ = await story.hub("audit", "head", "--service", "intake")
    assert [json.loads(line)["root"] for line in as_json.splitlines()] == [head.root for head in expected]
    assert text.splitlines()[0].split() == ["intake", "7", expected[0].root, expected[0].at]


async def test_reads_of_sealed_data_are_listed_and_their_log_verifies(story: Any) -> None:
    issuer = LocalIssuer(story.data_dir / "issuer.key", "referral-hub")
    token = issuer.token("auditor", subject="ada")
    await story.hub("log", "--service", "intake", "--limit", "2", "--token", token, "--reason", "audit")
    _, out, _ = await story.hub("audit", "access", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [(row["service"], row["reader"], row["role"], row["reason"]) for row in rows] == [
        ("intake", "ada", "auditor", "audit")
    ] * 2
    assert [(row["record_id"], row["positions"]) for row in rows] == [
        ("00000000-0000-0000-0000-0000000000a1", [1]),
        ("00000000-0000-0000-0000-0000000000a2", [2]),
    ]
    _, one, _ = await story.hub("audit", "access", "--record", rows[1]["record_id"])
    at, record_id = rows[1]["read_at"].replace("Z", "+00:00"), rows[1]["record_id"]
    assert one == f"{at}  intake          {record_id}  auditor ada: audit, positions 2\n"
    await story.sign()
    code, verdict, _ = await story.hub("audit", "verify", "--service", "intake")
    assert (code, verdict.splitlines()[1].split()[:2]) == (0, ["intake_access", "2"])
