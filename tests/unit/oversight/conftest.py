"""One referral's facts as three services record them, to be heard in any interleaving."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from hub_oversight.views.referral import HeardFact
from hub_schemas.codes import AgeBand, ClockName, LevelOfNeed, RiskGrade, SubjectKind
from hub_schemas.intake import (
    InformationAdded,
    ReferralAmended,
    ReferralReceived,
    ReferralSummary,
    ReferralWithdrawn,
    RiskIndicators,
    SubjectSummary,
)
from hub_schemas.partner_gateway import (
    Acknowledged,
    Attempted,
    AttemptFailed,
    Cancelled,
    DeliveryPlanned,
    Expired,
    HumanFallbackRaised,
    OutcomeRecorded,
    Rejected,
    Rendered,
    TransportAccepted,
)
from hub_schemas.triage import (
    AssessmentClosed,
    ClockBreached,
    ClockCancelled,
    ClockMet,
    ClockStarted,
    ClockWarned,
    MatchedRule,
    NotShared,
    Recipient,
    Regraded,
    RiskGraded,
    ShareDecided,
)

REFERRAL = UUID(int=1)
CHILD, ADULT = UUID(int=11), UUID(int=12)
TO_CHILDRENS, TO_ADULTS = UUID(int=21), UUID(int=22)
RECEIVED_AT = datetime(2026, 3, 11, 9, 0, tzinfo=UTC)


def after(minutes: float) -> datetime:
    """So many minutes after receipt."""
    return RECEIVED_AT + timedelta(minutes=minutes)


def a_subject(subject_id: UUID, age_band: AgeBand) -> SubjectSummary:
    kind: SubjectKind = "adult" if age_band in {"18_64", "65_plus"} else "child"
    return SubjectSummary(subject_id=subject_id, kind=kind, age_band=age_band, authority="893")


def a_summary(*subjects: SubjectSummary, version: int = 1) -> ReferralSummary:
    return ReferralSummary(
        source_system="west-mercia-rms",
        source_version=version,
        content_hash="00",
        document_version=1,
        force="west-mercia",
        authority="893",
        referral_type="domestic_abuse",
        incident_at=None,
        submitted_at=RECEIVED_AT,
        subjects=subjects,
        completeness_percent=85,
        gaps=("nhs_number",),
    )


@dataclass(frozen=True)
class Intake:
    """What intake says."""

    received = ReferralReceived(
        referral_id=REFERRAL,
        received_at=RECEIVED_AT,
        summary=a_summary(a_subject(ADULT, "18_64"), a_subject(CHILD, "1_4")),
    )
    amended = ReferralAmended(
        referral_id=REFERRAL, amended_at=after(30), summary=a_summary(a_subject(ADULT, "18_64"), version=2)
    )
    informed = InformationAdded(
        referral_id=REFERRAL,
        information_id=UUID(int=31),
        added_at=after(20),
        content_hash="01",
        risk=RiskIndicators(strangulation=True, threats_to_kill=False),
    )
    withdrawn = ReferralWithdrawn(referral_id=REFERRAL, withdrawn_at=after(90), reason_code="wrong_person")


def graded(at: datetime, risk_grade: RiskGrade = "high", level_of_need: LevelOfNeed = "red") -> RiskGraded:
    return RiskGraded(
        referral_id=REFERRAL,
        graded_at=at,
        risk_grade=risk_grade,
        level_of_need=level_of_need,
        needs_person=False,
        matched_rules=(
            MatchedRule(rule_id="R12", risk_grade="high", level_of_need="red", source="guidance"),
            MatchedRule(rule_id="R31", risk_grade="medium", level_of_need="amber", source="local"),
        ),
        rule_set="first-grading 1",
        rule_set_hash="02",
        inputs_hash="03",
        disagrees_with_officer=True,
        authority="893",
        trigger="received",
    )


def clock_started(clock: ClockName, goal_minutes: int, epoch: int = 1) -> ClockStarted:
    return ClockStarted(
        referral_id=REFERRAL,
        clock=clock,
        epoch=epoch,
        started_at=RECEIVED_AT,
        goal_seconds=goal_minutes * 60,
        calendar="round_the_clock",
        warn_at=after(goal_minutes * 0.75),
        due_at=after(goal_minutes),
        policy="hub-clocks 1",
        policy_hash="04",
        risk_grade="high",
        level_of_need="red",
    )


def breached(
    clock: ClockName, goal_minutes: int, at: datetime, *, epoch: int = 1, late_start: bool = False
) -> ClockBreached:
    return ClockBreached(
        referral_id=REFERRAL,
        clock=clock,
        epoch=epoch,
        breached_at=at,
        due_at=after(goal_minutes),
        authority="893",
        risk_grade="high",
        level_of_need="red",
        late_start=late_start,
    )


def met(clock: ClockName, goal_minutes: int, at: datetime, *, epoch: int = 1) -> ClockMet:
    due_at = after(goal_minutes)
    return ClockMet(
        referral_id=REFERRAL, clock=clock, epoch=epoch, met_at=at, due_at=due_at, in_time=at < due_at
    )


def shared(at: datetime, *recipients: Recipient, by_policy: str | None = None) -> ShareDecided:
    return ShareDecided(
        referral_id=REFERRAL,
        decided_at=at,
        recipients=recipients,
        risk_grade="high",
        level_of_need="red",
        share_due_at=after(240),
        by_policy=by_policy,
    )


CHILDRENS = Recipient(subject_id=CHILD, authority="893", agency="childrens_services")
ADULTS = Recipient(subject_id=ADULT, authority="885", agency="adult_services")


@dataclass(frozen=True)
class Triage:
    """What triage says."""

    regraded = Regraded(
        referral_id=REFERRAL,
        regraded_at=after(5),
        risk_grade="medium",
        level_of_need="amber",
        previous_risk_grade="high",
        previous_level_of_need="red",
    )
    warned = ClockWarned(
        referral_id=REFERRAL,
        clock="assessment",
        epoch=1,
        warned_at=after(45),
        due_at=after(60),
        authority="893",
    )
    cancelled = ClockCancelled(
        referral_id=REFERRAL, clock="share", epoch=1, cancelled_at=after(70), reason="not_shared"
    )
    not_shared = NotShared(referral_id=REFERRAL, decided_at=after(70), reason_code="below_threshold")
    closed = AssessmentClosed(referral_id=REFERRAL, closed_at=after(91))
    graded = staticmethod(graded)
    clock_started = staticmethod(clock_started)
    breached = staticmethod(breached)
    met = staticmethod(met)
    shared = staticmethod(shared)


@dataclass(frozen=True)
class Gateway:
    """What the gateway says of one delivery."""

    delivery_id: UUID
    recipient: Recipient

    @property
    def planned(self) -> DeliveryPlanned:
        """It is to be sent."""
        return DeliveryPlanned(
            delivery_id=self.delivery_id,
            referral_id=REFERRAL,
            subject_id=self.recipient.subject_id,
            authority=self.recipient.authority,
            agency=self.recipient.agency,
            package="mosaic",
            package_version=2,
            message_id=UUID(int=41),
            planned_at=after(71),
            deadline_at=after(240),
        )

    @property
    def rendered(self) -> Rendered:
        """It is written in the partner's format."""
        return Rendered(
            delivery_id=self.delivery_id,
            referral_id=REFERRAL,
            rendered_at=after(71),
            package="mosaic",
            package_version=2,
            mapping_hash="05",
            body_hash="06",
            content_type="application/json",
            lost_fields=("religion",),
            withheld_fields=("narrative", "referrer"),
        )

    def attempted(self, attempt: int = 1) -> Attempted:
        """It is about to be sent."""
        return Attempted(
            delivery_id=self.delivery_id,
            referral_id=REFERRAL,
            attempt=attempt,
            attempted_at=after(71 + attempt),
        )

    @property
    def failed(self) -> AttemptFailed:
        """The first attempt failed."""
        return AttemptFailed(
            delivery_id=self.delivery_id,
            referral_id=REFERRAL,
            attempt=1,
            failed_at=after(72),
            reason="timed_out",
            retry_at=after(73),
        )

    @property
    def taken(self) -> TransportAccepted:
        """The second attempt was taken in."""
        return TransportAccepted(
            delivery_id=self.delivery_id,
            referral_id=REFERRAL,
            attempt=2,
            accepted_at=after(74),
            reconciled=True,
        )

    def acknowledged(self, at: datetime) -> Acknowledged:
        """The partner opened a contact."""
        return Acknowledged(
            delivery_id=self.delivery_id,
            referral_id=REFERRAL,
            acknowledged_at=at,
            authority=self.recipient.authority,
            agency=self.recipient.agency,
            outcome="contact_opened",
        )

    @property
    def rejected(self) -> Rejected:
        """The partner refused it."""
        return Rejected(
            delivery_id=self.delivery_id,
            referral_id=REFERRAL,
            rejected_at=after(76),
            authority=self.recipient.authority,
            agency=self.recipient.agency,
            reason_code="not_our_area",
        )

    @property
    def expired(self) -> Expired:
        """Its deadline passed without an acknowledgement."""
        return Expired(
            delivery_id=self.delivery_id,
            referral_id=REFERRAL,
            expired_at=after(240),
            deadline_at=after(240),
        )

    @property
    def cancelled(self) -> Cancelled:
        """It was stopped."""
        return Cancelled(delivery_id=self.delivery_id, referral_id=REFERRAL, cancelled_at=after(92))

    @property
    def outcome(self) -> OutcomeRecorded:
        """The partner says what came of it."""
        return OutcomeRecorded(
            delivery_id=self.delivery_id,
            referral_id=REFERRAL,
            recorded_at=after(900),
            outcome="strategy_discussion",
        )

    def fallback(self, reason: str = "rejected") -> HumanFallbackRaised:
        """A person must telephone."""
        return HumanFallbackRaised(
            delivery_id=self.delivery_id,
            referral_id=REFERRAL,
            raised_at=after(77),
            authority=self.recipient.authority,
            agency=self.recipient.agency,
            reason=reason,  # type: ignore[arg-type]
        )


