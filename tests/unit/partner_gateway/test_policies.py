from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from hub_partner_gateway.policies.answering import Answer, AnswerUnreadable, read_answer
from hub_partner_gateway.policies.packages import PackageBook
from hub_partner_gateway.policies.retrying import RETRY_SECONDS, retry_after_seconds, retry_at
from hub_partner_gateway.policies.routing import delivery_id_of, message_id_of, plan
from hub_schemas.triage import Recipient, ShareDecided

NOW = datetime(2026, 3, 7, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
FLAGS = (
    "NEW_REFERRAL", "EXISTING_REFERRAL", "CP_ENQUIRY", "NFA", "NON_AGENCY_ADOPTION", "PRIVATE_FOSTERING",
    "ADVICE", "MISSING", "OLA_CP", "OTHER",
)  # fmt: skip


def seconds(attempt: int, **changes: Any) -> float:
    given: dict[str, Any] = {"jitter": 0.0, "deadline_at": None}
    return (retry_at(NOW, attempt, **(given | changes)) - NOW).total_seconds()


def test_waits_grow_to_half_an_hour_and_stay_there() -> None:
    waits = [seconds(attempt) for attempt in range(1, 10)]
    assert waits == [1, 5, 30, 120, 300, 900, 1800, 1800, 1800]


def test_jitter_moves_a_wait_by_a_fifth_at_most() -> None:
    assert (seconds(2, jitter=1.0), seconds(2, jitter=-1.0)) == (6, 4)
    assert seconds(len(RETRY_SECONDS), jitter=1.0) == 1800


def test_retry_after_is_honoured_up_to_half_an_hour() -> None:
    assert seconds(1, retry_after_seconds=90.0) == 90
    assert seconds(2, retry_after_seconds=1.0) == 5
    assert seconds(1, retry_after_seconds=86_400.0) == 1800


def test_a_wait_ends_at_a_deadline_still_ahead() -> None:
    assert seconds(6, deadline_at=NOW + timedelta(seconds=100)) == 100
    assert seconds(6, deadline_at=NOW + HOUR) == 900
    assert seconds(6, deadline_at=NOW) == 900


@pytest.mark.parametrize(
    ("header", "expected"),
    [("7", 7.0), (" 7 ", 7.0), (None, None), ("soon", None), ("-1", None), ("²", None)],
)
def test_a_retry_after_header_is_seconds_or_nothing(header: str | None, expected: float | None) -> None:
    assert retry_after_seconds(header) == expected


def decided(**changes: Any) -> ShareDecided:
    child = Recipient(subject_id=UUID(int=11), authority="885", agency="childrens_services")
    adult = Recipient(subject_id=UUID(int=12), authority="884", agency="adult_services")
    given: dict[str, Any] = {
        "referral_id": UUID(int=1),
        "decided_at": NOW,
        "recipients": (child, adult, child),
        "risk_grade": "high",
        "level_of_need": "red",
        "share_due_at": NOW + HOUR,
    }
    return ShareDecided(**(given | changes))


def test_a_decision_plans_one_delivery_for_each_recipient(packages: PackageBook) -> None:
    plans = plan(decided(), packages, NOW)
    assert [(one.subject_id, one.package, one.deadline_at) for one in plans] == [
        (UUID(int=11), "885-childrens_services", NOW + HOUR),
        (UUID(int=12), "884-adult_services", NOW + HOUR),
    ]
    assert plans[0].delivery_id == delivery_id_of(UUID(int=1), UUID(int=11), "childrens_services", "885")
    assert plans[0].message_id == message_id_of(plans[0].delivery_id)
    assert plans == plan(decided(), packages, NOW)


def test_an_agency_without_a_way_is_planned_without_a_package() -> None:
    assert [one.package for one in plan(decided(), PackageBook(()), NOW)] == [None, None]


def test_a_late_decision_leaves_a_quarter_of_an_hour(packages: PackageBook) -> None:
    late, never = decided(share_due_at=NOW - HOUR), decided(share_due_at=None)
    assert plan(late, packages, NOW)[0].deadline_at == NOW + timedelta(minutes=15)
    assert plan(never, packages, NOW)[0].deadline_at is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"workflowStepId": 7, "status": "In progress"}, Answer(decision="pending", contact_id="7")),
        (
            {"workflowStepId": 7, "status": "Completed", "outcome": "Strategy discussion"},
            Answer(decision="accepted", contact_id="7", outcome="strategy_discussion"),
        ),
        (
            {"workflowStepId": 7, "status": "Completed", "outcome": "Something new"},
            Answer(decision="accepted", contact_id="7", outcome="other"),
        ),
        (
            {"workflowStepId": 7, "status": "Refused", "reason": "Not resident in area"},
            Answer(decision="rejected", contact_id="7", reason_code="not_our_area"),
        ),
    ],
)
def test_a_steps_status_is_read_in_the_hubs_words(packages: PackageBook, body: Any, expected: Answer) -> None:
    package = packages.find("884", "childrens_services")
    assert package is not None
    assert read_answer(package, body) == expected


@pytest.mark.parametrize(
    ("flags", "outcome"),
    [
        (["NFA"], "nfa"),
        (["NFA", "CP_ENQUIRY"], "s47_enquiry"),
        (["ADVICE", "NEW_REFERRAL"], "partner_referral"),
        (["OLA_CP"], "other_authority_plan"),
        (["EXISTING_REFERRAL"], "existing_case"),
        (["MISSING"], "missing"),
        (["PRIVATE_FOSTERING"], "private_fostering"),
        (["NON_AGENCY_ADOPTION"], "non_agency_adoption"),
        (["OTHER"], "other"),
        ([], None),
    ],
)
def test_of_ten_outcome_flags_the_gravest_counts(
    packages: PackageBook, flags: list[str], outcome: str | None
) -> None:
    package = packages.find("885", "childrens_services")
    assert package is not None
    body = {"contact_id": 7, "status": "accepted", "outcome": {flag: flag in flags for flag in FLAGS}}
    assert read_answer(package, body) == Answer(decision="accepted", contact_id="7", outcome=outcome)


def test_a_refused_contact_has_its_reason(packages: PackageBook) -> None:
    package = packages.find("894", "adult_services")
    assert package is not None
    body = {"contact_id": 7, "status": "rejected", "refusal_reason_id": 2}
    assert read_answer(package, body) == Answer(
        decision="rejected", contact_id="7", reason_code="person_not_identified"
    )


@pytest.mark.parametrize(
    "body",
    [
        None, [], "x", 7, {}, {"status": "maybe"}, {"status": "accepted"}, {"contact_id": {}},
        {"status": "accepted", "contact_id": "a b"}, {"status": "accepted", "contact_id": "9" * 101},
        {"status": "accepted", "contact_id": "\ud800"}, {"status": "accepted", "contact_id": {"a": 1}},
    ],
)  # fmt: skip
@pytest.mark.parametrize("authority", ["885"])
def test_an_answer_in_another_form_is_refused(packages: PackageBook, authority: Any, body: Any) -> None:
    package = packages.find(authority, "childrens_services")
    assert package is not None
    with pytest.raises(AnswerUnreadable):
        read_answer(package, body)
