"""What triage does about each fact of intake: every new version of a referral is graded again."""

from datetime import datetime
from typing import assert_never

import msgspec

from hub_schemas.intake import (
    InformationAdded,
    IntakeFact,
    ReferralAmended,
    ReferralReceived,
    ReferralSummary,
    ReferralWithdrawn,
    RiskIndicators,
)
from hub_triage.commands import GradeReferral, Trigger, Withdraw


def react(
    fact: IntakeFact, *, referral_version: int, known: ReferralSummary | None, at: datetime
) -> GradeReferral | Withdraw:
    """The command a fact of intake leads to.

    ``referral_version`` is the fact's stream version; ``known`` is the summary graded last, if any. What
    was once stated stays stated until something later states otherwise: silence takes nothing back.
    """
    trigger: Trigger
    match fact:
        case ReferralReceived(summary=summary, received_at=since):
            trigger, received_at = "received", since
        case ReferralAmended(summary=summary, amended_at=since):
            trigger, received_at = "amended", since
            if known is not None:
                summary = msgspec.structs.replace(summary, risk=_stated_over(known.risk, summary.risk))
        case InformationAdded(risk=risk, added_at=since):
            if known is None:
                raise ValueError("information about a referral that was never received")
            trigger, received_at = "information", since
            summary = msgspec.structs.replace(known, risk=_stated_over(known.risk, risk))
        case ReferralWithdrawn(referral_id=referral_id):
            return Withdraw(referral_id=referral_id, at=at)
        case _:
            assert_never(fact)
    return GradeReferral(
        referral_id=fact.referral_id,
        referral_version=referral_version,
        trigger=trigger,
        at=at,
        received_at=received_at,
        summary=summary,
    )


def _stated_over(known: RiskIndicators, later: RiskIndicators) -> RiskIndicators:
    """``known`` with everything that ``later`` states put in its place."""
    stated = {name: value for name in later.__struct_fields__ if (value := getattr(later, name)) is not None}
    return msgspec.structs.replace(known, **stated)
