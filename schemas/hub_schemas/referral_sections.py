"""The sections of a referral beside its people: incident, concern, voices, risk, actions, sharing."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hub_schemas.codes import Agency, RiskGrade
from hub_schemas.referral_codes import AbuseCategory, AdultAbuseType, FactorCode
from hub_schemas.referral_fields import (
    EmailAddress,
    Faults,
    Instant,
    Line,
    Narrative,
    Part,
    PhoneNumber,
    Postcode,
    RecordId,
    Ref,
    Remark,
    Uprn,
    Word,
)

LawfulBasis = Literal["public_task", "legal_obligation", "vital_interests", "consent", "law_enforcement"]
ConsentBasis = Literal[
    "given", "refused", "not_sought", "not_required_significant_harm", "overridden_public_interest"
]
ReasonNotInformed = Literal["increases_risk", "obstructs_police", "causes_delay", "could_not_reach", "other"]
RelationshipKind = Literal[
    "parent", "step_parent", "carer", "sibling", "half_sibling", "grandparent", "other_relative", "partner",
    "former_partner", "significant_other", "professional", "other",
]  # fmt: skip
ServiceKind = Literal[
    "nursery", "health_visitor", "school_nurse", "midwife", "social_worker", "early_help", "camhs",
    "mental_health", "probation", "youth_justice", "housing", "idva", "voluntary", "other",
]  # fmt: skip
Count = Annotated[int, Field(ge=0, le=10_000)]


class Location(Part):
    """A place by whatever is known of it; easting and northing are OS grid metres."""

    description: Line | None = None
    postcode: Postcode | None = None
    uprn: Uprn | None = None
    easting_metres: Annotated[int, Field(ge=0, le=700_000)] | None = None
    northing_metres: Annotated[int, Field(ge=0, le=1_300_000)] | None = None


class Incident(Part):
    """What police attended. ``children_where`` says where in the home the children were."""

    occurrence_number: RecordId | None = None
    crime_number: RecordId | None = None
    incident_number: RecordId | None = None
    linked_crimes: Annotated[tuple[RecordId, ...], Field(max_length=50)] = ()
    type: Line | None = None
    location: Location | None = None
    narrative: Narrative | None = None
    body_worn_video: bool | None = None
    children_present: bool | None = None
    children_where: Remark | None = None


class Referrer(Part):
    """The officer who reports, and who supervises."""

    collar_number: Word | None = None
    name: Line | None = None
    rank: Word | None = None
    team: Line | None = None
    supervisor: Line | None = None
    phone: PhoneNumber | None = None
    email: EmailAddress | None = None


class Relationship(Part):
    """``person`` is the ``kind`` of ``of``: the mother is the parent of the child. Both are refs."""

    person: Ref
    of: Ref
    kind: RelationshipKind
    parental_responsibility: bool | None = None


class AllegedPerpetrator(Part):
    """Who is said to have done it, by ref, and to whom."""

    person: Ref
    victims: Annotated[tuple[Ref, ...], Field(max_length=30)] = ()
    in_custody: bool | None = None
    remark: Remark | None = None


class Service(Part):
    """An agency already working with some of the subjects."""

    kind: ServiceKind
    subjects: Annotated[tuple[Ref, ...], Field(max_length=30)] = ()
    organisation: Line | None = None
    worker: Line | None = None
    phone: PhoneNumber | None = None
    email: EmailAddress | None = None


class MissingEpisode(Part):
    """One time a subject went missing; ``until`` is absent while they still are."""

    subject: Ref
    since: Instant
    until: Instant | None = None


class Missing(Part):
    """Going missing: now, and how often in the 90 days before."""

    currently_missing: bool | None = None
    episodes_90_days: Count | None = None
    episodes: Annotated[tuple[MissingEpisode, ...], Field(max_length=100)] = ()


class Concern(Part):
    """What the worry is, in codes first and words after."""

    factor_codes: Annotated[tuple[FactorCode, ...], Field(max_length=42)] = ()
    abuse_categories: Annotated[tuple[AbuseCategory, ...], Field(max_length=5)] = ()
    adult_abuse_types: Annotated[tuple[AdultAbuseType, ...], Field(max_length=10)] = ()
    exploitation: bool | None = None
    exploitation_detail: Remark | None = None
    missing: Missing | None = None
    injury: Literal["none", "minor", "serious"] | None = None
    injury_detail: Remark | None = None
    weapon_used_or_threatened: bool | None = None
    weapon_detail: Remark | None = None
    dogs: Remark | None = None
    risk_to_staff: Remark | None = None
    harms: Remark | None = None
    strengths: Remark | None = None
    history: Remark | None = None
    home_conditions: Remark | None = None
    previous_referrals_12_months: Count | None = None
    referrals_3_months: Count | None = None


class VoiceOfChild(Part):
    """What a child said and showed, and how they were seen."""

    subject: Ref
    seen: bool | None = None
    seen_alone: bool | None = None
    spoken_to: bool | None = None
    spoken_to_by: Line | None = None
    in_presence_of: Line | None = None
    words: Remark | None = None
    demeanour: Remark | None = None


class VoiceOfAdult(Part):
    """What an adult said and what they want to come of it (Making Safeguarding Personal)."""

    subject: Ref
    words: Remark | None = None
    desired_outcome: Remark | None = None


class DashAnswer(Part):
    """One answer of the DASH 2009 checklist, by its question number."""

    question: Annotated[int, Field(ge=1, le=27)]
    answer: Literal["yes", "no", "not_known"]
    remark: Remark | None = None


class Dash(Part):
    """The DASH 2009 checklist: its answers, or at least how many were yes."""

    yes_count: Annotated[int, Field(ge=0, le=27)] | None = None
    answers: Annotated[tuple[DashAnswer, ...], Field(max_length=27)] = ()

    @model_validator(mode="after")
    def _answers_agree(self) -> Self:
        faults = Faults()
        if len({answer.question for answer in self.answers}) != len(self.answers):
            faults.add(("answers",), "question_repeated", "a question is answered twice")
        counted = sum(answer.answer == "yes" for answer in self.answers)
        if self.answers and self.yes_count is not None and self.yes_count != counted:
            faults.add(("yes_count",), "count_differs", "it is not the number of yes answers")
        faults.raise_any("Dash")
        return self


class Dara(Part):
    """The outcome of a domestic abuse risk assessment (DARA)."""

    grade: RiskGrade | None = None
    rationale: Remark | None = None


class Thrive(Part):
    """The THRIVE assessment, in the officer's words."""

    threat: Remark | None = None
    harm: Remark | None = None
    risk: Remark | None = None
    investigation: Remark | None = None
    vulnerability: Remark | None = None
    engagement: Remark | None = None


