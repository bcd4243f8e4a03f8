"""The history of one referral: what each service said of it, in plain English, in the order it was learnt."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast
from uuid import UUID

from hub_oversight.views.referral import HeardFact, ReferralView, Stage
from hub_oversight.views.sentences import sentence
from hub_schemas import intake, partner_gateway, triage
from hub_schemas.codes import AgeBand, Authority, LevelOfNeed, ReferralType, RiskGrade
from hub_schemas.envelope import RecordedEvent
from hub_schemas.registry import Registry

SOURCES: Final[Mapping[str, Registry]] = {
    "intake": intake.REGISTRY,
    "triage": triage.REGISTRY,
    "partner_gateway": partner_gateway.REGISTRY,
}
"""Whom oversight hears, in the order a referral meets them."""


def fact_of(event: RecordedEvent) -> HeardFact:
    """Read an event's fact. Raises ``UnknownFact`` for one of a later release, ``ValueError`` for noise."""
    fact = SOURCES[event.source].decode(event.type, event.schema_version, event.open)
    return cast("HeardFact", fact)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """One line of a referral's history: which service said what, when it was true and when it was learnt."""

    source: str
    position: int
    occurred_at: datetime
    recorded_at: datetime
    type: str
    sentence: str


def entry_of(event: RecordedEvent, fact: HeardFact) -> TimelineEntry:
    """The timeline's line for one event."""
    return TimelineEntry(
        source=event.source,
        position=event.position,
        occurred_at=event.occurred_at,
        recorded_at=event.recorded_at,
        type=event.type,
        sentence=sentence(fact),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """A referral as far as it has come, and all that was heard of it; nothing in it names a person."""

    referral_id: UUID
    authority: Authority | None
    referral_type: ReferralType | None
    subjects: int | None
    youngest: AgeBand | None
    risk_grade: RiskGrade | None
    level_of_need: LevelOfNeed | None
    needs_person: bool
    stage: Stage
    received_at: datetime | None
    graded_at: datetime | None
    decided_at: datetime | None
    shared_at: datetime | None
    first_accepted_at: datetime | None
    all_acknowledged_at: datetime | None
    closed_at: datetime | None
    due_at: datetime | None
    overdue: bool
    entries: list[TimelineEntry]


def timeline_of(view: ReferralView, entries: list[TimelineEntry]) -> Timeline:
    """Put a referral and its lines together."""
    submission, assessment = view.submission, view.assessment
    return Timeline(
        referral_id=view.referral_id,
        authority=view.authority,
        referral_type=submission.referral_type if submission else None,
        subjects=submission.subjects if submission else None,
        youngest=submission.youngest if submission else None,
        risk_grade=assessment.risk_grade if assessment else None,
        level_of_need=assessment.level_of_need if assessment else None,
        needs_person=bool(assessment and assessment.needs_person),
        stage=view.stage,
        received_at=view.received_at,
        graded_at=view.graded_at,
        decided_at=view.decided_at,
        shared_at=view.shared_at,
        first_accepted_at=view.first_accepted_at,
        all_acknowledged_at=view.all_acknowledged_at,
        closed_at=view.closed_at,
        due_at=assessment.due_at if assessment else None,
        overdue=bool(assessment and assessment.open_breaches),
        entries=entries,
    )
