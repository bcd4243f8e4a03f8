from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from hub_schemas.intake import (
    InformationAdded,
    ReferralAmended,
    ReferralReceived,
    ReferralSummary,
    ReferralWithdrawn,
    RiskIndicators,
)
from hub_triage.commands import GradeReferral, Withdraw
from hub_triage.policies.reacting import react

REFERRAL = UUID(int=1)


@pytest.fixture
def known(a_summary: Any) -> ReferralSummary:
    summary: ReferralSummary = a_summary(
        risk=RiskIndicators(officer_grade="standard", strangulation=True, escalation=False)
    )
    return summary


def test_a_received_referral_is_graded_from_its_receipt(known: ReferralSummary) -> None:
    received_at = known.submitted_at
    now = received_at + timedelta(seconds=1)
    fact = ReferralReceived(referral_id=REFERRAL, received_at=received_at, summary=known)
    assert react(fact, referral_version=1, known=None, at=now) == GradeReferral(
        referral_id=REFERRAL,
        referral_version=1,
        trigger="received",
        at=now,
        received_at=received_at,
        summary=known,
    )


def test_an_amendment_that_is_silent_takes_no_danger_back(known: ReferralSummary) -> None:
    now = known.submitted_at
    amended = msgspec.structs.replace(
        known, source_version=2, risk=RiskIndicators(officer_grade="medium", escalation=True)
    )
    fact = ReferralAmended(referral_id=REFERRAL, amended_at=now, summary=amended)
    expected = RiskIndicators(officer_grade="medium", strangulation=True, escalation=True)
    assert react(fact, referral_version=2, known=known, at=now) == GradeReferral(
        referral_id=REFERRAL,
        referral_version=2,
        trigger="amended",
        at=now,
        received_at=now,
        summary=msgspec.structs.replace(amended, risk=expected),
    )


def test_information_adds_what_it_states_to_what_was_known(known: ReferralSummary) -> None:
    now = known.submitted_at
    fact = InformationAdded(
        referral_id=REFERRAL,
        information_id=UUID(int=9),
        added_at=now,
        content_hash="1",
        risk=RiskIndicators(strangulation=False, children_present=True),
    )
    expected = RiskIndicators(
        officer_grade="standard", strangulation=False, escalation=False, children_present=True
    )
    assert react(fact, referral_version=2, known=known, at=now) == GradeReferral(
        referral_id=REFERRAL,
        referral_version=2,
        trigger="information",
        at=now,
        received_at=now,
        summary=msgspec.structs.replace(known, risk=expected),
    )


def test_a_withdrawal_is_passed_on(known: ReferralSummary) -> None:
    now = known.submitted_at
    fact = ReferralWithdrawn(referral_id=REFERRAL, withdrawn_at=now, reason_code="duplicate")
    assert react(fact, referral_version=2, known=known, at=now) == Withdraw(referral_id=REFERRAL, at=now)
