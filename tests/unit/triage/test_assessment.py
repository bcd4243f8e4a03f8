from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from hub_kernel.errors import HubError
from hub_schemas.intake import ReferralSummary, RiskIndicators, SubjectSummary
from hub_schemas.triage import (
    AssessmentClosed,
    ClockBreached,
    ClockCancelled,
    ClockMet,
    ClockStarted,
    ClockWarned,
    MatchedRule,
    NotShared,
    Rationale,
    Recipient,
    Regraded,
    RiskGraded,
    ShareDecided,
    TriageFact,
)
from hub_triage.commands import DecideNotShare, DecideShare, FireClock, Regrade, Withdraw
from hub_triage.domain import errors
from hub_triage.policies import Policies
from hub_triage.policies.context import context_of

REFERRAL, CHILD, ADULT = UUID(int=1), UUID(int=11), UUID(int=12)
WHY = "Checked with the school and the family's worker."
ADULT_SERVICES = Recipient(subject_id=ADULT, authority="885", agency="adult_services")
CHILDRENS_SERVICES = Recipient(subject_id=CHILD, authority="893", agency="childrens_services")


@pytest.fixture
def now(a_summary: Any) -> datetime:
    """The instant the referral was received."""
    instant: datetime = a_summary().submitted_at
    return instant


@pytest.fixture
def amber(a_summary: Any) -> ReferralSummary:
    summary: ReferralSummary = a_summary(risk=RiskIndicators(officer_grade="medium"))
    return summary


@pytest.fixture
def red(a_summary: Any) -> ReferralSummary:
    summary: ReferralSummary = a_summary(risk=RiskIndicators(officer_grade="high"))
    return summary


@pytest.fixture
def red_child(a_summary: Any, a_child: SubjectSummary, an_adult: SubjectSummary) -> ReferralSummary:
    summary: ReferralSummary = a_summary(
        an_adult, a_child, referral_type="child", risk=RiskIndicators(police_protection=True)
    )
    return summary


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


def share(at: datetime, *recipients: Recipient) -> DecideShare:
    return DecideShare(referral_id=REFERRAL, at=at, rationale=WHY, recipients=recipients or None)


def keep(at: datetime) -> DecideNotShare:
    return DecideNotShare(referral_id=REFERRAL, at=at, reason_code="below_threshold", rationale=WHY)


def regrade(at: datetime, risk_grade: Any, level_of_need: Any, rationale: str = WHY) -> Regrade:
    return Regrade(
        referral_id=REFERRAL,
        at=at,
        risk_grade=risk_grade,
        level_of_need=level_of_need,
        rationale=rationale,
    )


def look(at: datetime, clock: Any = "assessment", epoch: int = 1) -> FireClock:
    return FireClock(referral_id=REFERRAL, clock=clock, epoch=epoch, at=at)


def kinds(facts: Any) -> list[str]:
    return [type(fact).__name__ for fact in facts]


def only(facts: Any, kind: type[TriageFact]) -> Any:
    (found,) = (fact for fact in facts if type(fact) is kind)
    return found


def test_a_referral_is_graded_and_its_two_clocks_start_from_its_receipt(
    past: Any, policies: Policies, grade_it: Any, amber: ReferralSummary, now: datetime
) -> None:
    graded_at = now + timedelta(milliseconds=30)
    facts = past.after(grade_it(amber, at=graded_at))
    clock: dict[str, Any] = {
        "referral_id": REFERRAL,
        "epoch": 1,
        "started_at": now,
        "calendar": "hub_hours",
        "policy": "hub-clocks/1",
        "policy_hash": policies.clocks.stamp.hash,
        "calendar_hash": policies.clocks.calendars.stamp.hash,
        "risk_grade": "medium",
        "level_of_need": "amber",
    }
    assert facts == (
        RiskGraded(
            referral_id=REFERRAL,
            graded_at=graded_at,
            risk_grade="medium",
            level_of_need="amber",
            needs_person=False,
            matched_rules=(
                MatchedRule(
                    rule_id="officer-medium",
                    risk_grade="medium",
                    level_of_need="amber",
                    source="local: a machine never grades below the officer",
                ),
            ),
            rule_set="first-grading/1",
            rule_set_hash=policies.rules.stamp.hash,
            inputs_hash=policies.rules.grade(context_of(amber)).inputs_hash,
            disagrees_with_officer=False,
            authority="885",
            trigger="received",
            referral_version=1,
            candidates=(ADULT_SERVICES,),
        ),
        ClockStarted(
            clock="assessment", goal_seconds=28800, warn_at=now + hours(6), due_at=now + hours(8), **clock
        ),
        ClockStarted(
            clock="share",
            goal_seconds=86400,
            warn_at=now + hours(24 + 8),  # 9 hub hours today, 9 tomorrow
            due_at=now + hours(48 + 4),
            **clock,
        ),
    )