class Risk(Part):
    """How dangerous the officer finds it (the primary assessment), and the markers that weigh most."""

    officer_grade: RiskGrade | None = None
    officer_rationale: Remark | None = None
    dash: Dash | None = None
    dara: Dara | None = None
    thrive: Thrive | None = None
    strangulation: bool | None = None
    threats_to_kill: bool | None = None
    sexual_violence: bool | None = None
    stalking: bool | None = None
    escalation: bool | None = None
    victim_frightened: bool | None = None
    self_harm_or_suicide: bool | None = None


class Actions(Part):
    """What police have done, and what they ask of partners."""

    arrest_made: bool | None = None
    bail_conditions: Remark | None = None
    police_protection: bool | None = None
    police_protection_at: Instant | None = None
    safeguarding: Remark | None = None
    marac_referred: bool | None = None
    idva_referred: bool | None = None
    requested_of_partners: Annotated[tuple[Remark, ...], Field(max_length=20)] = ()


class Sharing(Part):
    """On what footing it may be shared, and who was told.

    Consent is not needed where significant harm is suspected; parents are told unless that adds risk,
    obstructs police or delays.
    """

    lawful_basis: LawfulBasis | None = None
    consent_basis: ConsentBasis | None = None
    parents_informed: bool | None = None
    reason_not_informed: ReasonNotInformed | None = None
    reason_not_informed_detail: Remark | None = None
    adult_has_capacity: bool | None = None
    adult_consents: bool | None = None
    override_reason: Remark | None = None
    recipients: Annotated[tuple[Agency, ...], Field(max_length=10)] = ()
    redactions: Annotated[tuple[Remark, ...], Field(max_length=20)] = ()
