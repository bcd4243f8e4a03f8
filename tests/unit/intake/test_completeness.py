from collections.abc import Callable
from typing import Any

import pytest

from hub_intake.policies.completeness import EXPECTATIONS, assess_completeness
from hub_schemas.referral import Referral

Json = dict[str, Any]
Read = Callable[[Json], Referral]


def test_a_full_referral_has_no_gaps(full: Json, read: Read) -> None:
    assert assess_completeness(read(full)) == (100, ())


def test_a_thin_referral_names_every_gap_that_applies(thin: Json, read: Read) -> None:
    assert assess_completeness(read(thin)) == (
        0,
        (
            "incident.narrative",
            "subjects.name",
            "subjects.date_of_birth",
            "voice_of_child",
            "times.occurred_at",
            "subjects.address",
            "concern.codes",
            "risk.officer_grade",
            "relationships",
            "subjects.school",
            "incident.location",
            "relationships.parental_responsibility",
            "risk.officer_rationale",
            "sharing.consent_basis",
            "subjects.nhs_number",
            "concern.history",
            "concern.injury",
            "incident.occurrence_number",
            "referrer.collar_number",
            "sharing.parents_informed",
            "subjects.ethnicity",
            "referrer.contact",
            "subjects.first_language",
            "subjects.gp",
            "subjects.sex",
            "subjects.upn",
        ),
    )


def test_a_missing_nhs_number_is_named_in_the_gaps(full: Json, read: Read) -> None:
    del full["subjects"][0]["nhs_number"]
    assert assess_completeness(read(full)) == (97, ("subjects.nhs_number",))


def test_a_withheld_address_counts_as_stated_and_an_empty_one_does_not(full: Json, read: Read) -> None:
    full["subjects"][0]["addresses"] = [{"type": "home", "withheld": True}]
    assert assess_completeness(read(full)).gaps == ()
    full["subjects"][0]["addresses"] = [{"type": "home", "withheld": False}]
    assert assess_completeness(read(full)).gaps == ("subjects.address",)


def test_a_reason_is_asked_for_only_where_parents_were_not_informed(full: Json, read: Read) -> None:
    del full["sharing"]["reason_not_informed"]
    assert assess_completeness(read(full)).gaps == ("sharing.reason_not_informed",)
    full["sharing"]["parents_informed"] = True
    assert assess_completeness(read(full)).gaps == ()


def test_a_baby_is_not_asked_for_a_school(full: Json, read: Read) -> None:
    full["subjects"][0] |= {"date_of_birth": "2025-05-15"}
    del full["subjects"][0]["school"]
    del full["subjects"][0]["upn"]
    assert assess_completeness(read(full)).gaps == ()


@pytest.mark.parametrize(
    ("referral_type", "gap"),
    [("missing", "concern.missing"), ("adult", "voice_of_adult.desired_outcome")],
)
def test_each_type_is_asked_what_belongs_to_it(thin: Json, read: Read, referral_type: str, gap: str) -> None:
    assert gap not in assess_completeness(read(thin)).gaps
    thin["referral_type"] = referral_type
    assert gap in assess_completeness(read(thin)).gaps


def test_gaps_come_heaviest_first_and_each_has_its_own_name() -> None:
    weights = [expectation.weight for expectation in EXPECTATIONS]
    assert weights == sorted(weights, reverse=True)
    assert len({expectation.gap for expectation in EXPECTATIONS}) == len(EXPECTATIONS)
