"""What the rules see of a referral: a flat, closed context in which "unknown" is a word of its own."""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec

from hub_schemas.codes import AgeBand, ReferralType, RiskGrade
from hub_schemas.intake import ReferralSummary, SubjectSummary

Answer = Literal["yes", "no", "unknown"]
StatedGrade = Literal["standard", "medium", "high", "unknown"]
Injury = Literal["none", "minor", "serious", "unknown"]
Concern = Literal[
    "physical", "sexual", "neglect", "emotional", "multiple", "fgm", "faith", "domestic", "psychological",
    "financial", "modern_slavery", "discriminatory", "organisational", "self_neglect",
]  # fmt: skip

COUNT_MAX: Final = 999
EXPLOITATION_FACTORS: Final = frozenset({"11A", "12A", "13A", "24A"})
SELF_HARM_FACTOR: Final = "15A"
CONCERN_OF_CODE: Final[Mapping[str, Concern]] = {
    "PHY": "physical", "SAB": "sexual", "NEG": "neglect", "EMO": "emotional", "MUL": "multiple",
    "16A": "neglect", "17A": "emotional", "18B": "physical", "18C": "physical", "19B": "sexual",
    "19C": "sexual", "22A": "fgm", "23A": "faith",
    "physical": "physical", "sexual": "sexual", "neglect": "neglect", "domestic": "domestic",
    "psychological": "psychological", "financial": "financial", "modern_slavery": "modern_slavery",
    "discriminatory": "discriminatory", "organisational": "organisational", "self_neglect": "self_neglect",
}  # fmt: skip
"""DfE abuse categories, DfE factors and Care Act types, in one set of words."""


class RuleContext(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a rule may ask about; a rule that names another field is refused.

    What the referral does not say is the word ``unknown``, so a rule that accepts it has to write it down.
    A count not known is ``None``, which no cell may match; ``earlier_reports`` says in words what is known.
    ``concerns`` are the ones stated, so only their presence means anything. Over several subjects the
    answer is yes if it is yes for one, else unknown if it is unknown for one: so conditions of two
    subjects can meet in one rule, and the referral is graded as its most worrying reading.
    """

    referral_type: ReferralType
    officer_grade: StatedGrade = "unknown"
    dara_grade: StatedGrade = "unknown"
    dash_yes_count: int | None = None
    child_subject: Literal["yes", "no"] = "no"
    child_under_one: Answer = "unknown"
    child_under_eleven: Answer = "unknown"
    child_protection_plan: Answer = "unknown"
    looked_after: Answer = "unknown"
    open_to_social_care: Answer = "unknown"
    care_and_support_needs: Answer = "unknown"
    pregnant: Answer = "unknown"
    children_present: Answer = "unknown"
    injury: Injury = "unknown"
    strangulation: Answer = "unknown"
    threats_to_kill: Answer = "unknown"
    weapon_used_or_threatened: Answer = "unknown"
    sexual_violence: Answer = "unknown"
    stalking: Answer = "unknown"
    escalation: Answer = "unknown"
    victim_frightened: Answer = "unknown"
    self_harm_or_suicide: Answer = "unknown"
    currently_missing: Answer = "unknown"
    missing_episodes_90_days: int | None = None
    exploitation: Answer = "unknown"
    police_protection: Answer = "unknown"
    concerns: tuple[Concern, ...] = ()
    referrals_3_months: int | None = None
    previous_referrals_12_months: int | None = None
    earlier_reports: Answer = "unknown"


def context_of(summary: ReferralSummary) -> RuleContext:
    """The rule context of one version of a referral."""
    risk, subjects = summary.risk, summary.subjects
    children = [subject for subject in subjects if subject.kind != "adult"]
    adults = [subject for subject in subjects if subject.kind == "adult"]
    factors = frozenset(summary.factor_codes)
    codes = (*summary.abuse_categories, *summary.factor_codes, *summary.adult_abuse_types)
    return RuleContext(
        referral_type=summary.referral_type,
        officer_grade=_stated(risk.officer_grade),
        dara_grade=_stated(risk.dara_grade),
        dash_yes_count=_count(risk.dash_yes_count),
        child_subject="yes" if children else "no",
        child_under_one=_any(_is_aged(child, {"unborn", "under_1"}) for child in children),
        child_under_eleven=_any(_is_aged(child, {"unborn", "under_1", "1_4", "5_10"}) for child in children),
        child_protection_plan=_any(child.child_protection_plan for child in children),
        looked_after=_any(child.looked_after for child in children),
        open_to_social_care=_any(child.open_to_social_care for child in children),
        care_and_support_needs=_any(adult.care_and_support_needs for adult in adults),
        pregnant=_any((risk.victim_pregnant, *(subject.pregnant or None for subject in subjects))),
        children_present=_answer(risk.children_present),
        injury="unknown" if risk.injury is None else risk.injury,
        strangulation=_answer(risk.strangulation),
        threats_to_kill=_answer(risk.threats_to_kill),
        weapon_used_or_threatened=_answer(risk.weapon_used_or_threatened),
        sexual_violence=_answer(risk.sexual_violence),
        stalking=_answer(risk.stalking),
        escalation=_answer(risk.escalation),
        victim_frightened=_answer(risk.victim_frightened),
        self_harm_or_suicide="yes" if SELF_HARM_FACTOR in factors else _answer(risk.self_harm_or_suicide),
        currently_missing=_answer(risk.currently_missing),
        missing_episodes_90_days=_count(risk.missing_episodes_90_days),
        exploitation="yes" if factors & EXPLOITATION_FACTORS else _answer(risk.exploitation),
        police_protection=_answer(risk.police_protection),
        concerns=tuple(dict.fromkeys(CONCERN_OF_CODE[code] for code in codes if code in CONCERN_OF_CODE)),
        referrals_3_months=_count(risk.referrals_3_months),
        previous_referrals_12_months=_count(risk.previous_referrals_12_months),
        earlier_reports=_earlier(risk.previous_referrals_12_months, risk.referrals_3_months),
    )


def _answer(stated: bool | None) -> Answer:  # noqa: FBT001  the three-valued answer is the whole argument
    return "unknown" if stated is None else "yes" if stated else "no"


def _any(answers: Iterable[bool | None]) -> Answer:
    found = set(answers)
    return "yes" if True in found else "unknown" if None in found else "no"


def _stated(grade: RiskGrade | None) -> StatedGrade:
    return "unknown" if grade is None else grade


def _count(stated: int | None) -> int | None:
    # The engine fails on integers beyond 64 bits, and a negative count says nothing.
    return None if stated is None or stated < 0 else min(stated, COUNT_MAX)


def _is_aged(child: SubjectSummary, bands: set[AgeBand]) -> bool | None:
    if child.kind == "unborn":
        return "unborn" in bands
    return None if child.age_band == "unknown" else child.age_band in bands


def _earlier(previous_12_months: int | None, in_3_months: int | None) -> Answer:
    if (previous_12_months or 0) > 0 or (in_3_months or 0) > 1:  # the three months include this report
        return "yes"
    return "unknown" if previous_12_months is None else "no"