def test_grading_the_same_version_again_changes_nothing(
    past: Any, grade_it: Any, amber: ReferralSummary
) -> None:
    assert past.after(grade_it(amber), grade_it(amber)) == ()


def test_a_blue_referral_has_an_assessment_clock_and_no_share_clock(
    past: Any, grade_it: Any, a_summary: Any
) -> None:
    quiet = RiskIndicators(
        officer_grade="standard",
        weapon_used_or_threatened=False,
        strangulation=False,
        threats_to_kill=False,
        escalation=False,
        injury="none",
        children_present=False,
        previous_referrals_12_months=0,
    )
    facts = past.after(grade_it(a_summary(risk=quiet)))
    assert kinds(facts) == ["RiskGraded", "ClockStarted"]
    assert (facts[0].level_of_need, facts[1].clock) == ("blue", "assessment")


def test_a_red_child_referral_is_shared_in_the_same_decision(
    past: Any, policies: Policies, grade_it: Any, red_child: ReferralSummary, now: datetime
) -> None:
    facts = past.after(grade_it(red_child))
    assert kinds(facts) == [
        "RiskGraded", "ClockStarted", "ClockStarted", "ShareDecided", "ClockMet", "ClockMet",
    ]  # fmt: skip
    assert facts[3:] == (
        ShareDecided(
            referral_id=REFERRAL,
            decided_at=now,
            recipients=(ADULT_SERVICES, CHILDRENS_SERVICES),
            risk_grade="high",
            level_of_need="red",
            share_due_at=now + hours(4),
            by_policy="hub-sharing/1 red-child",
            policy_hash=policies.sharing.stamp.hash,
        ),
        ClockMet(
            referral_id=REFERRAL, clock="assessment", epoch=1, met_at=now, due_at=now + hours(1), in_time=True
        ),
        ClockMet(
            referral_id=REFERRAL, clock="share", epoch=1, met_at=now, due_at=now + hours(4), in_time=True
        ),
    )


def test_a_child_referral_no_rule_spoke_for_waits_for_a_person_at_the_top(
    past: Any, grade_it: Any, a_summary: Any, a_child: SubjectSummary, now: datetime
) -> None:
    facts = past.after(grade_it(a_summary(a_child, referral_type="child", risk=RiskIndicators())))
    assert kinds(facts) == ["RiskGraded", "ClockStarted", "ClockStarted"]
    assert (facts[0].needs_person, facts[0].level_of_need, facts[0].risk_grade) == (True, "red", "high")
    confirmed = past.after(regrade(now, "high", "red"))
    assert kinds(confirmed) == ["Regraded", "ShareDecided", "ClockMet", "ClockMet"]


def test_a_machine_says_when_it_disagrees_with_the_officer(past: Any, grade_it: Any, a_summary: Any) -> None:
    facts = past.after(grade_it(a_summary(risk=RiskIndicators(officer_grade="standard", strangulation=True))))
    assert (facts[0].risk_grade, facts[0].disagrees_with_officer) == ("high", True)


def test_an_upward_regrade_keeps_the_time_already_used(
    past: Any, policies: Policies, grade_it: Any, amber: ReferralSummary, now: datetime
) -> None:
    later = now + timedelta(minutes=30)
    facts = past.after(grade_it(amber), regrade(later, "high", "red"))
    clock: dict[str, Any] = {
        "referral_id": REFERRAL,
        "epoch": 2,
        "started_at": now,
        "calendar": "round_the_clock",
        "policy": "hub-clocks/1",
        "policy_hash": policies.clocks.stamp.hash,
        "calendar_hash": policies.clocks.calendars.stamp.hash,
        "risk_grade": "high",
        "level_of_need": "red",
    }
    assert facts == (
        Regraded(
            referral_id=REFERRAL,
            regraded_at=later,
            risk_grade="high",
            level_of_need="red",
            previous_risk_grade="medium",
            previous_level_of_need="amber",
            sealed=Rationale(text=WHY),
        ),
        ClockStarted(
            clock="assessment",
            goal_seconds=3600,
            warn_at=now + timedelta(minutes=45),
            due_at=now + hours(1),
            **clock,
        ),
        ClockStarted(
            clock="share", goal_seconds=14400, warn_at=now + hours(3), due_at=now + hours(4), **clock
        ),
    )


