import json
from collections.abc import Callable
from typing import Any

import pytest

from hub_triage.policies.grading import RuleSet
from hub_triage.policies.rule_table import BrokenRuleSet

Decision = dict[str, Any]


def rows(decision: Decision) -> list[dict[str, str]]:
    found: list[dict[str, str]] = decision["nodes"][1]["content"]["rules"]
    return found


def row(decision: Decision, rule_id: str) -> dict[str, str]:
    return next(row for row in rows(decision) if row["_id"] == rule_id)


def set_cell(rule_id: str, cell: str, expression: str) -> Callable[[Decision], None]:
    def plant(decision: Decision) -> None:
        row(decision, rule_id)[cell] = expression

    return plant


def drop_cell(rule_id: str, cell: str) -> Callable[[Decision], None]:
    def plant(decision: Decision) -> None:
        del row(decision, rule_id)[cell]

    return plant


def repeat_a_row(decision: Decision) -> None:
    rows(decision).append(rows(decision)[0])


def ask_for_an_unknown_field(decision: Decision) -> None:
    decision["nodes"][1]["content"]["inputs"][0] = {"id": "mood", "name": "mood", "field": "mood"}


def hide_a_field_behind_another_id(decision: Decision) -> None:
    decision["nodes"][1]["content"]["inputs"][0]["field"] = "injury"


def skip_the_table(decision: Decision) -> None:
    decision["edges"][0]["targetId"] = "grading"


@pytest.mark.parametrize(
    ("plant", "at_fault"),
    [
        pytest.param(set_cell("three-in-three-months", "referrals_3_months", "< < 3"),
                     {"rules.three-in-three-months.referrals_3_months":
                      "is not an expression the engine can run on this field"}, id="broken"),
        pytest.param(set_cell("da-strangulation", "strangulation", 'not("yes")'),
                     {"rules.da-strangulation.strangulation":
                      "is not an expression the engine can run on this field"}, id="fails at run time"),
        pytest.param(set_cell("da-strangulation", "strangulation", '"yess"'),
                     {"rules.da-strangulation.strangulation": "matches no value the field can take"},
                     id="typo"),
        pytest.param(set_cell("da-strangulation", "strangulation", "true"),
                     {"rules.da-strangulation.strangulation": "matches no value the field can take"},
                     id="type"),
        pytest.param(set_cell("da-strangulation", "strangulation", '"yes", "no", "unknown"'),
                     {"rules.da-strangulation.strangulation":
                      "matches every value the field can take; leave it empty instead"}, id="always"),
        pytest.param(set_cell("three-in-three-months", "referrals_3_months", "!= 3"),
                     {"rules.three-in-three-months.referrals_3_months": "matches what is not known"},
                     id="null"),
        pytest.param(set_cell("child-fgm", "concerns", 'not contains($, "fgm")'),
                     {"rules.child-fgm.concerns": "matches what is not known"}, id="absence"),
        pytest.param(set_cell("da-strangulation", "level_of_need", '"purple"'),
                     {"rules.da-strangulation.level_of_need":
                      "must be a quoted known word, and rule_id the row's own id"}, id="unknown grade"),
        pytest.param(set_cell("da-strangulation", "rule_id", '"da-other"'),
                     {"rules.da-strangulation.rule_id":
                      "must be a quoted known word, and rule_id the row's own id"}, id="another id"),
        pytest.param(set_cell("da-strangulation", "_description", "somebody said so"),
                     {"rules.da-strangulation._description":
                      "must say its source after statutory:, guidance: or local:"}, id="no source"),
        pytest.param(set_cell("da-strangulation", "mood", '"bad"'),
                     {"rules.da-strangulation.mood": "the table has no such column"}, id="no column"),
        pytest.param(drop_cell("da-strangulation", "risk_grade"),
                     {"rules.da-strangulation.risk_grade": "is missing"}, id="no grade"),
        pytest.param(drop_cell("da-strangulation", "strangulation"),
                     {"rules.da-strangulation.conditions":
                      "a rule must ask for more than the type of referral; a catch-all hides gaps"},
                     id="catch-all"),
        pytest.param(drop_cell("dash-count-and-fear", "victim_frightened"),
                     {"rules.dash-count-and-fear.dash_yes_count": "a DASH count never grades alone"},
                     id="DASH"),
        pytest.param(set_cell("three-in-three-months", "referrals_3_months", "  "),
                     {"rules.three-in-three-months.conditions":
                      "a rule must ask for more than the type of referral; a catch-all hides gaps"},
                     id="blank"),
        pytest.param(repeat_a_row, {"rules.officer-high": "two rules have this id"}, id="two alike"),
        pytest.param(hide_a_field_behind_another_id,
                     {"columns.referral_type": "its id and its field must be the same word"}, id="renamed"),
        pytest.param(skip_the_table,
                     {"edges": "must lead from the input through the table to the output"}, id="edges"),
        pytest.param(set_cell("da-strangulation-unstated", "officer_grade", '"unknown"'),
                     {"rules": "grade a silent domestic_abuse referral"}, id="silence"),
    ],
)  # fmt: skip
def test_a_rule_set_with_a_planted_fault_is_refused_by_name(
    policy_files: dict[str, bytes], plant: Callable[[Decision], None], at_fault: dict[str, str]
) -> None:
    decision = json.loads(policy_files["risk_rules"])
    plant(decision)
    with pytest.raises(BrokenRuleSet) as refused:
        RuleSet.load(json.dumps(decision).encode())
    assert refused.value.fields == at_fault


def test_a_field_outside_the_context_is_refused(policy_files: dict[str, bytes]) -> None:
    decision = json.loads(policy_files["risk_rules"])
    ask_for_an_unknown_field(decision)
    with pytest.raises(BrokenRuleSet) as refused:
        RuleSet.load(json.dumps(decision).encode())
    assert refused.value.fields["columns.mood"] == "the rule context has no such field"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda d: d["nodes"][1].update(type="functionNode"), id="JavaScript"),
        pytest.param(lambda d: d["nodes"][1]["content"].update(hitPolicy="first"), id="first match only"),
        pytest.param(lambda d: d["nodes"][1]["content"].update(executionMode="loop"), id="another mode"),
        pytest.param(lambda d: d["nodes"].pop(), id="no output"),
        pytest.param(lambda d: d.pop("version"), id="no version"),
    ],
)
def test_a_decision_of_another_shape_is_refused(
    policy_files: dict[str, bytes], change: Callable[[Decision], object]
) -> None:
    decision = json.loads(policy_files["risk_rules"])
    change(decision)
    with pytest.raises(BrokenRuleSet):
        RuleSet.load(json.dumps(decision).encode())


def test_layout_does_not_change_the_hash_and_a_cell_does(policy_files: dict[str, bytes]) -> None:
    decision = json.loads(policy_files["risk_rules"])
    shipped = RuleSet.load(policy_files["risk_rules"]).stamp
    assert RuleSet.load(json.dumps(decision, indent=8).encode()).stamp == shipped
    row(decision, "three-in-three-months")["referrals_3_months"] = ">= 4"
    changed = RuleSet.load(json.dumps(decision).encode()).stamp
    assert (changed.name, changed.version) == (shipped.name, shipped.version)
    assert changed.hash != shipped.hash
