"""Grades a referral: every matching rule is collected and the most severe wins on each axis."""

import hashlib
from dataclasses import dataclass
from typing import Final, Self, get_args

import msgspec
import zen

from hub_schemas.codes import LevelOfNeed, ReferralType, RiskGrade
from hub_schemas.triage import MatchedRule
from hub_triage.policies.context import RuleContext
from hub_triage.policies.rule_table import BrokenRuleSet, RuleTable, read_rule_table
from hub_triage.policies.stamp import Stamp

RISK_ORDER: Final[tuple[RiskGrade, ...]] = ("standard", "medium", "high")
NEED_ORDER: Final[tuple[LevelOfNeed, ...]] = ("blue", "green", "amber", "red")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grading:
    """What the rules say. ``needs_person``: no rule spoke, so it stands at the top until someone looks.

    ``inputs_hash`` is SHA-256 (hex) of the context the rules saw.
    """

    risk_grade: RiskGrade
    level_of_need: LevelOfNeed
    needs_person: bool
    matched_rules: tuple[MatchedRule, ...]
    inputs_hash: str


def worst_risk(*grades: RiskGrade) -> RiskGrade:
    """The most severe of these grades."""
    return max(grades, key=RISK_ORDER.index)


def worst_need(*levels: LevelOfNeed) -> LevelOfNeed:
    """The highest of these levels of need."""
    return max(levels, key=NEED_ORDER.index)


class RuleSet:
    """A checked rule set, ready to grade: synchronous, about 40 microseconds a referral, safe to share."""

    def __init__(self, table: RuleTable) -> None:
        compiled = zen.ZenDecisionContent(table.content)
        # Through the engine and a compiled decision: the decision's own evaluate builds a runtime per call.
        self._engine = zen.ZenEngine({"loader": lambda _key: compiled})
        self._rules = table.rules
        self._encoder = msgspec.json.Encoder()
        self._strict = msgspec.json.Decoder(RuleContext)
        self.stamp: Stamp = table.stamp

    @classmethod
    def load(cls, content: bytes) -> Self:
        """Read and check a rule set file. Raises ``BrokenRuleSet`` naming what is at fault."""
        rule_set = cls(read_rule_table(content))
        for referral_type in get_args(ReferralType):
            if not rule_set.grade(RuleContext(referral_type=referral_type)).needs_person:
                raise BrokenRuleSet(fields={"rules": f"grade a silent {referral_type} referral"})
        return rule_set

    @property
    def rule_ids(self) -> tuple[str, ...]:
        """The ids of all its rules, in the order of the file."""
        return tuple(self._rules)

    def grade(self, context: RuleContext) -> Grading:
        """Grade one context. Raises ``msgspec.ValidationError`` for a word outside its field's."""
        seen = self._encoder.encode(context)
        self._strict.decode(seen)  # a wrong word would be no match, and grade lower
        matches = self._engine.evaluate("rules", seen)["result"]
        matched = tuple(self._rules[match["rule_id"]] for match in matches)
        inputs_hash = hashlib.sha256(seen).hexdigest()
        if not matched:
            return Grading(
                risk_grade="high",
                level_of_need="red",
                needs_person=True,
                matched_rules=(),
                inputs_hash=inputs_hash,
            )
        officer: RiskGrade = "standard" if context.officer_grade == "unknown" else context.officer_grade
        return Grading(
            risk_grade=worst_risk(officer, *(rule.risk_grade for rule in matched)),
            level_of_need=worst_need(*(rule.level_of_need for rule in matched)),
            needs_person=False,
            matched_rules=matched,
            inputs_hash=inputs_hash,
        )