def test_a_regrade_past_its_new_goal_is_breached_at_once_and_marked(
    past: Any, grade_it: Any, amber: ReferralSummary, now: datetime
) -> None:
    later = now + hours(2)
    facts = past.after(grade_it(amber), regrade(later, "high", "red"))
    assert kinds(facts) == ["Regraded", "ClockStarted", "ClockBreached", "ClockStarted"]
    assert facts[2] == ClockBreached(
        referral_id=REFERRAL,
        clock="assessment",
        epoch=2,
        breached_at=later,
        due_at=now + hours(1),
        authority="885",
        risk_grade="high",
        level_of_need="red",
        late_start=True,
    )
    assert past.after(look(now + hours(3), epoch=2)) == ()


def test_a_regrade_on_the_risk_axis_alone_leaves_the_clocks(
    past: Any, grade_it: Any, amber: ReferralSummary, now: datetime
) -> None:
    assert kinds(past.after(grade_it(amber), regrade(now, "high", "amber"))) == ["Regraded"]


def test_a_regrade_to_blue_cancels_the_share_clock(
    past: Any, grade_it: Any, amber: ReferralSummary, now: datetime
) -> None:
    facts = past.after(grade_it(amber), regrade(now + hours(1), "standard", "blue"))
    assert kinds(facts) == ["Regraded", "ClockStarted", "ClockCancelled"]
    assert facts[2] == ClockCancelled(
        referral_id=REFERRAL, clock="share", epoch=1, cancelled_at=now + hours(1), reason="regraded"
    )
    back = past.after(regrade(now + hours(2), "medium", "amber"))
    assert [(fact.clock, fact.epoch) for fact in back[1:]] == [("assessment", 3), ("share", 2)]


def test_setting_the_grade_that_stands_changes_nothing(
    past: Any, grade_it: Any, amber: ReferralSummary, now: datetime
) -> None:
    assert past.after(grade_it(amber), regrade(now, "medium", "amber", "as it is")) == ()


def test_the_machine_never_lowers_what_a_person_set(
    past: Any, grade_it: Any, amber: ReferralSummary, a_summary: Any, now: datetime
) -> None:
    quieter = a_summary(risk=RiskIndicators(officer_grade="medium", escalation=False))
    facts = past.after(
        grade_it(amber),
        regrade(now, "high", "red"),
        grade_it(quieter, referral_version=2, trigger="amended"),
    )
    assert kinds(facts) == ["RiskGraded"]
    assert (facts[0].risk_grade, facts[0].level_of_need, facts[0].held_by_person) == ("high", "red", True)


def test_a_person_s_lower_grade_stands_until_the_rules_see_something_new(
    past: Any, grade_it: Any, red: ReferralSummary, now: datetime
) -> None:
    past.after(grade_it(red), regrade(now, "medium", "amber"))
    unchanged = past.after(grade_it(red, referral_version=2, trigger="amended"))
    assert [(fact.level_of_need, fact.held_by_person) for fact in unchanged] == [("amber", True)]
    risk = msgspec.structs.replace(red.risk, escalation=True)
    news = past.after(
        grade_it(msgspec.structs.replace(red, risk=risk), referral_version=3, trigger="information")
    )
    assert kinds(news) == ["RiskGraded", "ClockStarted", "ClockStarted"]
    assert (news[0].level_of_need, news[0].held_by_person) == ("red", False)


def test_lower_machine_grades_follow_the_record_when_no_person_spoke(
    past: Any, grade_it: Any, red: ReferralSummary, amber: ReferralSummary, now: datetime
) -> None:
    facts = past.after(
        grade_it(red), grade_it(amber, referral_version=2, trigger="amended", at=now + hours(1))
    )
    assert kinds(facts) == ["RiskGraded", "ClockBreached", "ClockStarted", "ClockStarted"]
    assert (facts[1].epoch, facts[1].late_start) == (1, False)
    assert [(fact.epoch, fact.started_at) for fact in facts[2:]] == [(2, now), (2, now)]


def test_a_decision_to_share_meets_both_clocks(
    past: Any, grade_it: Any, amber: ReferralSummary, now: datetime
) -> None:
    at = now + hours(3)
    facts = past.after(grade_it(amber), share(at))
    assert facts == (
        ShareDecided(
            referral_id=REFERRAL,
            decided_at=at,
            recipients=(ADULT_SERVICES,),
            risk_grade="medium",
            level_of_need="amber",
            share_due_at=now + hours(52),
            sealed=Rationale(text=WHY),
        ),
        ClockMet(
            referral_id=REFERRAL, clock="assessment", epoch=1, met_at=at, due_at=now + hours(8), in_time=True
        ),
        ClockMet(
            referral_id=REFERRAL, clock="share", epoch=1, met_at=at, due_at=now + hours(52), in_time=True
        ),
    )


