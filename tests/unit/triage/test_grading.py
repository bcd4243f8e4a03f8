import json
from typing import Any, get_args

import msgspec
import pytest
import zen
from hypothesis import given
from hypothesis import strategies as st

from hub_schemas.intake import ReferralSummary, RiskIndicators, SubjectSummary
from hub_triage.policies import Policies, rule_table
from hub_triage.policies.context import Answer, Concern, Injury, RuleContext, StatedGrade, context_of
from hub_triage.policies.grading import NEED_ORDER, RISK_ORDER, Grading, RuleSet

QUIET = {
    "officer_grade": "standard", "child_under_one": "no", "child_under_eleven": "no",
    "child_protection_plan": "no", "looked_after": "no", "open_to_social_care": "no",
    "care_and_support_needs": "no", "pregnant": "no", "children_present": "no", "injury": "none",
    "strangulation": "no", "threats_to_kill": "no", "weapon_used_or_threatened": "no",
    "sexual_violence": "no", "stalking": "no", "escalation": "no", "victim_frightened": "no",
    "self_harm_or_suicide": "no", "currently_missing": "no", "missing_episodes_90_days": 0,
    "exploitation": "no", "police_protection": "no", "referrals_3_months": 1,
    "previous_referrals_12_months": 0, "earlier_reports": "no",
}  # fmt: skip
"""Every question asked, and every answer the quietest there is."""


def context(referral_type: str, **facts: Any) -> RuleContext:
    return msgspec.convert({"referral_type": referral_type, **facts}, RuleContext)


def severity(grading: Grading) -> tuple[int, int]:
    return NEED_ORDER.index(grading.level_of_need), RISK_ORDER.index(grading.risk_grade)


answers = st.sampled_from(get_args(Answer))
counts = st.none() | st.integers(0, 20)
contexts = st.builds(
    RuleContext,
    referral_type=st.sampled_from(["domestic_abuse", "child", "missing", "adult"]),
    officer_grade=st.sampled_from(get_args(StatedGrade)),
    dara_grade=st.sampled_from(get_args(StatedGrade)),
    dash_yes_count=counts,
    child_subject=st.sampled_from(["yes", "no"]),
    injury=st.sampled_from(get_args(Injury)),
    concerns=st.lists(st.sampled_from(get_args(Concern)), max_size=3, unique=True).map(tuple),
    missing_episodes_90_days=counts,
    referrals_3_months=counts,
    previous_referrals_12_months=counts,
    **dict.fromkeys([name for name, kind in RuleContext.__annotations__.items() if kind == Answer], answers),
)


