"""How intake reads a referral: the open summary that grading, routing and counting work from.

Nothing here names a person. What the document does not say stays ``None``: unknown is never read as "no".
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID, uuid5

from hub_intake.policies.ages import age_band_of, age_day_of, is_of_school_age
from hub_intake.policies.completeness import assess_completeness
from hub_schemas.intake import ReferralSummary, RiskIndicators, SubjectSummary
from hub_schemas.referral import Referral
from hub_schemas.referral_codes import DOMESTIC_ABUSE_FACTORS, EXPLOITATION_FACTORS
from hub_schemas.referral_fields import Ref
from hub_schemas.referral_people import Subject
from hub_schemas.referral_sections import Concern, Dash, Missing, Risk

_MISSING_WINDOW: Final = timedelta(days=90)
_NO_CONCERN: Final = Concern()
_NO_RISK: Final = Risk()
_NOT_MISSING: Final = Missing()


def summarise(document: Referral, *, referral_id: UUID, content_hash: str) -> ReferralSummary:
    """The open summary of a document. ``content_hash`` is the keyed hash (hex) of its canonical JSON.

    Ages are those on the day of the incident, or of submission where the incident has no date.
    """
    concern = document.concern or _NO_CONCERN
    sharing, occurred_at = document.sharing, document.times.occurred_at
    completeness = assess_completeness(document)
    return ReferralSummary(
        source_system=document.source.system,
        source_version=document.source.version,
        content_hash=content_hash,
        document_version=document.document_version,
        force=document.force,
        authority=document.authority,
        referral_type=document.referral_type,
        incident_at=None if occurred_at is None else occurred_at.astimezone(UTC),
        submitted_at=document.times.submitted_at.astimezone(UTC),
        subjects=tuple(_summarise_subject(subject, document, referral_id) for subject in document.subjects),
        factor_codes=concern.factor_codes,
        abuse_categories=concern.abuse_categories,
        adult_abuse_types=concern.adult_abuse_types,
        risk=risk_of(document),
        encompass_due=is_encompass_due(document),
        consent_basis=None if sharing is None else sharing.consent_basis,
        completeness_percent=completeness.percent,
        gaps=completeness.gaps,
    )


def subject_id_of(referral_id: UUID, ref: Ref) -> UUID:
    """The subject's id outside the document: the same for the same referral and ref, in every version."""
    return uuid5(referral_id, ref)


def is_encompass_due(document: Referral) -> bool:
    """Whether a school must be told before its next day (Domestic Abuse Act 2021, s49A).

    A child subject of domestic abuse, from reception to 17, present or not. Without a date of birth, a child
    with a school is of school age.
    """
    if not is_domestic_abuse(document):
        return False
    on = age_day_of(document)
    return any(is_of_school_age(subject, on) for subject in document.subjects if subject.kind == "child")


def is_domestic_abuse(document: Referral) -> bool:
    """Whether the referral's type, or a factor it codes, says domestic abuse."""
    concern = document.concern or _NO_CONCERN
    return document.referral_type == "domestic_abuse" or not DOMESTIC_ABUSE_FACTORS.isdisjoint(
        concern.factor_codes
    )


def risk_of(document: Referral) -> RiskIndicators:
    """What the officer reported that bears on danger, stated or plainly following from what is."""
    concern = document.concern or _NO_CONCERN
    risk = document.risk or _NO_RISK
    missing = concern.missing or _NOT_MISSING
    actions = document.actions
    return RiskIndicators(
        officer_grade=risk.officer_grade,
        dash_yes_count=_dash_yes_count(risk.dash),
        dara_grade=None if risk.dara is None else risk.dara.grade,
        weapon_used_or_threatened=concern.weapon_used_or_threatened,
        strangulation=risk.strangulation,
        threats_to_kill=risk.threats_to_kill,
        sexual_violence=risk.sexual_violence,
        stalking=risk.stalking,
        escalation=risk.escalation,
        victim_pregnant=_victim_pregnant(document),
        victim_frightened=risk.victim_frightened,
        self_harm_or_suicide=risk.self_harm_or_suicide,
        injury=concern.injury,
        children_present=_children_present(document),
        currently_missing=_currently_missing(missing),
        missing_episodes_90_days=_episodes_90_days(missing, document.times.submitted_at),
        exploitation=_exploitation(concern),
        police_protection=None if actions is None else actions.police_protection,
        previous_referrals_12_months=concern.previous_referrals_12_months,
        referrals_3_months=concern.referrals_3_months,
    )


def _summarise_subject(subject: Subject, document: Referral, referral_id: UUID) -> SubjectSummary:
    return SubjectSummary(
        subject_id=subject_id_of(referral_id, subject.ref),
        kind=subject.kind,
        age_band=age_band_of(subject, age_day_of(document)),
        authority=subject.authority or document.authority,
        looked_after=subject.looked_after,
        child_protection_plan=subject.child_protection_plan,
        open_to_social_care=subject.open_to_social_care,
        pregnant=subject.pregnant,
        disability=_disability(subject),
        care_and_support_needs=subject.care_and_support_needs,
        school_resolved=_school_resolved(subject),
        nhs_number_known=subject.nhs_number is not None,
    )


def _disability(subject: Subject) -> bool | None:
    if not subject.disability_codes:
        return None
    return any(code != "NONE" for code in subject.disability_codes)


def _school_resolved(subject: Subject) -> bool | None:
    if subject.school is None:
        return None
    return subject.school.urn is not None or subject.school.home_educated is True


def _dash_yes_count(dash: Dash | None) -> int | None:
    if dash is None:
        return None
    if dash.answers:
        return sum(answer.answer == "yes" for answer in dash.answers)
    return dash.yes_count


def _victim_pregnant(document: Referral) -> bool | None:
    suspects = {perpetrator.person for perpetrator in document.alleged_perpetrators}
    if any(subject.kind == "unborn" for subject in document.subjects):
        return True
    return _any_stated(subject.pregnant for subject in document.subjects if subject.ref not in suspects)


def _children_present(document: Referral) -> bool | None:
    if document.incident is not None and document.incident.children_present is not None:
        return document.incident.children_present
    return _any_stated(
        subject.present_at_incident for subject in document.subjects if subject.kind == "child"
    )


def _any_stated(answers: Iterable[bool | None]) -> bool | None:
    """True when one says yes, False when all say no, otherwise not stated."""
    given = tuple(answers)
    if True in given:
        return True
    return False if given and None not in given else None


def _currently_missing(missing: Missing) -> bool | None:
    if missing.currently_missing is not None:
        return missing.currently_missing
    return any(episode.until is None for episode in missing.episodes) if missing.episodes else None


def _episodes_90_days(missing: Missing, submitted_at: datetime) -> int | None:
    if missing.episodes_90_days is not None:
        return missing.episodes_90_days
    if not missing.episodes:
        return None
    return sum(episode.since > submitted_at - _MISSING_WINDOW for episode in missing.episodes)


def _exploitation(concern: Concern) -> bool | None:
    # A coded factor outweighs a box left at "no": the flag is the one most often wrong.
    if not EXPLOITATION_FACTORS.isdisjoint(concern.factor_codes):
        return True
    return concern.exploitation