def test_a_decision_after_the_due_time_is_a_breach_even_before_the_timer_says_so(
    past: Any, grade_it: Any, red: ReferralSummary, now: datetime
) -> None:
    at = now + hours(1)
    facts = past.after(grade_it(red), share(at))
    assert kinds(facts) == ["ShareDecided", "ClockBreached", "ClockMet", "ClockMet"]
    assert (facts[1].clock, facts[1].late_start) == ("assessment", False)
    assert [fact.in_time for fact in facts[2:]] == [False, True]


def test_a_decision_not_to_share_meets_one_clock_and_cancels_the_other(
    past: Any, grade_it: Any, amber: ReferralSummary, now: datetime
) -> None:
    at = now + hours(3)
    assert past.after(grade_it(amber), keep(at)) == (
        NotShared(
            referral_id=REFERRAL, decided_at=at, reason_code="below_threshold", sealed=Rationale(text=WHY)
        ),
        ClockMet(
            referral_id=REFERRAL, clock="assessment", epoch=1, met_at=at, due_at=now + hours(8), in_time=True
        ),
        ClockCancelled(referral_id=REFERRAL, clock="share", epoch=1, cancelled_at=at, reason="not_shared"),
    )


def test_a_withdrawal_closes_an_open_assessment_and_leaves_a_decided_one(
    past: Any, grade_it: Any, amber: ReferralSummary, now: datetime
) -> None:
    withdraw = Withdraw(referral_id=REFERRAL, at=now)
    past.after(grade_it(amber))
    assert past.after(withdraw) == (
        AssessmentClosed(referral_id=REFERRAL, closed_at=now),
        *(
            ClockCancelled(
                referral_id=REFERRAL, clock=clock, epoch=1, cancelled_at=now, reason="withdrawn"
            )
            for clock in ("assessment", "share")
        ),
    )  # fmt: skip
    assert past.after(withdraw) == ()
    assert past.after(grade_it(amber, referral_version=2)) == ()


def test_each_threshold_is_said_once(past: Any, grade_it: Any, red: ReferralSummary, now: datetime) -> None:
    past.after(grade_it(red))
    assert past.after(look(now + timedelta(minutes=44))) == ()
    warned_at, breached_at = now + timedelta(minutes=45), now + hours(1)
    assert past.after(look(warned_at)) == (
        ClockWarned(
            referral_id=REFERRAL,
            clock="assessment",
            epoch=1,
            warned_at=warned_at,
            due_at=breached_at,
            authority="885",
        ),
    )
    assert past.after(look(warned_at + timedelta(minutes=1))) == ()
    assert past.after(look(breached_at)) == (
        ClockBreached(
            referral_id=REFERRAL,
            clock="assessment",
            epoch=1,
            breached_at=breached_at,
            due_at=breached_at,
            authority="885",
            risk_grade="high",
            level_of_need="red",
        ),
    )
    assert past.after(look(breached_at)) == ()


def test_after_a_jump_of_time_both_thresholds_are_said_in_order(
    past: Any, grade_it: Any, red: ReferralSummary, now: datetime
) -> None:
    assert kinds(past.after(grade_it(red), look(now + hours(2)))) == ["ClockWarned", "ClockBreached"]


def test_a_look_at_an_old_epoch_or_an_ended_clock_says_nothing(
    past: Any, grade_it: Any, amber: ReferralSummary, now: datetime
) -> None:
    past.after(grade_it(amber), regrade(now, "high", "red"))
    assert past.after(look(now + hours(9), epoch=1)) == ()
    past.after(share(now))
    assert past.after(look(now + hours(9), epoch=2)) == ()
    assert past.after(look(now + hours(9), clock="share", epoch=2)) == ()


def test_a_referral_graded_after_its_due_time_is_late_from_the_start(
    past: Any, grade_it: Any, red: ReferralSummary, now: datetime
) -> None:
    facts = past.after(grade_it(red, at=now + hours(2)))
    assert kinds(facts) == ["RiskGraded", "ClockStarted", "ClockBreached", "ClockStarted"]
    assert facts[2].late_start


def test_news_that_makes_a_kept_referral_graver_reopens_it_with_new_clocks(
    past: Any, grade_it: Any, amber: ReferralSummary, red: ReferralSummary, now: datetime
) -> None:
    past.after(grade_it(amber), keep(now))
    later = now + hours(100)
    facts = past.after(grade_it(red, referral_version=2, trigger="information", at=later, received_at=later))
    assert kinds(facts) == ["RiskGraded", "ClockStarted", "ClockStarted"]
    assert [(fact.epoch, fact.started_at, fact.due_at) for fact in facts[1:]] == [
        (2, later, later + hours(1)),
        (2, later, later + hours(4)),
    ]
    assert kinds(past.after(share(later))) == ["ShareDecided", "ClockMet", "ClockMet"]


