import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest

from hub_intake.service import SERVICE as INTAKE
from hub_kernel.auth import ROLES
from hub_kernel.clock import FixedClock, ScaledClock, new_id
from hub_kernel.event_store import ANY_VERSION, StreamAppend
from hub_kernel.handling import Context, new_event
from hub_kernel.testing import RunningHub, run_hub
from hub_schemas import triage
from hub_schemas.codes import RiskGrade
from hub_schemas.facts import Fact
from hub_schemas.intake import (
    InformationAdded,
    ReferralAmended,
    ReferralReceived,
    ReferralSummary,
    ReferralWithdrawn,
    RiskIndicators,
    SubjectSummary,
)
from hub_triage.service import SERVICE
from hub_triage.views import WorklistRow, project

NOW = datetime(2026, 3, 11, 9, 0, tzinfo=UTC)
WHY = "Checked with the school and the family's worker."
DEADLINE_SECONDS = 20
HOUR = timedelta(hours=1)


class Triage:
    """A running triage service, and intake's log as if intake had written it."""

    def __init__(self, hub: RunningHub, clock: FixedClock | ScaledClock) -> None:
        self.hub, self.clock = hub, clock
        self.context = hub.hub.contexts["triage"]

    async def intake_says(self, *facts: Any) -> None:
        """Append facts to intake's log, each to its referral's stream."""
        for fact in facts:
            context = Context(fact.referral_id, "records", self.clock.now())
            event = new_event(fact, new_id(), context, None, None)
            await self._intake_store().append(
                [StreamAppend(f"referral-{fact.referral_id}", ANY_VERSION, [event])]
            )

    async def received(self, grade: RiskGrade = "medium", **changes: Any) -> UUID:
        """A new referral, graded: its id."""
        referral_id = new_id()
        await self.intake_says(receipt(referral_id, self.clock.now(), grade, **changes))
        await self.facts(referral_id, at_least=1)
        return referral_id

    async def facts(self, referral_id: UUID, *, at_least: int = 0) -> Sequence[Any]:
        """The assessment's facts once there are this many."""

        async def read() -> Sequence[Fact]:
            async with self.context.pool.acquire() as connection:
                events = await self.context.store.read.stream(connection, f"assessment-{referral_id}")
            return [triage.REGISTRY.decode(e.type, e.schema_version, e.open) for e in events]

        facts: Sequence[Any] = await until(read, lambda facts: len(facts) >= at_least)
        return facts

    async def heard(self, referral_id: UUID, version: int) -> None:
        """Wait until triage has applied this version of intake's stream."""

        async def last() -> int:
            found = await self.context.pool.fetchval(
                "SELECT last_version FROM triage.inbox WHERE stream_id = $1", f"referral-{referral_id}"
            )
            return found or 0

        await until(last, lambda done: done >= version)

    async def next_look(self, referral_id: UUID) -> datetime | None:
        """When the timer looks at the assessment clock next."""
        instant: datetime | None = await self.context.pool.fetchval(
            "SELECT next_fire_at FROM triage.clocks WHERE clock = 'assessment' AND referral_id = $1",
            referral_id,
        )
        return instant

    async def kinds(self, referral_id: UUID, *, at_least: int = 0) -> list[str]:
        """The names of the assessment's facts once there are this many."""
        return [type(fact).__name__ for fact in await self.facts(referral_id, at_least=at_least)]

    def _intake_store(self) -> Any:
        return self.hub.hub.contexts["intake"].store


