"""Builders the triage tests share: the policies as shipped, a referral, and an assessment with a past."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from uuid import UUID

import pytest

from hub_schemas.intake import ReferralSummary, RiskIndicators, SubjectSummary
from hub_schemas.triage import TriageFact
from hub_triage.commands import GradeReferral, TriageCommand
from hub_triage.domain import AssessmentDecider, assessment_decider
from hub_triage.domain.state import Assessment
from hub_triage.policies import Policies

REFERRAL = UUID(int=1)
CHILD = UUID(int=11)
ADULT = UUID(int=12)
RECEIVED_AT = datetime(2026, 3, 11, 9, 0, tzinfo=UTC)  # a Wednesday in winter time


@pytest.fixture(scope="session")
def policy_files() -> dict[str, bytes]:
    folder = files("hub_triage") / "policy"
    return {
        name: (folder / f"{name}.json").read_bytes()
        for name in ("risk_rules", "clocks", "calendars", "sharing")
    }


@pytest.fixture(scope="session")
def policies(policy_files: dict[str, bytes]) -> Policies:
    return Policies.load(**policy_files)


@dataclass
class Past:
    """An assessment and all its facts so far; ``after`` gives it one more command."""

    decider: AssessmentDecider
    state: Assessment | None = None
    facts: list[TriageFact] = field(default_factory=list)

    def after(self, *commands: TriageCommand) -> Sequence[TriageFact]:
        """Take these commands in turn and say what the last one led to."""
        led_to: Sequence[TriageFact] = ()
        for command in commands:
            led_to = self.decider.decide(command, self.state)
            self.state = self.decider.fold(led_to, self.state)
            self.facts += led_to
        return led_to


@pytest.fixture
def past(policies: Policies) -> Past:
    return Past(assessment_decider(policies))


Summary = Callable[..., ReferralSummary]
Grade = Callable[..., GradeReferral]


@pytest.fixture(scope="session")
def a_summary() -> Summary:
    """A standard domestic abuse referral with one adult and, unless told otherwise, no child."""

    def build(
        *subjects: SubjectSummary, referral_type: str = "domestic_abuse", risk: RiskIndicators | None = None
    ) -> ReferralSummary:
        return ReferralSummary(
            source_system="records",
            source_version=1,
            content_hash="0" * 64,
            document_version=1,
            force="22",
            authority="885",
            referral_type=referral_type,  # type: ignore[arg-type]
            incident_at=None,
            submitted_at=RECEIVED_AT,
            subjects=subjects
            or (
                SubjectSummary(
                    subject_id=ADULT,
                    kind="adult",
                    age_band="18_64",
                    authority="885",
                    care_and_support_needs=False,
                ),
            ),
            risk=risk or RiskIndicators(officer_grade="standard"),
        )

    return build


@pytest.fixture(scope="session")
def a_child() -> SubjectSummary:
    return SubjectSummary(subject_id=CHILD, kind="child", age_band="5_10", authority="893")


@pytest.fixture(scope="session")
def an_adult() -> SubjectSummary:
    return SubjectSummary(subject_id=ADULT, kind="adult", age_band="18_64", authority="885")


@pytest.fixture(scope="session")
def grade_it() -> Grade:
    def build(summary: ReferralSummary, **changes: object) -> GradeReferral:
        given: dict[str, object] = {
            "referral_id": REFERRAL,
            "referral_version": 1,
            "trigger": "received",
            "at": RECEIVED_AT,
            "received_at": RECEIVED_AT,
            "summary": summary,
        }
        return GradeReferral(**(given | changes))  # type: ignore[arg-type]

    return build
