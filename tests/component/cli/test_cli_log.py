import asyncio
import json
import subprocess
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from hub_kernel.auth import LocalIssuer, Role

REFERRAL = "00000000-0000-0000-0000-0000000000a1"


def token(story: Any, role: Role) -> str:
    return LocalIssuer(story.data_dir / "issuer.key", "referral-hub").token(role, subject="ada")


def rows(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


async def test_a_line_holds_the_envelope_and_the_open_part(story: Any) -> None:
    code, out, error = await story.hub("log", "--service", "triage", "--limit", "1")
    [row] = rows(out)
    content = row.pop("open")
    assert (code, error, content["risk_grade"]) == (0, "", "medium")
    assert row == {
        "source": "triage",
        "position": 1,
        "stream_id": f"assessment-{REFERRAL}",
        "version": 1,
        "event_id": "00000000-0000-0000-0000-0000000000e2",
        "type": "RiskGraded",
        "schema_version": 1,
        "occurred_at": "2026-03-11T09:30:03+00:00",
        "recorded_at": "2026-03-11T09:30:03+00:00",
        "correlation_id": REFERRAL,
        "causation_id": "00000000-0000-0000-0000-0000000000e0",
        "actor": "records",
    }


async def test_every_log_is_printed_from_the_position_on_in_the_order_of_the_services(story: Any) -> None:
    _, out, _ = await story.hub("log", "--from", "3")
    assert [(row["source"], row["position"]) for row in rows(out)] == [
        *(("intake", position) for position in range(3, 8)),
        ("triage", 3),
    ]


async def test_the_limit_holds_over_all_logs(story: Any) -> None:
    _, out, _ = await story.hub("log", "--from", "2", "--limit", "7")
    assert [(row["source"], row["position"]) for row in rows(out)] == [
        *(("intake", position) for position in range(2, 8)),
        ("triage", 2),
    ]


async def test_nothing_sealed_is_shown_and_nothing_recorded_without_a_token(story: Any) -> None:
    _, out, _ = await story.hub("log")
    _, reads, _ = await story.hub("audit", "access")
    assert ("Quillfeather" in out, "sealed" in out, reads) == (False, False, "")


async def test_an_auditor_with_a_reason_sees_what_is_sealed(story: Any) -> None:
    _, out, _ = await story.hub(
        "log", "--service", "triage", "--token", token(story, "auditor"), "--reason", "subject_access"
    )
    assert [row.get("sealed") for row in rows(out)] == [
        None,
        {"text": "Mrs Quillfeather was spoken to"},
        None,
    ]
    _, reads, _ = await story.hub("audit", "access", "--json")
    assert [(row["record_id"], row["positions"], row["reason"]) for row in rows(reads)] == [
        (REFERRAL, [2], "subject_access")
    ]


async def test_an_erased_record_is_marked_and_the_others_are_shown(story: Any) -> None:
    await story.keyring.erase(UUID(REFERRAL))
    _, out, error = await story.hub(
        "log", "--service", "intake", "--token", token(story, "auditor"), "--reason", "audit"
    )
    sealed = [(row["position"], "sealed" in row, row.get("erased", False)) for row in rows(out)]
    assert (error, sealed[:2], sealed[4]) == ("", [(1, False, True), (2, True, False)], (5, True, False))


@pytest.mark.parametrize("role", ["operator", "assessor", "records_system", "partner_client"])
async def test_nobody_but_an_auditor_opens_what_is_sealed(role: Role, story: Any) -> None:
    code, out, error = await story.hub("log", "--token", token(story, role), "--reason", "audit")
    assert (code, out) == (1, "")
    assert error == ("Sealed data is opened here for auditors only. Use a token with the role auditor.\n")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--reason", "audit"), 2, "give both --token and --reason"),
        (("--token", "x"), 2, "give both --token and --reason"),
        (("--token", "x", "--reason", "curiosity"), 2, "'curiosity' is not one of"),
        (("--token", "x.y.z", "--reason", "audit"), 1, "The bearer token is not valid here"),
        (("--from", "0"), 2, "should be greater than or equal to 1"),
        (("--service", "other"), 2, "'other' is not one of"),
    ],
)
async def test_a_wrong_option_is_told_in_words(
    arguments: tuple[str, ...], code: int, said: str, story: Any
) -> None:
    found, out, error = await story.hub("log", *arguments)
    assert (found, out, said in error, "Traceback" in error) == (code, "", True, False)


async def test_a_reader_that_leaves_early_ends_it_quietly(story: Any) -> None:
    process = await asyncio.create_subprocess_shell(
        '"$HUB" log --follow | head -n 1; echo "${PIPESTATUS[0]}"',
        executable="/bin/bash",
        env={**story.environment(), "HUB": str(story.program), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    # The end of the pipe shows at the next line written, so one more has to come.
    assert process.stdout is not None
    first = await process.stdout.readline()
    await story.record("intake", "referral-x", UUID(int=9), story.some_fact(UUID(int=9)))
    out, error = await process.communicate()
    assert (json.loads(first)["position"], out.decode(), error.decode()) == (1, "0\n", "")


async def test_following_shows_what_is_recorded_from_then_on(story: Any) -> None:
    process = await asyncio.create_subprocess_exec(
        story.program, "log", "--from", "7", "--service", "intake", "--follow", "--limit", "2",
        env=story.environment(), stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    first = json.loads(await process.stdout.readline())
    story.clock.instant += timedelta(seconds=1)
    await story.record("intake", "referral-x", UUID(int=9), story.some_fact(UUID(int=9)))
    rest, _ = await process.communicate()
    assert (first["position"], json.loads(rest)["position"], process.returncode) == (7, 8, 0)
