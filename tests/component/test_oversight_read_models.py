"""Oversight on a real database: what it hears of three services, what it answers, what a rebuild proves."""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, get_args
from uuid import UUID

import asyncpg
import msgspec
import pytest
from tests.component.oversight_courses import NOW, Course, Said, World, a_crowd, in_turns

from hub_kernel.auth import Role
from hub_kernel.clock import FixedClock
from hub_kernel.partitioning import partition_of
from hub_oversight.service import SERVICE, rebuild


@pytest.fixture
async def world(start_hub: Any) -> AsyncIterator[World]:
    clock = FixedClock(NOW)
    hub = await start_hub([SERVICE], clock=clock)
    async with asyncpg.create_pool(hub.dsn, min_size=1, max_size=4) as pool:
        yield World(hub, pool, clock)


async def test_the_backlog_counts_who_waits_whatever_order_the_facts_came_in(world: World) -> None:
    crowd = a_crowd(120)
    await world.say(*in_turns(crowd, seed=1))
    await world.heard()
    waiting = [c for c in crowd if c.shared is None and (c.graded is None or c.not_shared is None)]
    answer = (await world.get("/v1/backlog")).json()
    ages = Counter(age_of((NOW - course.received_at).total_seconds()) for course in waiting)
    levels = Counter(course.level_of_need if course.graded else "ungraded" for course in waiting)
    assert answer["waiting"] == len(waiting)
    assert answer["by_age"] == {age: ages[age] for age in answer["by_age"]}
    assert answer["by_level_of_need"] == {level: levels[level] for level in answer["by_level_of_need"]}
    assert answer["by_stage"] == {
        "received": sum(course.graded is None for course in waiting),
        "graded": sum(course.graded is not None for course in waiting),
    }
    assert min(ages.values()) > 0


def age_of(seconds: float) -> str:
    """The age of waiting, said another way than the code under test does."""
    edges = {"under_1_h": 3_600, "1_to_4_h": 14_400, "4_to_24_h": 86_400, "1_to_3_d": 259_200}
    return next((age for age, edge in edges.items() if seconds < edge), "over_3_d")


async def test_percentiles_are_the_nearest_rank_of_what_was_measured(world: World) -> None:
    crowd = a_crowd(160)
    await world.say(*in_turns(crowd, seed=2))
    await world.heard()
    answer = (await world.get("/v1/timeliness")).json()

    def expected(values: list[float | None]) -> dict[str, Any]:
        known = sorted(value for value in values if value is not None)
        ranks = [known[math.ceil(percent * len(known) / 100) - 1] for percent in (50, 90, 95)]
        return {"count": len(known)} | {
            f"{name}_seconds": pytest.approx(rank, abs=1e-6)
            for name, rank in zip(("median", "p90", "p95"), ranks, strict=True)
        }

    for measure, attribute in (("grade", "graded"), ("share", "shared"), ("acknowledgement", "acknowledged")):
        figures = answer["measures"][measure]
        assert figures["overall"] == expected([getattr(course, attribute) for course in crowd])
        for authority, measured in figures["by_authority"].items():
            mine = [getattr(course, attribute) for course in crowd if course.authority == authority]
            assert measured == expected(mine)


async def test_timeliness_leaves_out_what_was_received_before_the_window(world: World) -> None:
    old = Course(number=1, received_at=NOW - timedelta(days=3), graded=50.0)
    new = Course(number=2, received_at=NOW - timedelta(hours=3), graded=5.0)
    await world.say(*in_turns([old, new], seed=3))
    await world.heard()
    answer = (await world.get("/v1/timeliness?days=1")).json()
    assert answer["received_since"] == "2026-03-10T09:00:00Z"
    assert answer["measures"]["grade"]["overall"] == {
        "count": 1,
        "median_seconds": 5.0,
        "p90_seconds": 5.0,
        "p95_seconds": 5.0,
    }


async def test_breaches_are_open_until_their_clock_has_ended_and_the_gravest_come_first(world: World) -> None:
    received_at = NOW - timedelta(hours=2)
    courses = [
        Course(number=1, received_at=received_at, graded=1.0, breached=True),
        Course(number=2, received_at=received_at, graded=1.0, breached=True, shared=4_000.0),
        Course(number=3, received_at=received_at, graded=1.0, breached=True, level_of_need="red"),
    ]
    await world.say(*in_turns(courses, seed=4))
    await world.heard()
    answer = (await world.get("/v1/breaches")).json()
    assert answer["by_clock"] == {
        "assessment": {"open": 2, "total": 3},
        "share": {"open": 0, "total": 0},
    }
    assert [one["referral_id"] for one in answer["open"]] == [str(UUID(int=3)), str(UUID(int=1))]
    assert answer["open"][1] == {
        "referral_id": str(UUID(int=1)),
        "authority": "893",
        "clock": "assessment",
        "due_at": "2026-03-11T08:00:00Z",
        "breached_at": "2026-03-11T08:00:00Z",
        "risk_grade": "medium",
        "level_of_need": "amber",
        "late_start": False,
    }


