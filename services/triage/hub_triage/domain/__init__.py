"""The assessment of one referral: graded by rules at once, decided by a person or by a sharing policy.

    (nothing) ──RiskGraded──▶ open ──ShareDecided──▶ shared
                              │ ▲ ──NotShared──────▶ not_shared ──ShareDecided──▶ shared
                              │ └─ClockStarted───── shared | not_shared   (a new subject, or a graver grade)
                              └───AssessmentClosed─▶ closed               (withdrawn)

While it is open two clocks run: ``assessment`` until a decision, ``share`` until a decision to share.
"""

from collections.abc import Sequence
from functools import partial
from typing import assert_never

from hub_kernel.decider import Decider
from hub_schemas.triage import TriageFact
from hub_triage.commands import (
    DecideNotShare,
    DecideShare,
    FireClock,
    GradeReferral,
    Regrade,
    TriageCommand,
    Withdraw,
)
from hub_triage.domain.clocks import fire
from hub_triage.domain.deciding import decide_not_share, decide_share, withdraw
from hub_triage.domain.grading import grade, regrade
from hub_triage.domain.state import Assessment, evolve
from hub_triage.policies import Policies

AssessmentDecider = Decider[TriageCommand, Assessment | None, TriageFact]


def assessment_decider(policies: Policies) -> AssessmentDecider:
    """The decider of an assessment under these policies; the facts carry their stamps."""
    return Decider(initial=None, decide=partial(_decide, policies), evolve=evolve)


def _decide(policies: Policies, command: TriageCommand, state: Assessment | None) -> Sequence[TriageFact]:
    match command:
        case GradeReferral():
            return tuple(grade(policies, command, state))
        case Regrade():
            return tuple(regrade(policies, command, state))
        case DecideShare():
            return tuple(decide_share(command, state))
        case DecideNotShare():
            return tuple(decide_not_share(command, state))
        case FireClock():
            return tuple(fire(command, state))
        case Withdraw():
            return tuple(withdraw(command, state))
        case _:
            assert_never(command)
