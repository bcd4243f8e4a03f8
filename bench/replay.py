"""Replay: the whole log read and decoded to facts, beside the library; and folded into oversight's views."""

import time
from typing import cast
from uuid import UUID

import uvloop

from bench.measuring import Row, postgres, report
from bench.rival_eventsourcing import fill, replay_rate
from hub_embedded.services import SERVICES
from hub_kernel.clock import SystemClock, new_id
from hub_kernel.database import open_pool
from hub_kernel.event_store import EventStore, StreamAppend
from hub_kernel.event_store.reading import no_collection
from hub_kernel.handling import Context, new_event
from hub_kernel.migrating import migrate
from hub_oversight.views.referral import ReferralView, project
from hub_schemas.triage import REGISTRY, MatchedRule, RiskGraded, TriageFact

EVENTS = 100_000
ROUNDS = 3
BATCH = 500


def main() -> None:
    """Fill both logs with as many events of about the same size, then read them in turn."""
    with postgres() as server:
        server.ensure_database("rival")
        dsn, rival_dsn = server.dsn(), server.dsn("rival")
        size = uvloop.run(_fill(dsn))
        fill(rival_dsn, "a" * size, EVENTS)
        facts: list[float] = []
        views: list[float] = []
        library: list[float] = []
        for _ in range(ROUNDS):
            library.append(replay_rate(rival_dsn, EVENTS))
            facts.append(uvloop.run(_facts_rate(dsn)))
            views.append(uvloop.run(_views_rate(dsn)))
    rivals = {"eventsourcing": library}
    report(
        "replay",
        [
            Row.of("replay-to-facts", "events/s", facts, rivals, events=EVENTS, body_bytes=size),
            Row.of("replay-to-views", "events/s", views, rivals, events=EVENTS, body_bytes=size),
        ],
    )


async def _fill(dsn: str) -> int:
    await migrate(dsn, SERVICES)
    async with await open_pool(dsn, role=None, size=2, timeout_seconds=60) as pool:
        store = EventStore(pool, "triage", SystemClock())
        for _ in range(EVENTS // BATCH):
            await store.append([_append() for _ in range(BATCH)])
        async with pool.acquire() as connection:
            [event] = await store.read.log(connection, 0, 1)
        return len(event.open)


def _append() -> StreamAppend:
    referral_id, now = new_id(), SystemClock().now()
    fact = RiskGraded(
        referral_id=referral_id,
        graded_at=now,
        risk_grade="medium",
        level_of_need="amber",
        needs_person=False,
        matched_rules=(
            MatchedRule(rule_id="R12", risk_grade="medium", level_of_need="amber", source="College APP"),
        ),
        rule_set="first",
        rule_set_hash="0" * 64,
        inputs_hash="1" * 64,
        disagrees_with_officer=False,
        authority="885",
        trigger="received",
    )
    event = new_event(fact, new_id(), Context(referral_id, "bench", now), None, None)
    return StreamAppend(f"assessment-{referral_id}", 0, [event])


async def _facts_rate(dsn: str) -> float:
    async with await open_pool(dsn, role=None, size=2) as pool, pool.acquire() as connection:
        reader = EventStore(pool, "triage", SystemClock()).read
        started, seen = time.monotonic(), 0
        async for page in reader.pages(connection):
            with no_collection():
                facts = [REGISTRY.decode(event.type, event.schema_version, event.open) for event in page]
            seen += len(facts)
        return seen / (time.monotonic() - started)


async def _views_rate(dsn: str) -> float:
    async with await open_pool(dsn, role=None, size=2) as pool, pool.acquire() as connection:
        reader = EventStore(pool, "triage", SystemClock()).read
        views: dict[UUID, ReferralView] = {}
        started, seen = time.monotonic(), 0
        async for page in reader.pages(connection):
            for event in page:
                fact = cast("TriageFact", REGISTRY.decode(event.type, event.schema_version, event.open))
                key = event.correlation_id
                views[key] = project(views.get(key), fact)
            seen += len(page)
        return seen / (time.monotonic() - started)
