from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

import pytest

from hub_intake.policies.summary import summarise
from hub_schemas.intake import ReferralSummary, RiskIndicators, SubjectSummary
from hub_schemas.referral import Referral

Json = dict[str, Any]
Read = Callable[[Json], Referral]
REFERRAL_ID = UUID("01890000-0000-7000-8000-000000000001")


def summary_of(document: Referral) -> ReferralSummary:
    return summarise(document, referral_id=REFERRAL_ID, content_hash="ab" * 32)


def test_a_full_referral_is_summarised_without_naming_anyone(full: Json, read: Read) -> None:
    assert summary_of(read(full)) == ReferralSummary(
        source_system="west-mercia-rms",
        source_version=1,
        content_hash="ab" * 32,
        document_version=1,
        force="west-mercia",
        authority="884",
        referral_type="domestic_abuse",
        incident_at=datetime.fromisoformat("2026-03-06T22:40:00+00:00"),
        submitted_at=datetime.fromisoformat("2026-03-07T01:15:00+00:00"),
        subjects=(
            SubjectSummary(
                subject_id=uuid5(REFERRAL_ID, "child-1"),
                kind="child",
                age_band="5_10",
                authority="884",
                looked_after=False,
                child_protection_plan=True,
                open_to_social_care=True,
                disability=True,
                school_resolved=True,
                nhs_number_known=True,
            ),
            SubjectSummary(
                subject_id=uuid5(REFERRAL_ID, "unborn-1"), kind="unborn", age_band="unborn", authority="885"
            ),
            SubjectSummary(
                subject_id=uuid5(REFERRAL_ID, "adult-1"),
                kind="adult",
                age_band="18_64",
                authority="884",
                pregnant=True,
                care_and_support_needs=False,
                nhs_number_known=True,
            ),
        ),
        factor_codes=("3B", "4B"),
        abuse_categories=("EMO",),
        adult_abuse_types=(),
        risk=RiskIndicators(
            officer_grade="medium",
            dash_yes_count=2,
            dara_grade="high",
            weapon_used_or_threatened=False,
            strangulation=False,
            threats_to_kill=False,
            sexual_violence=False,
            stalking=True,
            escalation=True,
            victim_pregnant=True,
            victim_frightened=True,
            self_harm_or_suicide=False,
            injury="minor",
            children_present=True,
            currently_missing=False,
            missing_episodes_90_days=1,
            exploitation=False,
            police_protection=False,
            previous_referrals_12_months=2,
            referrals_3_months=1,
        ),
        encompass_due=True,
        consent_basis="not_required_significant_harm",
        completeness_percent=100,
        gaps=(),
    )


def test_what_a_thin_referral_does_not_say_stays_unknown(thin: Json, read: Read) -> None:
    summary = summary_of(read(thin))
    assert summary.risk == RiskIndicators()
    assert summary.subjects == (
        SubjectSummary(
            subject_id=uuid5(REFERRAL_ID, "child-1"), kind="child", age_band="unknown", authority="893"
        ),
    )
    assert summary.consent_basis is None
    assert summary.incident_at is None


@pytest.mark.parametrize(
    ("answers", "stated", "expected"),
    [
        ([], None, None),
        ([], 14, 14),
        ([{"question": 1, "answer": "yes"}, {"question": 2, "answer": "not_known"}], None, 1),
    ],
)
def test_dash_ticks_are_counted_from_answers_or_taken_as_stated(
    full: Json, read: Read, answers: list[Json], stated: int | None, expected: int | None
) -> None:
    full["risk"]["dash"] = {"answers": answers, "yes_count": stated}
    assert summary_of(read(full)).risk.dash_yes_count == expected


def test_a_pregnant_suspect_is_not_a_pregnant_victim(full: Json, read: Read) -> None:
    del full["subjects"][1]
    full["alleged_perpetrators"] = [{"person": "adult-1"}]
    assert summary_of(read(full)).risk.victim_pregnant is None


@pytest.mark.parametrize(("codes", "expected"), [([], None), (["NONE"], False), (["LD"], True)])
def test_no_disability_is_an_answer_and_silence_is_none(
    full: Json, read: Read, codes: list[str], *, expected: bool | None
) -> None:
    full["subjects"][0]["disability_codes"] = codes
    assert summary_of(read(full)).subjects[0].disability is expected


@pytest.mark.parametrize(
    ("school", "expected"),
    [(None, None), ({"name": "A school"}, False), ({"urn": "116001"}, True), ({"home_educated": True}, True)],
)
def test_a_school_is_resolved_by_its_number_or_at_home(
    full: Json, read: Read, school: Json | None, *, expected: bool | None
) -> None:
    full["subjects"][0]["school"] = school
    assert summary_of(read(full)).subjects[0].school_resolved is expected


def test_an_exploitation_factor_outweighs_a_box_left_at_no(full: Json, read: Read) -> None:
    full["concern"]["factor_codes"] = ["24A"]
    assert summary_of(read(full)).risk.exploitation is True


@pytest.mark.parametrize(("present", "expected"), [(None, None), (False, False), (True, True)])
def test_children_present_follows_from_the_children_where_the_incident_is_silent(
    full: Json, read: Read, *, present: bool | None, expected: bool | None
) -> None:
    del full["incident"]["children_present"]
    full["subjects"][0]["present_at_incident"] = present
    assert summary_of(read(full)).risk.children_present is expected


def test_an_episode_without_an_end_is_a_child_still_missing(full: Json, read: Read) -> None:
    full["concern"]["missing"] = {"episodes": [{"subject": "child-1", "since": "2026-03-06T18:00:00+00:00"}]}
    risk = summary_of(read(full)).risk
    assert (risk.currently_missing, risk.missing_episodes_90_days) == (True, 1)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"referral_type": "child"}, True),
        ({"referral_type": "child", "concern": {"factor_codes": ["16A"]}}, False),
        ({"concern": {"factor_codes": []}}, True),
    ],
)
def test_encompass_is_due_for_a_school_child_of_domestic_abuse(
    full: Json, read: Read, change: Json, *, expected: bool
) -> None:
    assert summary_of(read(full | change)).encompass_due is expected


def test_encompass_is_not_due_for_a_baby_or_for_adults_alone(full: Json, read: Read) -> None:
    full["subjects"][0]["date_of_birth"] = "2025-05-15"
    assert summary_of(read(full)).encompass_due is False


def test_instants_in_the_summary_are_utc_whatever_offset_was_sent(full: Json, read: Read) -> None:
    full["times"]["occurred_at"] = "2026-06-06T00:40:00+01:00"
    assert str(summary_of(read(full)).incident_at) == "2026-06-05 23:40:00+00:00"
