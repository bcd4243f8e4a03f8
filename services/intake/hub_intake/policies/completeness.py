"""How complete a referral is: what a good one states, what each part weighs, and which parts are missing."""

from collections.abc import Callable
from typing import Final, NamedTuple

from hub_intake.policies.ages import age_day_of, is_of_school_age
from hub_schemas.referral import Referral
from hub_schemas.referral_people import Address, Subject
from hub_schemas.referral_sections import Concern

_NO_CONCERN: Final = Concern()


class Completeness(NamedTuple):
    """The weighted share stated, 0 to 100, and the names of what is missing, heaviest first."""

    percent: int
    gaps: tuple[str, ...]


class Expectation(NamedTuple):
    """One thing a good referral states. ``stated`` answers ``None`` where it does not apply."""

    gap: str
    weight: int
    stated: Callable[[Referral], bool | None]


def assess_completeness(document: Referral) -> Completeness:
    """Weigh what the document states against what applies to it."""
    possible = reached = 0
    gaps: list[str] = []
    for expectation in EXPECTATIONS:
        stated = expectation.stated(document)
        if stated is None:
            continue
        possible += expectation.weight
        if stated:
            reached += expectation.weight
        else:
            gaps.append(expectation.gap)
    return Completeness(percent=100 * reached // possible, gaps=tuple(gaps))


def _children(document: Referral) -> tuple[Subject, ...]:
    return tuple(subject for subject in document.subjects if subject.kind == "child")


def _has_child(document: Referral) -> bool:
    return any(subject.kind != "adult" for subject in document.subjects)


def _every(
    said: Callable[[Subject], object], among: Callable[[Subject], bool] = lambda _: True
) -> Callable[[Referral], bool | None]:
    """Whether each subject ``among`` states it; does not apply when there is none."""

    def stated(document: Referral) -> bool | None:
        asked = [subject for subject in document.subjects if among(subject)]
        return all(said(subject) for subject in asked) if asked else None

    return stated


def _is_born(subject: Subject) -> bool:
    return subject.kind != "unborn"


def _is_adult(subject: Subject) -> bool:
    return subject.kind == "adult"


def _is_stated(address: Address) -> bool:
    # A withheld address is an answer: its lines stay away on purpose.
    return address.withheld or bool(address.lines or address.postcode or address.uprn)


def _pupils_state(said: Callable[[Subject], object]) -> Callable[[Referral], bool | None]:
    def stated(document: Referral) -> bool | None:
        on = age_day_of(document)
        pupils = [
            child
            for child in _children(document)
            if child.date_of_birth is None or is_of_school_age(child, on)
        ]
        return all(said(pupil) for pupil in pupils) if pupils else None

    return stated


def _location(document: Referral) -> bool:
    return document.incident is not None and document.incident.location is not None


def _officer_contact(document: Referral) -> bool:
    return document.referrer is not None and bool(document.referrer.phone or document.referrer.email)


def _parental_responsibility(document: Referral) -> bool | None:
    if not _has_child(document):
        return None
    return any(tie.parental_responsibility is not None for tie in document.relationships)


def _alleged_perpetrator(document: Referral) -> bool | None:
    return bool(document.alleged_perpetrators) if document.referral_type == "domestic_abuse" else None


def _coded_concern(document: Referral) -> bool:
    concern = document.concern or _NO_CONCERN
    return bool(concern.factor_codes or concern.abuse_categories or concern.adult_abuse_types)


def _domestic_abuse_assessment(document: Referral) -> bool | None:
    if document.referral_type != "domestic_abuse":
        return None
    return document.risk is not None and (document.risk.dash or document.risk.dara) is not None


def _child_heard(document: Referral) -> bool | None:
    children = _children(document)
    heard = {voice.subject for voice in document.voice_of_child}
    return all(child.ref in heard for child in children) if children else None


def _adult_heard(document: Referral) -> bool | None:
    if document.referral_type != "adult":
        return None
    return any(voice.desired_outcome is not None for voice in document.voice_of_adult)


def _parents_informed(document: Referral) -> bool | None:
    if not _has_child(document):
        return None
    return document.sharing is not None and document.sharing.parents_informed is not None


def _reason_not_informed(document: Referral) -> bool | None:
    if document.sharing is None or document.sharing.parents_informed is not False:
        return None
    return document.sharing.reason_not_informed is not None


def _missing_episodes(document: Referral) -> bool | None:
    if document.referral_type != "missing":
        return None
    return document.concern is not None and document.concern.missing is not None


EXPECTATIONS: Final[tuple[Expectation, ...]] = (
    Expectation("incident.narrative", 10, lambda r: r.incident is not None and bool(r.incident.narrative)),
    Expectation("subjects.name", 8, _every(lambda s: s.name, _is_born)),
    Expectation(
        "subjects.date_of_birth",
        8,
        _every(lambda s: s.date_of_birth or s.expected_date_of_birth),
    ),
    Expectation("risk.assessment", 8, _domestic_abuse_assessment),
    Expectation("voice_of_child", 8, _child_heard),
    Expectation("times.occurred_at", 6, lambda r: r.times.occurred_at is not None),
    Expectation("subjects.address", 6, _every(lambda s: any(_is_stated(a) for a in s.addresses), _is_born)),
    Expectation("concern.codes", 6, _coded_concern),
    Expectation("concern.missing", 6, _missing_episodes),
    Expectation("risk.officer_grade", 6, lambda r: r.risk is not None and r.risk.officer_grade is not None),
    Expectation("voice_of_adult.desired_outcome", 6, _adult_heard),
    Expectation("relationships", 5, lambda r: bool(r.relationships) if _has_child(r) else None),
    Expectation("subjects.school", 5, _pupils_state(lambda s: s.school)),
    Expectation("incident.location", 4, _location),
    Expectation("relationships.parental_responsibility", 4, _parental_responsibility),
    Expectation(
        "risk.officer_rationale", 4, lambda r: r.risk is not None and r.risk.officer_rationale is not None
    ),
    Expectation(
        "sharing.consent_basis", 4, lambda r: r.sharing is not None and r.sharing.consent_basis is not None
    ),
    Expectation("subjects.nhs_number", 4, _every(lambda s: s.nhs_number, _is_born)),
    Expectation("alleged_perpetrators", 3, _alleged_perpetrator),
    Expectation("concern.history", 3, lambda r: r.concern is not None and r.concern.history is not None),
    Expectation("concern.injury", 3, lambda r: r.concern is not None and r.concern.injury is not None),
    Expectation(
        "incident.occurrence_number",
        3,
        lambda r: r.incident is not None and r.incident.occurrence_number is not None,
    ),
    Expectation(
        "referrer.collar_number", 3, lambda r: r.referrer is not None and r.referrer.collar_number is not None
    ),
    Expectation("sharing.parents_informed", 3, _parents_informed),
    Expectation("sharing.reason_not_informed", 3, _reason_not_informed),
    Expectation("subjects.capacity", 3, _every(lambda s: s.capacity, _is_adult)),
    Expectation("subjects.ethnicity", 3, _every(lambda s: s.ethnicity, _is_born)),
    Expectation(
        "subjects.safe_phone",
        3,
        _every(lambda s: any(p.safe_to_contact is not None for p in s.phones), _is_adult),
    ),
    Expectation("referrer.contact", 2, _officer_contact),
    Expectation("subjects.first_language", 2, _every(lambda s: s.first_language, _is_born)),
    Expectation("subjects.gp", 2, _every(lambda s: s.gp)),
    Expectation("subjects.sex", 2, _every(lambda s: s.sex, _is_born)),
    Expectation("subjects.upn", 2, _pupils_state(lambda s: s.upn or s.upn_unknown)),
)
"""Heaviest first. What a person needs to be found and kept safe weighs most; what can be looked up, least."""