def test_news_that_changes_nothing_leaves_a_kept_referral_kept(
    past: Any, grade_it: Any, amber: ReferralSummary, now: datetime
) -> None:
    past.after(grade_it(amber), keep(now))
    assert kinds(past.after(grade_it(amber, referral_version=2, trigger="amended"))) == ["RiskGraded"]
    assert past.state.status == "not_shared"


def test_a_child_added_to_a_shared_red_referral_is_told_of_alone(
    past: Any, grade_it: Any, red_child: ReferralSummary, a_child: SubjectSummary
) -> None:
    past.after(grade_it(red_child))
    sibling = msgspec.structs.replace(a_child, subject_id=UUID(int=13))
    more = msgspec.structs.replace(red_child, subjects=(*red_child.subjects, sibling))
    facts = past.after(grade_it(more, referral_version=2, trigger="amended"))
    assert only(facts, ShareDecided).recipients == (
        Recipient(subject_id=UUID(int=13), authority="893", agency="childrens_services"),
    )


def test_a_person_may_still_share_what_was_kept_and_tell_others_later(
    past: Any, grade_it: Any, red_child: ReferralSummary, amber: ReferralSummary, now: datetime
) -> None:
    both = msgspec.structs.replace(amber, subjects=red_child.subjects)
    past.after(grade_it(both), keep(now))
    assert only(past.after(share(now, CHILDRENS_SERVICES)), ShareDecided).recipients == (CHILDRENS_SERVICES,)
    assert only(past.after(share(now)), ShareDecided).recipients == (ADULT_SERVICES,)
    with pytest.raises(errors.AlreadyShared):
        past.after(share(now))


@pytest.mark.parametrize(
    ("before", "command", "refusal"),
    [
        ((), share, errors.AssessmentNotFound),
        ((), keep, errors.AssessmentNotFound),
        ((), lambda now: regrade(now, "high", "red"), errors.AssessmentNotFound),
        ((), lambda now: Withdraw(referral_id=REFERRAL, at=now), errors.AssessmentNotFound),
        ((share,), keep, errors.AlreadyDecided),
        ((share,), share, errors.AlreadyShared),
        ((keep,), lambda now: regrade(now, "high", "red"), errors.AlreadyDecided),
        ((keep,), keep, errors.AlreadyDecided),
        (
            (lambda now: Withdraw(referral_id=REFERRAL, at=now),),
            share,
            errors.AlreadyDecided,
        ),
        ((None,), lambda now: regrade(now, "high", "red", "  "), errors.RationaleMissing),
        (
            (None,),
            lambda now: regrade(now, "standard", "amber", "less than 20 words"),
            errors.RationaleTooShort,
        ),
        ((None,), lambda now: regrade(now, "high", "green", "less than 20 words"), errors.RationaleTooShort),
        (
            (None,),
            lambda now: DecideShare(referral_id=REFERRAL, at=now, rationale=" "),
            errors.RationaleMissing,
        ),
        ((None,), lambda now: share(now, CHILDRENS_SERVICES), errors.UnknownSubject),
        (
            (None,),
            lambda now: DecideShare(referral_id=REFERRAL, at=now, rationale=WHY, recipients=()),
            errors.NoRecipients,
        ),
    ],
)
def test_what_an_assessment_refuses(
    past: Any, grade_it: Any, amber: ReferralSummary, now: datetime, before: Any, command: Any, refusal: Any
) -> None:
    if before:
        past.after(grade_it(amber), *(make(now) for make in before if make))
    held = list(past.facts)
    with pytest.raises(refusal) as refused:
        past.after(command(now))
    assert isinstance(refused.value, HubError)
    assert past.facts == held


def test_an_upward_regrade_needs_a_reason_but_not_a_long_one(
    past: Any, grade_it: Any, amber: ReferralSummary, now: datetime
) -> None:
    assert kinds(past.after(grade_it(amber), regrade(now, "high", "amber", "knife")))[0] == "Regraded"


def test_an_assessment_s_facts_alone_lead_to_its_state(
    past: Any, grade_it: Any, amber: ReferralSummary, now: datetime
) -> None:
    past.after(
        grade_it(amber),
        look(now + hours(7)),
        regrade(now + hours(7), "high", "red"),
        share(now + hours(7)),
    )
    assert past.decider.fold(past.facts) == past.state