async def test_a_timeline_tells_what_three_services_said_in_the_order_it_was_learnt(world: World) -> None:
    course = Course(number=1, received_at=NOW, graded=2.0, shared=60.0, acknowledged=90.0)
    for seconds, said in ((0, course.intake()), (2, course.triage()), (90, course.gateway())):
        world.clock.instant = course.at(seconds)
        await world.say(*said)
    await world.heard()
    answer = (await world.get(f"/v1/timeline/{course.referral_id}")).json()
    entries = answer.pop("entries")
    assert [(entry["source"], entry["sentence"]) for entry in entries] == [
        (
            "intake",
            "Received from records: child, 1 subject, the youngest 5 to 10, Shropshire; 0% complete.",
        ),
        ("triage", "Graded medium, level of need amber, as no rule spoke."),
        ("triage", "The assessment clock started: 1 h round the clock, due 11 Mar 2026 at 10:00."),
        ("triage", "Decided by a person to share with Shropshire children's services (1 contact)."),
        ("triage", "The assessment deadline was met."),
        ("partner_gateway", "A contact for Shropshire children's services was planned."),
        ("partner_gateway", "Sending, attempt 1."),
        ("partner_gateway", "Shropshire children's services opened a contact."),
    ]
    assert answer == {
        "referral_id": str(course.referral_id),
        "authority": "893",
        "referral_type": "child",
        "subjects": 1,
        "youngest": "5_10",
        "risk_grade": "medium",
        "level_of_need": "amber",
        "needs_person": False,
        "stage": "acknowledged",
        "received_at": "2026-03-11T09:00:00Z",
        "graded_at": "2026-03-11T09:00:02Z",
        "decided_at": "2026-03-11T09:01:00Z",
        "shared_at": "2026-03-11T09:01:00Z",
        "first_accepted_at": None,
        "all_acknowledged_at": "2026-03-11T09:01:30Z",
        "closed_at": "2026-03-11T09:01:30Z",
        "due_at": None,
        "overdue": False,
    }


async def test_a_token_of_one_authority_sees_no_other(world: World) -> None:
    mine = Course(number=1, received_at=NOW, authority="884", graded=1.0, breached=True)
    theirs = Course(number=2, received_at=NOW, authority="894", graded=1.0, breached=True)
    await world.say(*in_turns([mine, theirs], seed=5))
    await world.heard()
    backlog = (await world.get("/v1/backlog", authority="884")).json()
    breaches = (await world.get("/v1/breaches", authority="884")).json()
    timeliness = (await world.get("/v1/timeliness", authority="884")).json()
    page = await world.get("/", authority="884")
    assert (backlog["waiting"], len(breaches["open"])) == (1, 1)
    assert timeliness["measures"]["grade"]["overall"]["count"] == 1
    assert (str(mine.referral_id) in page.text, str(theirs.referral_id) in page.text) == (True, False)
    assert (await world.get(f"/v1/timeline/{mine.referral_id}", authority="884")).status_code == 200
    hidden = await world.get(f"/v1/timeline/{theirs.referral_id}", authority="884")
    assert (hidden.status_code, hidden.json()["type"]) == (404, "urn:referral-hub:problem:referral-unknown")


async def test_only_the_roles_of_a_route_may_ask(world: World) -> None:
    figures, history = {"operator", "assessor"}, {"operator", "assessor", "auditor"}
    routes = {
        f"/v1/timeline/{UUID(int=1)}": history,
        "/v1/backlog": figures,
        "/v1/timeliness": figures,
        "/v1/breaches": figures,
        "/": figures,
        f"/referrals/{UUID(int=1)}": history,
        "/static/hub.css": history,
    }
    await world.say(*Course(number=1, received_at=NOW).intake())
    await world.heard()
    let_in: dict[str, set[str]] = {path: set() for path in routes}
    for role in get_args(Role):
        async with world.hub.client(role) as client:
            for path in routes:
                answer = await client.get(path)
                assert answer.status_code in {200, 403}
                if answer.status_code == 200:
                    let_in[path].add(role)
    assert let_in == routes
    async with world.hub.client(None) as stranger:
        assert {(await stranger.get(path)).status_code for path in routes} == {401}


