"""Courses that referrals may take, told to oversight as facts in the logs of the services it hears."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx

from hub_kernel.clock import FixedClock
from hub_kernel.event_store import EventStore, StreamAppend
from hub_kernel.handling import Context, new_event
from hub_kernel.testing import RunningHub
from hub_schemas.codes import Authority, LevelOfNeed, RiskGrade
from hub_schemas.facts import Fact
from hub_schemas.intake import ReferralReceived, ReferralSummary, SubjectSummary
from hub_schemas.partner_gateway import Acknowledged, Attempted, DeliveryPlanned
from hub_schemas.triage import (
    ClockBreached,
    ClockMet,
    ClockStarted,
    NotShared,
    Recipient,
    RiskGraded,
    ShareDecided,
)

NOW = datetime(2026, 3, 11, 9, 0, tzinfo=UTC)
AGES_SECONDS = (1_000, 3_599, 3_600, 14_399, 14_400, 86_399, 86_400, 259_199, 259_200)
"""Just before and on every edge between two ages of waiting."""
DEADLINE_SECONDS = 30
ALL_TABLES = ("referral_views", "breaches", "deliveries", "timeline")


@dataclass(frozen=True)
class Said:
    """A fact with the log and the stream it belongs to."""

    source: str
    stream_id: str
    fact: Any


@dataclass(frozen=True)
class Course:
    """What becomes of one referral; instants are in seconds after receipt."""

    number: int
    received_at: datetime
    authority: Authority = "893"
    risk_grade: RiskGrade = "medium"
    level_of_need: LevelOfNeed = "amber"
    graded: float | None = None
    breached: bool = False
    shared: float | None = None
    not_shared: float | None = None
    acknowledged: float | None = None

    @property
    def referral_id(self) -> UUID:
        """Its id."""
        return UUID(int=self.number)

    def at(self, seconds: float) -> datetime:
        """So many seconds after receipt."""
        return self.received_at + timedelta(seconds=seconds)

    def intake(self) -> list[Said]:
        """What intake says."""
        subject = SubjectSummary(
            subject_id=UUID(int=self.number + 10**6),
            kind="child",
            age_band="5_10",
            authority=self.authority,
        )
        summary = ReferralSummary(
            source_system="records",
            source_version=1,
            content_hash="00",
            document_version=1,
            force="west-mercia",
            authority=self.authority,
            referral_type="child",
            incident_at=None,
            submitted_at=self.received_at,
            subjects=(subject,),
        )
        received = ReferralReceived(
            referral_id=self.referral_id, received_at=self.received_at, summary=summary
        )
        return [Said("intake", f"referral-{self.referral_id}", received)]

    def triage(self) -> list[Said]:
        """What triage says."""
        if self.graded is None:
            return []
        facts: list[Fact] = [
            RiskGraded(
                referral_id=self.referral_id,
                graded_at=self.at(self.graded),
                risk_grade=self.risk_grade,
                level_of_need=self.level_of_need,
                needs_person=False,
                matched_rules=(),
                rule_set="first 1",
                rule_set_hash="01",
                inputs_hash="02",
                disagrees_with_officer=False,
                authority=self.authority,
                trigger="received",
            ),
            ClockStarted(
                referral_id=self.referral_id,
                clock="assessment",
                epoch=1,
                started_at=self.received_at,
                goal_seconds=3_600,
                calendar="round_the_clock",
                warn_at=self.at(2_700),
                due_at=self.at(3_600),
                policy="clocks 1",
                policy_hash="03",
                risk_grade=self.risk_grade,
                level_of_need=self.level_of_need,
            ),
        ]
        if self.breached:
            facts.append(
                ClockBreached(
                    referral_id=self.referral_id,
                    clock="assessment",
                    epoch=1,
                    breached_at=self.at(3_600),
                    due_at=self.at(3_600),
                    authority=self.authority,
                    risk_grade=self.risk_grade,
                    level_of_need=self.level_of_need,
                )
            )
        facts += self._decision()
        return [Said("triage", f"assessment-{self.referral_id}", fact) for fact in facts]

    def _decision(self) -> list[Fact]:
        if self.shared is not None:
            shared = ShareDecided(
                referral_id=self.referral_id,
                decided_at=self.at(self.shared),
                recipients=(
                    Recipient(
                        subject_id=UUID(int=self.number + 10**6),
                        authority=self.authority,
                        agency="childrens_services",
                    ),
                ),
                risk_grade=self.risk_grade,
                level_of_need=self.level_of_need,
                share_due_at=None,
            )
            return [shared, self._met(self.shared)]
        if self.not_shared is not None:
            kept = NotShared(
                referral_id=self.referral_id,
                decided_at=self.at(self.not_shared),
                reason_code="below_threshold",
            )
            return [kept, self._met(self.not_shared)]
        return []

    def _met(self, seconds: float) -> ClockMet:
        return ClockMet(
            referral_id=self.referral_id,
            clock="assessment",
            epoch=1,
            met_at=self.at(seconds),
            due_at=self.at(3_600),
            in_time=seconds < 3_600,
        )

    def gateway(self) -> list[Said]:
        """What the gateway says."""
        if self.shared is None:
            return []
        delivery_id = UUID(int=self.number + 2 * 10**6)
        ids: dict[str, Any] = {"delivery_id": delivery_id, "referral_id": self.referral_id}
        facts: list[Fact] = [
            DeliveryPlanned(
                **ids,
                subject_id=UUID(int=self.number + 10**6),
                authority=self.authority,
                agency="childrens_services",
                package="mosaic",
                package_version=1,
                message_id=delivery_id,
                planned_at=self.at(self.shared),
                deadline_at=None,
            ),
            Attempted(**ids, attempt=1, attempted_at=self.at(self.shared)),
        ]
        if self.acknowledged is not None:
            facts.append(
                Acknowledged(
                    **ids,
                    acknowledged_at=self.at(self.acknowledged),
                    authority=self.authority,
                    agency="childrens_services",
                )
            )
        return [Said("partner_gateway", f"delivery-{delivery_id}", fact) for fact in facts]


@dataclass(frozen=True)
class World:
    """Oversight at work, and the logs of the services it hears."""

    hub: RunningHub
    pool: asyncpg.Pool
    clock: FixedClock

    async def say(self, *said: Said) -> None:
        """Put facts into their logs, in the order given, one append for each stretch of one log."""
        for source in dict.fromkeys(one.source for one in said):
            store = EventStore(self.pool, source, self.clock)
            streams: dict[str, list[Any]] = {}
            for one in said:
                if one.source == source:
                    streams.setdefault(one.stream_id, []).append(one.fact)
            for stream_id, facts in streams.items():
                context = Context(facts[0].referral_id, "tester", self.clock.now())
                events = [
                    new_event(fact, UUID(int=random.getrandbits(128)), context, None, None) for fact in facts
                ]
                await store.append([StreamAppend(stream_id, -1, events)])

    async def heard(self) -> None:
        """Wait until oversight has heard every fact in the logs, parked ones among them."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not await self._has_heard():  # noqa: ASYNC110  another connection's effect has no event
                await asyncio.sleep(0.01)

    async def _has_heard(self) -> bool:
        for source in ("intake", "triage", "partner_gateway"):
            head = await self.pool.fetchval(f"SELECT position FROM {source}.log_head")
            done = await self.pool.fetchval(
                "SELECT count(*) FROM oversight.timeline WHERE source = $1", source
            )
            parked = await self.pool.fetchval(
                "SELECT count(*) FROM oversight.parked WHERE source = $1", source
            )
            if done + parked < head:
                return False
        return True

    async def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of the live read models, in an order of their own."""
        return {
            table: [tuple(row) for row in await self.pool.fetch(f"TABLE oversight.{table} ORDER BY 1, 2, 3")]
            for table in ALL_TABLES
        }

    async def get(self, path: str, **claims: Any) -> httpx.Response:
        """Ask as an operator."""
        async with self.hub.client("operator", **claims) as client:
            return await client.get(path)


def in_turns(courses: Sequence[Course], seed: int) -> list[Said]:
    """The facts of all courses with the streams interleaved at random, each in its own order."""
    rng = random.Random(seed)  # noqa: S311  the same order every time
    streams = [iter(said) for c in courses for said in (c.intake(), c.triage(), c.gateway()) if said]
    said: list[Said] = []
    while streams:
        stream = rng.choice(streams)
        if (one := next(stream, None)) is None:
            streams.remove(stream)
        else:
            said.append(one)
    return said


def a_crowd(count: int) -> list[Course]:
    """Referrals of every authority and grade that have come differently far."""
    rng = random.Random(7)  # noqa: S311  the same crowd every time
    levels: dict[RiskGrade, LevelOfNeed] = {"high": "red", "medium": "amber", "standard": "green"}
    crowd = []
    for number in range(1, count + 1):
        grade = rng.choice(list(levels))
        shared = rng.choice([None, rng.uniform(10, 9_000)])
        crowd.append(
            Course(
                number=number,
                received_at=NOW - timedelta(seconds=rng.choice(AGES_SECONDS)),
                authority=rng.choice(["884", "885", "893", "894"]),
                risk_grade=grade,
                level_of_need=levels[grade],
                graded=None if shared is None and rng.random() < 0.2 else round(rng.uniform(0.01, 5), 3),
                breached=rng.random() < 0.3,
                shared=shared,
                not_shared=600 if shared is None and rng.random() < 0.3 else None,
                acknowledged=shared + 1 if shared is not None and rng.random() < 0.7 else None,
            )
        )
    return crowd