@dataclass(frozen=True)
class Story:
    """What each service says about one referral, each in its own words and order."""

    after = staticmethod(after)
    CHILDRENS, ADULTS = CHILDRENS, ADULTS
    intake: Intake = Intake()
    triage: Triage = Triage()
    childrens: Gateway = Gateway(TO_CHILDRENS, CHILDRENS)
    adults: Gateway = Gateway(TO_ADULTS, ADULTS)

    @property
    def decided_late(self) -> Sequence[HeardFact]:
        """Triage grades, warns, calls the assessment late, and a person shares with two agencies."""
        return (
            graded(after(1)),
            clock_started("assessment", 60),
            clock_started("share", 240),
            self.triage.warned,
            breached("assessment", 60, after(60)),
            shared(after(70), CHILDRENS, ADULTS),
            met("assessment", 60, after(70)),
            met("share", 240, after(70)),
        )

    def every_fact(self) -> Sequence[HeardFact]:
        """One of each type the three services may record."""
        one = self.childrens
        return (
            self.intake.received,
            self.intake.amended,
            self.intake.informed,
            self.intake.withdrawn,
            graded(after(1)),
            self.triage.regraded,
            clock_started("assessment", 60),
            self.triage.warned,
            breached("assessment", 60, after(60)),
            met("assessment", 60, after(135)),
            self.triage.cancelled,
            shared(after(70), CHILDRENS, ADULTS),
            self.triage.not_shared,
            self.triage.closed,
            one.planned,
            one.rendered,
            one.attempted(),
            one.failed,
            one.taken,
            one.acknowledged(after(80)),
            one.rejected,
            one.expired,
            one.fallback(),
            one.outcome,
            one.cancelled,
        )


@pytest.fixture(scope="session")
def story() -> Story:
    return Story()