async def test_pages_allow_nothing_from_elsewhere_and_escape_what_a_system_called_itself(
    world: World,
) -> None:
    [said] = Course(number=1, received_at=NOW).intake()
    summary = msgspec.structs.replace(said.fact.summary, source_system="<script>alert(1)</script>")
    fact = msgspec.structs.replace(said.fact, summary=summary)
    await world.say(Said(said.source, said.stream_id, fact))
    await world.heard()
    page = await world.get(f"/referrals/{UUID(int=1)}")
    assert page.headers["content-security-policy"] == (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    )
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert "<script>" not in page.text


async def test_a_referral_or_file_there_is_not_is_said_so(world: World) -> None:
    unknown = await world.get(f"/referrals/{UUID(int=9)}")
    assert (unknown.status_code, "Referral not found" in unknown.text) == (404, True)
    assert (await world.get("/static/secrets.txt")).status_code == 404
    assert (await world.get("/referrals/not-an-id")).status_code == 422


async def test_a_rebuild_from_the_logs_equals_the_live_read_models_to_the_same_bytes(world: World) -> None:
    await world.say(*in_turns(a_crowd(60), seed=6))
    await world.heard()
    context = world.hub.hub.contexts["oversight"]
    live = await world.dump()
    rebuilt = await rebuild(context, replace=True)
    facts = sum(len(rows) for table, rows in live.items() if table == "timeline")
    assert (rebuilt.events, rebuilt.left_out, rebuilt.equal, rebuilt.replaced) == (facts, 0, True, True)
    assert await world.dump() == live
    assert len(live["referral_views"]) == 60


async def test_a_rebuild_finds_every_row_that_differs_and_replaces_it_if_asked(world: World) -> None:
    await world.say(*in_turns(a_crowd(20), seed=7))
    await world.heard()
    right = await world.dump()
    await world.pool.execute(
        "UPDATE oversight.referral_views SET view = view || ' ' WHERE referral_id = $1", UUID(int=3)
    )
    await world.pool.execute("DELETE FROM oversight.timeline WHERE referral_id = $1", UUID(int=4))
    context = world.hub.hub.contexts["oversight"]
    lines = sum(row[0] == UUID(int=4) for row in right["timeline"])
    compared = await rebuild(context)
    assert compared.differing_rows == {"referral_views": 2, "breaches": 0, "deliveries": 0, "timeline": lines}
    assert (compared.equal, compared.replaced, await world.dump() == right) == (False, False, False)
    await rebuild(context, replace=True)
    assert await world.dump() == right


async def test_a_rebuild_while_facts_arrive_still_equals_and_loses_none(world: World) -> None:
    crowd = in_turns(a_crowd(150), seed=8)
    await world.say(*crowd[:200])
    context = world.hub.hub.contexts["oversight"]
    more = asyncio.create_task(world.say(*crowd[200:]))
    rebuilds = [await rebuild(context, replace=True) for _ in range(3)]
    await more
    await world.heard()
    assert [one.equal for one in rebuilds] == [True, True, True]
    last = await rebuild(context)
    assert (last.equal, last.events) == (True, len(crowd))


async def test_a_parked_stream_is_left_out_of_a_rebuild_and_named_on_the_page(world: World) -> None:
    good = Course(number=1, received_at=NOW, graded=1.0)
    bad = Course(number=2, received_at=NOW, graded=1.0)
    await world.say(*good.intake(), *good.triage(), *bad.triage()[1:])
    await world.heard()
    rebuilt = await rebuild(world.hub.hub.contexts["oversight"])
    assert (rebuilt.equal, rebuilt.events, rebuilt.left_out) == (True, 3, 1)
    page = await world.get("/")
    assert "Some facts could not be read." in page.text


async def test_one_referral_told_by_three_services_at_once_is_folded_without_losing_a_fact(
    world: World,
) -> None:
    """All of one partition, so that the three consumers want the same rows at the same time."""
    numbers = [n for n in range(1, 400) if partition_of(str(UUID(int=n)), 4) == 0][:60]
    courses = [Course(number=n, received_at=NOW, graded=1.0, shared=60.0, acknowledged=90.0) for n in numbers]
    await asyncio.gather(
        *(
            world.say(*(said for course in courses for said in telling(course)))
            for telling in (Course.intake, Course.triage, Course.gateway)
        )
    )
    await world.heard()
    stages = await world.pool.fetch("SELECT stage, count(*) FROM oversight.referral_views GROUP BY stage")
    assert [tuple(row) for row in stages] == [("acknowledged", len(courses))]