@pytest.mark.parametrize(
    ("referral_type", "facts", "level", "rule"),
    [
        ("domestic_abuse", {"strangulation": "yes"}, "red", "da-strangulation"),
        ("domestic_abuse", {"injury": "serious"}, "red", "da-serious-injury"),
        ("domestic_abuse", {"threats_to_kill": "yes"}, "amber", "da-threat-to-kill"),
        ("domestic_abuse", {"threats_to_kill": "yes", "victim_frightened": "yes"}, "red",
         "da-threat-to-kill-and-fear"),
        ("domestic_abuse", {"weapon_used_or_threatened": "yes"}, "amber", "da-weapon"),
        ("domestic_abuse", {"weapon_used_or_threatened": "yes", "escalation": "yes"}, "red",
         "da-weapon-and-escalation"),
        ("domestic_abuse", {"escalation": "yes"}, "amber", "da-escalation"),
        ("domestic_abuse", {"pregnant": "yes"}, "amber", "da-pregnant"),
        ("domestic_abuse", {"pregnant": "yes", "injury": "minor"}, "red", "da-pregnant-and-injured"),
        ("domestic_abuse", {"children_present": "yes"}, "green", "da-standard-child-present"),
        ("domestic_abuse", {"children_present": "yes", "injury": "minor"}, "amber",
         "da-child-present-and-injury"),
        ("domestic_abuse", {"child_subject": "yes", "child_under_one": "yes"}, "amber", "da-under-one"),
        ("domestic_abuse", {"child_subject": "yes", "child_under_one": "yes", "children_present": "yes",
                            "injury": "minor"}, "red", "da-under-one-and-injury"),
        ("domestic_abuse", {"strangulation": "unknown"}, "amber", "da-strangulation-unstated"),
        ("domestic_abuse", {"previous_referrals_12_months": 5}, "amber", "da-five-in-a-year"),
        ("domestic_abuse", {}, "blue", "da-standard-no-child-no-danger"),
        ("child", {"child_subject": "yes"}, "green", "child-standard"),
        ("child", {"child_subject": "yes", "child_under_one": "yes"}, "amber", "under-one"),
        ("child", {"child_subject": "yes", "child_under_one": "yes", "concerns": ["neglect"]}, "amber",
         "under-one-neglect"),
        ("child", {"child_subject": "yes", "child_protection_plan": "yes"}, "amber", "protection-plan"),
        ("child", {"child_subject": "yes", "child_protection_plan": "yes", "injury": "minor"}, "red",
         "protection-plan-and-injury"),
        ("child", {"child_subject": "yes", "looked_after": "yes"}, "amber", "looked-after"),
        ("child", {"child_subject": "yes", "concerns": ["sexual"]}, "red", "child-sexual-abuse"),
        ("child", {"child_subject": "yes", "concerns": ["physical"]}, "amber", "child-physical-abuse"),
        ("child", {"child_subject": "yes", "exploitation": "yes"}, "amber", "child-exploited"),
        ("child", {"child_subject": "yes", "police_protection": "yes"}, "red", "police-protection"),
        ("child", {"child_subject": "yes", "self_harm_or_suicide": "yes"}, "amber", "self-harm"),
        ("missing", {"child_subject": "yes", "currently_missing": "yes"}, "amber", "missing-child"),
        ("missing", {"child_subject": "yes", "currently_missing": "yes", "exploitation": "yes"}, "red",
         "missing-child-and-exploited"),
        ("missing", {"child_subject": "yes", "child_under_eleven": "yes", "currently_missing": "yes"}, "red",
         "missing-child-under-eleven"),
        ("missing", {"child_subject": "yes", "missing_episodes_90_days": 3}, "amber", "missing-child-repeat"),
        ("missing", {"child_subject": "yes"}, "green", "missing-standard-child-found"),
        ("missing", {"currently_missing": "yes", "self_harm_or_suicide": "yes"}, "red",
         "missing-adult-and-self-harm"),
        ("missing", {}, "blue", "missing-standard-adult-found"),
        ("adult", {"care_and_support_needs": "yes"}, "green", "adult-standard-with-needs"),
        ("adult", {"care_and_support_needs": "yes", "concerns": ["neglect"]}, "amber",
         "adult-needs-and-neglect"),
        ("adult", {"care_and_support_needs": "yes", "concerns": ["physical"]}, "amber",
         "adult-needs-and-physical"),
        ("adult", {"care_and_support_needs": "yes", "concerns": ["self_neglect"]}, "amber",
         "adult-needs-and-self-neglect"),
        ("adult", {}, "blue", "adult-standard-no-needs"),
        ("adult", {"referrals_3_months": 3}, "amber", "three-in-three-months"),
        ("adult", {"officer_grade": "medium"}, "amber", "officer-medium"),
        ("adult", {"officer_grade": "high"}, "red", "officer-high"),
    ],
)  # fmt: skip
def test_the_field_s_dangers_are_graded_by_the_rule_that_names_them(
    policies: Policies, referral_type: str, facts: dict[str, Any], level: str, rule: str
) -> None:
    grading = policies.rules.grade(context(referral_type, **QUIET | facts))
    risk = {"red": "high", "amber": "medium", "green": "standard", "blue": "standard"}[level]
    assert (grading.level_of_need, grading.risk_grade, grading.needs_person) == (level, risk, False)
    assert rule in {matched.rule_id for matched in grading.matched_rules}


def test_every_rule_speaks_when_just_its_own_conditions_hold(
    policies: Policies, policy_files: dict[str, bytes]
) -> None:
    for row in json.loads(policy_files["risk_rules"])["nodes"][1]["content"]["rules"]:
        facts: dict[str, Any] = {"referral_type": "child"}
        for field, cell in row.items():
            if field in RuleContext.__struct_fields__:
                possible, _ = rule_table._VALUES[field]
                facts[field] = next(v for v in possible if zen.evaluate_unary_expression(cell, {"$": v}))
        matched = policies.rules.grade(msgspec.convert(facts, RuleContext)).matched_rules
        assert row["_id"] in {rule.rule_id for rule in matched}


@pytest.mark.parametrize("referral_type", ["domestic_abuse", "child", "missing", "adult"])
def test_when_no_rule_speaks_a_person_is_needed_at_the_top(policies: Policies, referral_type: str) -> None:
    grading = policies.rules.grade(context(referral_type, dash_yes_count=27))
    assert (grading.risk_grade, grading.level_of_need) == ("high", "red")
    assert grading.needs_person
    assert grading.matched_rules == ()


