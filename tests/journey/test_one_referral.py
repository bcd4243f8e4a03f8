"""One referral from the records system to two counties with different systems, over real HTTP throughout."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec

from hub_embedded.chains import chain_of
from hub_embedded.demo.generator import Submission, submissions
from hub_embedded.demo.hub_staff import hub_staff_client
from hub_embedded.demo.run import Demo
from hub_embedded.walk_text import walk_text

Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]
HUB = str(Path(sys.executable).with_name("hub"))
GOLDEN = Path(__file__).parents[1] / "golden" / "walk.txt"


def two_county_report() -> Submission:
    """A medium-risk report from Herefordshire (Mosaic); its child lives in Worcestershire (Liquidlogic)."""
    for sent in submissions(400):
        document: dict[str, Any] = msgspec.json.decode(sent.body)
        if sent.kind == "referral" and is_plain_and_medium(document):
            document["subjects"][1]["authority"] = "885"
            return Submission(sent.at, sent.number, sent.kind, sent.record_id, msgspec.json.encode(document))
    raise AssertionError("the demo day has no such report")


def is_plain_and_medium(document: dict[str, Any]) -> bool:
    kinds = [subject["kind"] for subject in document["subjects"]]
    return (
        document["authority"] == "884"
        and document["referral_type"] == "domestic_abuse"
        and kinds == ["adult", "child"]
        and document.get("risk", {}).get("officer_grade") == "medium"
    )


async def test_one_referral_reaches_two_counties_and_its_walk_is_as_approved(
    demo: Demo, database: str, eventually: Eventually
) -> None:
    await demo.records_system.send(two_county_report())
    [referral_id] = demo.records_system.posted.referrals.values()
    async with (
        hub_staff_client(demo.addresses.triage, demo.issuer) as assessor,
        hub_staff_client(demo.addresses.oversight, demo.issuer) as reader,
    ):

        async def is_on_the_worklist() -> bool:
            worklist = (await assessor.get("/v1/worklist")).json()["assessments"]
            return [row["referral_id"] for row in worklist] == [str(referral_id)]

        await eventually(is_on_the_worklist)
        decided = await assessor.post(
            f"/v1/assessments/{referral_id}/decision",
            json={"decision": "share", "rationale": "Both services need to know."},
        )
        assert decided.status_code == httpx.codes.OK

        async def is_acknowledged() -> bool:
            await demo.watch.look()
            return demo.watch.tally.ended("acknowledged") == 2

        await eventually(is_acknowledged)

        async def is_told() -> bool:
            timeline = (await reader.get(f"/v1/timeline/{referral_id}")).json()
            return bool(timeline["stage"] == "acknowledged")

        await eventually(is_told)
    assert {contact.tenancy for contact in demo.ledger.contacts()} == {
        "884-adult_services",
        "885-childrens_services",
    }
    assert walk_text(await chain_of(database, referral_id), plain=True) == GOLDEN.read_text()
    said = await rebuild_oversight(demo)
    assert "events folded again; 0 left out" in said
    assert "The rebuilt equal the live ones." in said


async def rebuild_oversight(demo: Demo) -> str:
    """What ``hub rebuild oversight`` says beside the running hub."""
    process = await asyncio.create_subprocess_exec(
        HUB, "rebuild", "oversight", env=demo.settings.as_environment() | {"PATH": "/usr/bin:/bin"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, complaint = await process.communicate()
    assert process.returncode == 0, complaint.decode()
    return said.decode()
