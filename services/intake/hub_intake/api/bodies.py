"""What the routes beside the referral itself take in."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from hub_schemas.codes import RiskGrade
from hub_schemas.intake import RiskIndicators, WithdrawalReason
from hub_schemas.referral_fields import Line, Narrative, Part, Remark

_Count = Annotated[int, Field(ge=0, le=10_000)]


class StatedRisk(Part):
    """The danger signs this information states; what it leaves out stays as it was."""

    officer_grade: RiskGrade | None = None
    dash_yes_count: Annotated[int, Field(ge=0, le=27)] | None = None
    dara_grade: RiskGrade | None = None
    weapon_used_or_threatened: bool | None = None
    strangulation: bool | None = None
    threats_to_kill: bool | None = None
    sexual_violence: bool | None = None
    stalking: bool | None = None
    escalation: bool | None = None
    victim_pregnant: bool | None = None
    victim_frightened: bool | None = None
    self_harm_or_suicide: bool | None = None
    injury: Literal["none", "minor", "serious"] | None = None
    children_present: bool | None = None
    currently_missing: bool | None = None
    missing_episodes_90_days: _Count | None = None
    exploitation: bool | None = None
    police_protection: bool | None = None
    previous_referrals_12_months: _Count | None = None
    referrals_3_months: _Count | None = None

    def indicators(self) -> RiskIndicators:
        """The same, as the fact carries it."""
        return RiskIndicators(**dict(self))


class InformationBody(Part):
    """Something more that became known. ``information_id`` is the sender's own, so that a repeat is known."""

    information_id: UUID
    text: Narrative
    reported_by: Line | None = None
    risk: StatedRisk = StatedRisk()


class WithdrawalBody(Part):
    """Why a referral is taken back: a code, and words where the code does not say enough."""

    reason_code: WithdrawalReason
    reason: Remark | None = None
