"""The facts intake records: what a police records system told the hub about one referral.

Stream ``referral-<referral_id>``. The sealed part holds the canonical referral document
(``hub_schemas.referral.Referral``) as JSON; the open part is what grading, routing and counting need.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from hub_schemas.codes import AgeBand, Authority, ReferralType, RiskGrade, SubjectKind
from hub_schemas.facts import Fact, Sealed
from hub_schemas.registry import Registry

WithdrawalReason = Literal["duplicate", "wrong_person", "recorded_in_error", "other"]


class SubjectSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One child, unborn child or adult the referral is about, without anything that names them.

    ``None`` means the referral does not say, which is never read as "no".
    """

    subject_id: UUID
    kind: SubjectKind
    age_band: AgeBand
    authority: Authority
    looked_after: bool | None = None
    child_protection_plan: bool | None = None
    open_to_social_care: bool | None = None
    pregnant: bool | None = None
    disability: bool | None = None
    care_and_support_needs: bool | None = None
    school_resolved: bool | None = None
    nhs_number_known: bool = False


class RiskIndicators(msgspec.Struct, frozen=True, kw_only=True):
    """What the officer reported that bears on danger. ``None`` means not stated, never "no"."""

    officer_grade: RiskGrade | None = None
    dash_yes_count: int | None = None
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
    missing_episodes_90_days: int | None = None
    exploitation: bool | None = None
    police_protection: bool | None = None
    previous_referrals_12_months: int | None = None
    referrals_3_months: int | None = None


class ReferralSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The open view of one version of a referral.

    ``source_version`` counts the record's versions in the records system from 1. ``content_hash`` is a keyed
    hash (hex) of the document: equal for equal content, and no way back to it. ``factor_codes`` are DfE
    assessment factors, ``abuse_categories`` DfE categories (NEG PHY SAB EMO MUL), ``adult_abuse_types`` the
    Care Act's. ``completeness_percent`` is 0 to 100 and ``gaps`` name the fields that are missing.
    """

    source_system: str
    source_version: int
    content_hash: str
    document_version: int
    force: str
    authority: Authority
    referral_type: ReferralType
    incident_at: datetime | None
    submitted_at: datetime
    subjects: tuple[SubjectSummary, ...]
    factor_codes: tuple[str, ...] = ()
    abuse_categories: tuple[str, ...] = ()
    adult_abuse_types: tuple[str, ...] = ()
    risk: RiskIndicators = RiskIndicators()
    encompass_due: bool = False
    consent_basis: str | None = None
    completeness_percent: int = 0
    gaps: tuple[str, ...] = ()


class Document(Sealed, frozen=True, kw_only=True):
    """The canonical referral document, as JSON text of ``hub_schemas.referral.Referral``."""

    document: msgspec.Raw


class Information(Sealed, frozen=True, kw_only=True):
    """Extra information in the reporter's words."""

    text: str
    reported_by: str | None = None


class Reason(Sealed, frozen=True, kw_only=True):
    """Why, in a person's words; it may name people."""

    text: str


class ReferralReceived(Fact, frozen=True, kw_only=True):
    """A records system posted a referral the hub had not seen. ``received_at`` starts every clock."""

    referral_id: UUID
    received_at: datetime
    summary: ReferralSummary
    sealed: Document | msgspec.UnsetType = msgspec.UNSET


class ReferralAmended(Fact, frozen=True, kw_only=True):
    """The records system sent a later version of the same record; the whole new content stands here."""

    referral_id: UUID
    amended_at: datetime
    summary: ReferralSummary
    sealed: Document | msgspec.UnsetType = msgspec.UNSET


class InformationAdded(Fact, frozen=True, kw_only=True):
    """Something more became known. ``information_id`` is the sender's own, for repeats.

    ``risk`` holds only the indicators this information states; ``content_hash`` is keyed as in the summary.
    """

    referral_id: UUID
    information_id: UUID
    added_at: datetime
    content_hash: str
    risk: RiskIndicators = RiskIndicators()
    sealed: Information | msgspec.UnsetType = msgspec.UNSET


class ReferralWithdrawn(Fact, frozen=True, kw_only=True):
    """The records system took the referral back; deliveries not yet accepted must stop."""

    referral_id: UUID
    withdrawn_at: datetime
    reason_code: WithdrawalReason
    sealed: Reason | msgspec.UnsetType = msgspec.UNSET


IntakeFact = ReferralReceived | ReferralAmended | InformationAdded | ReferralWithdrawn
REGISTRY = Registry((ReferralReceived, ReferralAmended, InformationAdded, ReferralWithdrawn))