async def until(read: Callable[[], Awaitable[Any]], enough: Callable[[Any], bool]) -> Any:
    """What ``read`` gives once it is enough."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not enough(found := await read()):
        assert time.monotonic() < deadline, f"not in time; last seen: {found}"
        await asyncio.sleep(0.01)
    return found


def receipt(
    referral_id: UUID,
    at: datetime,
    grade: RiskGrade = "medium",
    *,
    authority: Any = "885",
    child: bool = False,
) -> ReferralReceived:
    subject = SubjectSummary(
        subject_id=new_id(),
        kind="child" if child else "adult",
        age_band="5_10" if child else "18_64",
        authority=authority,
    )
    return ReferralReceived(
        referral_id=referral_id,
        received_at=at,
        summary=ReferralSummary(
            source_system="records",
            source_version=1,
            content_hash="0" * 64,
            document_version=1,
            force="22",
            authority=authority,
            referral_type="child" if child else "adult",
            incident_at=None,
            submitted_at=at,
            subjects=(subject,),
            risk=RiskIndicators(officer_grade=grade),
        ),
    )


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
async def service(start_hub: Any, clock: FixedClock) -> Triage:
    return Triage(await start_hub([INTAKE, SERVICE], clock=clock), clock)


async def test_a_referral_is_graded_when_it_arrives(service: Triage) -> None:
    referral_id = await service.received("medium")
    graded, assessment, share = await service.facts(referral_id, at_least=3)
    assert isinstance(graded, triage.RiskGraded)
    assert (graded.level_of_need, graded.referral_version) == ("amber", 1)
    assert [rule.rule_id for rule in graded.matched_rules] == ["officer-medium"]
    assert isinstance(assessment, triage.ClockStarted)
    assert isinstance(share, triage.ClockStarted)
    assert (assessment.due_at, share.due_at) == (NOW + 8 * HOUR, NOW + 52 * HOUR)


async def test_a_red_child_referral_is_shared_on_arrival(service: Triage) -> None:
    referral_id = await service.received("high", child=True)
    assert await service.kinds(referral_id) == [
        "RiskGraded", "ClockStarted", "ClockStarted", "ShareDecided", "ClockMet", "ClockMet",
    ]  # fmt: skip


async def test_an_event_heard_twice_grades_once(service: Triage) -> None:
    referral_id = await service.received()
    before = await service.facts(referral_id, at_least=3)
    await service.context.pool.execute("UPDATE triage.consumer_cursors SET position = 0")
    (consumer,) = service.hub.hub.parts["triage"].consumers
    again = asyncio.create_task(consumer.run())
    other = await service.received()
    await service.heard(other, 1)
    again.cancel()
    await service.context.pool.execute(
        "DELETE FROM triage.inbox; UPDATE triage.consumer_cursors SET position = 0"
    )
    again = asyncio.create_task(consumer.run())
    await service.heard(referral_id, 1)
    again.cancel()
    assert await service.facts(referral_id) == before


async def test_what_intake_says_later_is_graded_over_what_was_known(service: Triage) -> None:
    first = receipt(new_id(), NOW, "standard", child=True)
    referral_id = first.referral_id
    await service.intake_says(first)
    await service.facts(referral_id, at_least=3)
    information = InformationAdded(
        referral_id=referral_id,
        information_id=new_id(),
        added_at=NOW,
        content_hash="1",
        risk=RiskIndicators(self_harm_or_suicide=True),
    )
    amended = msgspec.structs.replace(first.summary, source_version=2, risk=RiskIndicators(injury="none"))
    await service.intake_says(
        information, ReferralAmended(referral_id=referral_id, amended_at=NOW, summary=amended)
    )
    await service.heard(referral_id, 3)
    grades = [fact for fact in await service.facts(referral_id) if isinstance(fact, triage.RiskGraded)]
    assert [(fact.trigger, fact.level_of_need, fact.referral_version) for fact in grades] == [
        ("received", "green", 1),
        ("information", "amber", 2),
        ("amended", "amber", 3),
    ]


async def test_a_withdrawn_referral_leaves_the_worklist(service: Triage) -> None:
    referral_id = await service.received()
    await service.intake_says(
        ReferralWithdrawn(referral_id=referral_id, withdrawn_at=NOW, reason_code="duplicate")
    )
    await service.heard(referral_id, 2)
    assert (await service.kinds(referral_id))[-3:] == ["AssessmentClosed", "ClockCancelled", "ClockCancelled"]
    async with service.hub.client("assessor") as client:
        assert (await client.get("/v1/worklist")).json() == {"assessments": [], "next": None}


async def test_the_timer_warns_and_breaches_once_each(service: Triage, clock: FixedClock) -> None:
    referral_id = await service.received("high")
    clock.instant = NOW + 0.75 * HOUR
    assert (await service.kinds(referral_id, at_least=4))[3:] == ["ClockWarned"]
    assert await service.next_look(referral_id) == NOW + HOUR
    clock.instant = NOW + HOUR
    assert (await service.kinds(referral_id, at_least=5))[3:] == ["ClockWarned", "ClockBreached"]
    warned, breached = (await service.facts(referral_id))[3:]
    assert isinstance(warned, triage.ClockWarned)
    assert isinstance(breached, triage.ClockBreached)
    assert (warned.clock, warned.warned_at) == ("assessment", NOW + 0.75 * HOUR)
    assert (breached.clock, breached.breached_at, breached.due_at) == ("assessment", NOW + HOUR, NOW + HOUR)
    assert await service.next_look(referral_id) is None
    witness = await service.received("high")
    clock.instant = NOW + 2 * HOUR
    await service.kinds(witness, at_least=5)
    assert len(await service.facts(referral_id)) == 5


async def test_the_timer_is_on_time_also_for_a_nearer_clock_set_while_it_sleeps(start_hub: Any) -> None:
    clock = ScaledClock(NOW, speed=1)
    service = Triage(await start_hub([INTAKE, SERVICE], clock=clock), clock)
    await service.received("high")
    for _ in range(4):
        warn_at, referral_id = clock.now() + timedelta(milliseconds=150), new_id()
        await service.intake_says(receipt(referral_id, warn_at - 0.75 * HOUR, "high"))
        warned = (await service.facts(referral_id, at_least=4))[3]
        assert timedelta() <= warned.warned_at - warn_at < timedelta(milliseconds=400)


async def test_a_jump_of_time_says_everything_that_was_missed_once(
    service: Triage, clock: FixedClock
) -> None:
    many = [await service.received("high") for _ in range(60)]  # more than one page of the timer
    clock.instant = NOW + 5 * HOUR
    for referral_id in many:
        kinds = await service.kinds(referral_id, at_least=7)
        assert sorted(kinds[3:]) == ["ClockBreached", "ClockBreached", "ClockWarned", "ClockWarned"]


async def test_what_fell_due_while_the_hub_was_down_is_said_after_it_starts(
    start_hub: Any, clock: FixedClock, tmp_path: Any, database: str
) -> None:
    async with run_hub([INTAKE, SERVICE], database, tmp_path, clock=clock) as first:
        referral_id = await Triage(first, clock).received("high")
        clock.instant = NOW + 0.75 * HOUR
        assert len(await Triage(first, clock).facts(referral_id, at_least=4)) == 4
    clock.instant = NOW + 2 * HOUR
    second = Triage(await start_hub([INTAKE, SERVICE], clock=clock), clock)
    facts = await second.facts(referral_id, at_least=5)
    assert isinstance(facts[4], triage.ClockBreached)
    assert facts[4].breached_at == NOW + 2 * HOUR
    clock.instant = NOW + 5 * HOUR
    kinds = await second.kinds(referral_id, at_least=7)
    assert kinds[3:] == ["ClockWarned", "ClockBreached", "ClockWarned", "ClockBreached"]


async def test_two_timers_on_one_database_say_it_once(
    service: Triage, start_hub: Any, clock: FixedClock
) -> None:
    await start_hub([SERVICE], clock=clock)
    many = [await service.received("high") for _ in range(20)]
    clock.instant = NOW + 5 * HOUR
    for referral_id in many:
        await service.kinds(referral_id, at_least=7)
    clock.instant = NOW + 6 * HOUR
    for referral_id in many:
        assert len(await service.facts(referral_id)) == 7


async def test_a_decision_stops_the_clocks(service: Triage, clock: FixedClock) -> None:
    referral_id, witness = await service.received("high"), await service.received("high")
    async with service.hub.client("assessor") as client:
        answer = await client.post(
            f"/v1/assessments/{referral_id}/decision", json={"decision": "share", "rationale": WHY}
        )
    assert answer.status_code == 200
    clock.instant = NOW + 5 * HOUR
    await service.kinds(witness, at_least=7)
    assert (await service.kinds(referral_id))[3:] == ["ShareDecided", "ClockMet", "ClockMet"]


async def test_the_worklist_is_by_band_then_due_and_comes_in_pages(
    service: Triage, clock: FixedClock
) -> None:
    green = [await service.received("standard", authority="884")]  # the first to be due
    clock.instant = NOW + 40 * HOUR
    amber = [await service.received("medium") for _ in range(2)]
    clock.instant = NOW + 47.5 * HOUR
    red = [await service.received("high") for _ in range(2)]
    expected = [str(referral_id) for referral_id in (*red, *amber, *green)]
    async with service.hub.client("assessor") as client:
        whole = (await client.get("/v1/worklist")).json()
        assert [row["referral_id"] for row in whole["assessments"]] == expected
        assert whole["next"] is None
        pages, cursor = [], None
        while True:
            page = (
                await client.get("/v1/worklist", params={"limit": 2, **cursor} if cursor else {"limit": 2})
            ).json()
            pages.append([row["referral_id"] for row in page["assessments"]])
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert pages == [expected[:2], expected[2:4], expected[4:]]
        amber_only = (await client.get("/v1/worklist", params={"level_of_need": "amber"})).json()
        assert [row["referral_id"] for row in amber_only["assessments"]] == expected[2:4]
        elsewhere = (await client.get("/v1/worklist", params={"authority": "884"})).json()
        assert [row["referral_id"] for row in elsewhere["assessments"]] == expected[4:]


async def test_a_cursor_of_nobody_s_making_is_refused(service: Triage) -> None:
    async with service.hub.client("operator") as client:
        for cursor in ("nonsense!", "AAAA", "_" * 34):
            answer = await client.get("/v1/worklist", params={"cursor": cursor})
            refused = (422, "urn:referral-hub:problem:cursor-malformed")
            assert (answer.status_code, answer.json()["type"]) == refused


async def test_an_assessment_reads_as_it_stands(service: Triage) -> None:
    referral_id = await service.received("medium")
    async with service.hub.client("auditor") as client:
        found = (await client.get(f"/v1/assessments/{referral_id}")).json()
    assert found == {
        "referral_id": str(referral_id),
        "authority": "885",
        "state": "open",
        "risk_grade": "medium",
        "level_of_need": "amber",
        "needs_person": False,
        "held_by_person": False,
        "disagrees_with_officer": False,
        "matched_rules": ["officer-medium"],
        "rule_set": "first-grading/1",
        "encompass_due": False,
        "received_at": "2026-03-11T09:00:00Z",
        "graded_at": "2026-03-11T09:00:00Z",
        "due_at": "2026-03-11T17:00:00Z",
        "breached": False,
        "clocks": {
            "assessment": {
                "epoch": 1, "due_at": "2026-03-11T17:00:00Z", "running": True, "warned": False,
                "breached": False, "in_time": None,
            },
            "share": {
                "epoch": 1, "due_at": "2026-03-13T13:00:00Z", "running": True, "warned": False,
                "breached": False, "in_time": None,
            },
        },
        "candidates": found["candidates"],
        "recipients": [],
        "decided_at": None,
        "decided_by_policy": None,
        "not_shared_reason": None,
    }  # fmt: skip
    assert [(who["authority"], who["agency"]) for who in found["candidates"]] == [("885", "adult_services")]


async def test_a_person_decides_with_a_sealed_reason(service: Triage) -> None:
    referral_id = await service.received("medium")
    async with service.hub.client("assessor", subject="j.price") as client:
        answer = await client.post(
            f"/v1/assessments/{referral_id}/decision",
            json={"decision": "not_share", "reason_code": "already_known", "rationale": WHY},
        )
        again = await client.post(
            f"/v1/assessments/{referral_id}/decision", json={"decision": "share", "rationale": WHY}
        )
    decided = answer.json()
    assert (decided["state"], decided["not_shared_reason"]) == ("not_shared", "already_known")
    assert again.json()["state"] == "shared"
    async with service.context.pool.acquire() as connection:
        events = await service.context.store.read.stream(connection, f"assessment-{referral_id}", 3)
    assert {event.actor for event in events} == {"j.price"}
    assert [event.type for event in events if event.sealed] == ["NotShared", "ShareDecided"]
    assert not any(b"school" in event.open for event in events)


async def test_recipients_may_be_named_one_by_one(service: Triage) -> None:
    referral_id = await service.received("medium")
    url = f"/v1/assessments/{referral_id}"
    async with service.hub.client("assessor") as client:
        subject_id = (await client.get(url)).json()["candidates"][0]["subject_id"]
        recipient = {"subject_id": subject_id, "authority": "894", "agency": "childrens_services"}
        share = {"decision": "share", "rationale": WHY, "recipients": [recipient]}
        stranger = share | {"recipients": [recipient | {"subject_id": str(new_id())}]}
        refused = await client.post(f"{url}/decision", json=stranger)
        shared = await client.post(f"{url}/decision", json=share)
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:referral-hub:problem:unknown-subject")
    assert shared.json()["recipients"] == [recipient]


async def test_a_person_regrades_and_the_clocks_count_from_receipt(
    service: Triage, clock: FixedClock
) -> None:
    referral_id = await service.received("medium")
    clock.instant = NOW + timedelta(minutes=30)
    async with service.hub.client("assessor") as client:
        raised = await client.post(
            f"/v1/assessments/{referral_id}/grade",
            json={"risk_grade": "high", "level_of_need": "red", "rationale": "Knife seen."},
        )
        lowered = await client.post(
            f"/v1/assessments/{referral_id}/grade",
            json={"risk_grade": "standard", "level_of_need": "red", "rationale": "no"},
        )
    assert raised.json()["due_at"] == "2026-03-11T10:00:00Z"
    assert (lowered.status_code, lowered.json()["type"]) == (
        409, "urn:referral-hub:problem:rationale-too-short",
    )  # fmt: skip


async def test_a_malformed_decision_is_refused_and_echoes_nothing(service: Triage) -> None:
    referral_id = await service.received("medium")
    bodies: list[Any] = [
        {"decision": "share"},
        {"decision": "maybe", "rationale": WHY},
        {"decision": "share", "rationale": WHY, "recipients": []},
        {"decision": "share", "rationale": WHY, "mood": "bad"},
        {"decision": "not_share", "rationale": WHY},
        {"decision": "not_share", "reason_code": "other", "rationale": "\x00"},
        {"decision": "share", "rationale": " " * 30},
        {"decision": "share", "rationale": "x" * 2001},
        [],
    ]
    async with service.hub.client("assessor") as client:
        for body in bodies:
            answer = await client.post(f"/v1/assessments/{referral_id}/decision", json=body)
            assert answer.status_code == 422
            assert "school" not in answer.text
    assert await service.kinds(referral_id) == ["RiskGraded", "ClockStarted", "ClockStarted"]


async def test_each_route_lets_in_its_roles_alone(service: Triage) -> None:
    let_in: dict[str, set[str]] = {}
    routes = {
        "worklist": "GET", "assessments/{id}": "GET", "assessments/{id}/decision": "POST",
        "assessments/{id}/grade": "POST",
    }  # fmt: skip
    for path, method in routes.items():
        let_in[path] = set()
        for role in ROLES:
            async with service.hub.client(role) as client:
                answer = await client.request(method, f"/v1/{path}".format(id=new_id()))
            if answer.status_code != 403:
                let_in[path].add(role)
        async with service.hub.client(None) as client:
            answer = await client.request(method, f"/v1/{path}".format(id=new_id()))
            assert answer.status_code == 401
    assert let_in == {
        "worklist": {"assessor", "operator"},
        "assessments/{id}": {"assessor", "operator", "auditor"},
        "assessments/{id}/decision": {"assessor"},
        "assessments/{id}/grade": {"assessor"},
    }


async def test_an_assessor_bound_to_an_authority_sees_no_other(service: Triage) -> None:
    here, elsewhere = await service.received(authority="885"), await service.received(authority="884")
    async with service.hub.client("assessor", authority="885") as client:
        listed = (await client.get("/v1/worklist")).json()["assessments"]
        answers: list[httpx.Response] = [
            await client.get(f"/v1/assessments/{elsewhere}"),
            await client.post(
                f"/v1/assessments/{elsewhere}/decision", json={"decision": "share", "rationale": WHY}
            ),
        ]
    assert [row["referral_id"] for row in listed] == [str(here)]
    assert [answer.status_code for answer in answers] == [404, 404]


async def test_an_unknown_referral_is_not_found(service: Triage) -> None:
    async with service.hub.client("assessor") as client:
        answer = await client.get(f"/v1/assessments/{new_id()}")
    assert (answer.status_code, answer.json()["type"]) == (
        404, "urn:referral-hub:problem:assessment-not-found",
    )  # fmt: skip


async def test_rows_folded_from_the_log_equal_the_live_ones(service: Triage, clock: FixedClock) -> None:
    many = [await service.received(grade) for grade in ("high", "medium", "standard")]
    clock.instant = NOW + HOUR
    await service.kinds(many[0], at_least=5)
    async with service.hub.client("assessor") as client:
        for referral_id in many[:2]:
            await client.post(
                f"/v1/assessments/{referral_id}/decision", json={"decision": "share", "rationale": WHY}
            )
        for referral_id in many:
            live = (await client.get(f"/v1/assessments/{referral_id}")).json()
            row = None
            for fact in await service.facts(referral_id):
                row = project(row, fact)
            assert row is not None
            assert (live["state"], live["breached"]) == (row.state, row.breached)
            stored = await service.context.pool.fetchval(
                "SELECT content FROM triage.assessments WHERE referral_id = $1", referral_id
            )
            assert msgspec.json.decode(stored, type=WorklistRow) == row


async def test_no_clock_that_stands_still_keeps_the_timer_awake(service: Triage) -> None:
    referral_id = await service.received("high", child=True)
    waiting = await service.context.pool.fetchval(
        "SELECT count(*) FROM triage.clocks WHERE referral_id = $1 AND next_fire_at IS NOT NULL", referral_id
    )
    assert waiting == 0
