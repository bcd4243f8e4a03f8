"""Grading: by the rules whenever something new is known, by a person at any time before the decision."""

from collections.abc import Iterator
from datetime import datetime

from hub_schemas.codes import LevelOfNeed, RiskGrade
from hub_schemas.triage import Regraded, RiskGraded, ShareDecided, TriageFact
from hub_triage.commands import GradeReferral, Regrade
from hub_triage.domain.clocks import meet, set_clocks
from hub_triage.domain.deciding import open_assessment, rationale_of
from hub_triage.domain.errors import RationaleTooShort
from hub_triage.domain.state import CLOCKS, Assessment, evolve
from hub_triage.policies import Policies
from hub_triage.policies.context import context_of
from hub_triage.policies.grading import Grading, worst_need, worst_risk

LOWERING_RATIONALE_CHARACTERS = 20


def grade(policies: Policies, command: GradeReferral, state: Assessment | None) -> Iterator[TriageFact]:
    """Grade by the rules; then set the clocks, and share at once where the policy says so.

    A version already graded and a withdrawn referral change nothing.
    """
    if state and (state.status == "closed" or command.referral_version <= state.referral_version):
        return
    grading = policies.rules.grade(context_of(command.summary))
    graded = _risk_graded(policies, command, grading, state)
    yield graded
    after = evolve(state, graded)
    if state is None or _reopens(state, after):
        yield from _act_on_grade(policies, after, counts_from=command.received_at, at=command.at)
    elif state.status == "open":
        rebased = state.counts_from if state.level_of_need != after.level_of_need else None
        yield from _act_on_grade(policies, after, counts_from=rebased, at=command.at)


def regrade(policies: Policies, command: Regrade, state: Assessment | None) -> Iterator[TriageFact]:
    """Set the grade a person gives; the clocks keep counting from where they began.

    Giving the grade that stands changes nothing, unless no rule spoke and a person was needed to confirm it.
    """
    state = open_assessment(state)
    rationale = rationale_of(command.rationale)
    before, after = (state.risk_grade, state.level_of_need), (command.risk_grade, command.level_of_need)
    if before == after and not state.needs_person:
        return
    if _worst(before, after) != after and len(rationale.text) < LOWERING_RATIONALE_CHARACTERS:
        raise RationaleTooShort
    regraded = Regraded(
        referral_id=state.referral_id,
        regraded_at=command.at,
        risk_grade=command.risk_grade,
        level_of_need=command.level_of_need,
        previous_risk_grade=state.risk_grade,
        previous_level_of_need=state.level_of_need,
        sealed=rationale,
    )
    yield regraded
    rebased = state.counts_from if state.level_of_need != command.level_of_need else None
    yield from _act_on_grade(policies, evolve(state, regraded), counts_from=rebased, at=command.at)


def _risk_graded(
    policies: Policies, command: GradeReferral, grading: Grading, state: Assessment | None
) -> RiskGraded:
    asked = (grading.risk_grade, grading.level_of_need)
    stands = _standing(asked, grading.inputs_hash, state)
    officer_grade = command.summary.risk.officer_grade
    return RiskGraded(
        referral_id=command.referral_id,
        graded_at=command.at,
        risk_grade=stands[0],
        level_of_need=stands[1],
        needs_person=grading.needs_person and stands == asked,
        matched_rules=grading.matched_rules,
        rule_set=str(policies.rules.stamp),
        rule_set_hash=policies.rules.stamp.hash,
        inputs_hash=grading.inputs_hash,
        disagrees_with_officer=officer_grade not in {None, stands[0]},
        authority=command.summary.authority,
        trigger=command.trigger,
        referral_version=command.referral_version,
        held_by_person=stands != asked,
        encompass_due=command.summary.encompass_due,
        candidates=policies.sharing.candidates(command.summary.subjects),
    )


def _standing(
    asked: tuple[RiskGrade, LevelOfNeed], inputs_hash: str, state: Assessment | None
) -> tuple[RiskGrade, LevelOfNeed]:
    """The grade that stands: never below what a person set, and theirs alone if the rules saw nothing new."""
    if state is None or state.person_grade is None:
        return asked
    if inputs_hash == state.inputs_hash:
        return state.risk_grade, state.level_of_need
    return _worst(asked, state.person_grade)


def _worst(
    one: tuple[RiskGrade, LevelOfNeed], other: tuple[RiskGrade, LevelOfNeed]
) -> tuple[RiskGrade, LevelOfNeed]:
    return worst_risk(one[0], other[0]), worst_need(one[1], other[1])


def _reopens(before: Assessment, after: Assessment) -> bool:
    """A decided referral opens again for a subject nobody decided on, or if it is graver than when kept."""
    if before.status == "open":
        return False
    grades = (before.risk_grade, before.level_of_need), (after.risk_grade, after.level_of_need)
    graver = before.status == "not_shared" and _worst(*grades) != grades[0]
    return graver or bool(after.subjects - after.decided_subjects)


def _act_on_grade(
    policies: Policies, state: Assessment, *, counts_from: datetime | None, at: datetime
) -> Iterator[TriageFact]:
    """Set the clocks if they are to count from an instant, and share at once where the policy says so."""
    if counts_from is not None:
        for fact in set_clocks(policies.clocks, state, counts_from=counts_from, at=at):
            yield fact
            state = evolve(state, fact)
    rule = policies.sharing.at_once(state.level_of_need, state.candidates)
    untold = state.untold(state.candidates)
    if rule is None or not untold or state.needs_person:
        return
    yield ShareDecided(
        referral_id=state.referral_id,
        decided_at=at,
        recipients=untold,
        risk_grade=state.risk_grade,
        level_of_need=state.level_of_need,
        share_due_at=state.due_at("share"),
        by_policy=f"{policies.sharing.stamp} {rule.id}",
        policy_hash=policies.sharing.stamp.hash,
        lawful_basis=rule.lawful_basis,
    )
    yield from meet(state, at, *CLOCKS)