@given(contexts)
def test_the_machine_never_grades_below_the_officer(policies: Policies, seen: RuleContext) -> None:
    grading = policies.rules.grade(seen)
    if seen.officer_grade != "unknown":
        assert RISK_ORDER.index(grading.risk_grade) >= RISK_ORDER.index(seen.officer_grade)
        assert not grading.needs_person


def test_the_officer_s_grade_is_a_floor_even_without_a_rule_that_says_so(
    policy_files: dict[str, bytes],
) -> None:
    decision = json.loads(policy_files["risk_rules"])
    table = decision["nodes"][1]["content"]
    table["rules"] = [row for row in table["rules"] if row["_id"] != "officer-high"]
    rules = RuleSet.load(json.dumps(decision).encode())
    grading = rules.grade(context("domestic_abuse", officer_grade="high", escalation="yes"))
    assert [rule.rule_id for rule in grading.matched_rules] == ["da-escalation"]
    assert grading.risk_grade == "high"


@given(contexts, st.data())
def test_what_is_not_known_is_never_graded_lower_than_no(
    policies: Policies, seen: RuleContext, data: st.DataObject
) -> None:
    asked = [name for name in RuleContext.__struct_fields__ if getattr(seen, name) == "unknown"]
    asked = [name for name in asked if not name.endswith("_grade")]
    if asked:
        field = data.draw(st.sampled_from(asked))
        quietest = {field: "none" if field == "injury" else "no"}
        answered = policies.rules.grade(msgspec.structs.replace(seen, **quietest))
        assert severity(policies.rules.grade(seen)) >= severity(answered)


@given(contexts)
def test_the_most_severe_rule_wins_on_each_axis(policies: Policies, seen: RuleContext) -> None:
    grading = policies.rules.grade(seen)
    for rule in grading.matched_rules:
        assert NEED_ORDER.index(rule.level_of_need) <= NEED_ORDER.index(grading.level_of_need)
        assert RISK_ORDER.index(rule.risk_grade) <= RISK_ORDER.index(grading.risk_grade)


@given(contexts, st.none() | st.integers(0, 27))
def test_a_dash_count_alone_changes_no_quiet_grade(
    policies: Policies, seen: RuleContext, dash: int | None
) -> None:
    quiet = msgspec.structs.replace(seen, victim_frightened="no", escalation="no")
    other = msgspec.structs.replace(quiet, dash_yes_count=dash)
    assert severity(policies.rules.grade(quiet)) == severity(policies.rules.grade(other))


@pytest.mark.parametrize("wrong", [{"injury": "SERIOUS"}, {"dash_yes_count": "14"}, {"strangulation": None}])
def test_a_word_the_context_does_not_know_is_refused_not_ignored(
    policies: Policies, wrong: dict[str, Any]
) -> None:
    with pytest.raises(msgspec.ValidationError):
        policies.rules.grade(RuleContext(referral_type="domestic_abuse", **wrong))


def test_a_referral_becomes_a_context_in_which_silence_is_unknown(a_summary: Any) -> None:
    silent = SubjectSummary(
        subject_id=a_summary().subjects[0].subject_id, kind="child", age_band="unknown", authority="884"
    )
    seen = context_of(a_summary(silent, risk=RiskIndicators()))
    assert seen == RuleContext(
        referral_type="domestic_abuse",
        child_subject="yes",
        care_and_support_needs="no",
    )


def test_one_subject_is_enough_for_yes_and_codes_speak_too(a_summary: Any, a_child: SubjectSummary) -> None:
    change = msgspec.structs.replace
    summary: ReferralSummary = a_summary(
        change(a_child, looked_after=True, child_protection_plan=False),
        change(a_child, age_band="under_1", child_protection_plan=None),
        risk=RiskIndicators(
            officer_grade="medium",
            dash_yes_count=2**70,
            referrals_3_months=-1,
            previous_referrals_12_months=2,
        ),
    )
    seen = context_of(
        change(
            summary,
            factor_codes=("11A", "15A", "99Z"),
            abuse_categories=("NEG", "PHY"),
            adult_abuse_types=("neglect", "self_neglect"),
        )
    )
    assert seen == RuleContext(
        referral_type="domestic_abuse",
        officer_grade="medium",
        dash_yes_count=999,
        child_subject="yes",
        child_under_one="yes",
        child_under_eleven="yes",
        looked_after="yes",
        child_protection_plan="unknown",
        care_and_support_needs="no",
        self_harm_or_suicide="yes",
        exploitation="yes",
        concerns=("neglect", "physical", "self_neglect"),
        previous_referrals_12_months=2,
        earlier_reports="yes",
    )
