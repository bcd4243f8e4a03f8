from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from hub_kernel.errors import HubError
from hub_partner_gateway.commands import (
    Acknowledge,
    BeginAttempt,
    Cancel,
    DeliveryCommand,
    Expire,
    PlanDelivery,
    RaiseFallback,
    RecordFailure,
    RecordRejection,
    RecordTransportAccepted,
    Rendering,
)
from hub_partner_gateway.domain import DECIDER, errors
from hub_schemas.partner_gateway import (
    Acknowledged,
    Attempted,
    AttemptFailed,
    Cancelled,
    DeliveryPlanned,
    Expired,
    HumanFallbackRaised,
    OutcomeRecorded,
    PartnerReference,
    Payload,
    Rejected,
    Rendered,
    TransportAccepted,
)

NOW = datetime(2026, 3, 7, 9, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
IDS: Any = {"delivery_id": UUID(int=3), "referral_id": UUID(int=1)}
WHERE: Any = {"authority": "885", "agency": "childrens_services"}
ACCEPTED = RecordTransportAccepted(at=NOW)
ACKNOWLEDGED = Acknowledge(at=NOW, contact_id="77", contact_hash="h77")
Plan = Callable[..., PlanDelivery]


@pytest.fixture
def begin(rendering: Rendering) -> BeginAttempt:
    return BeginAttempt(at=NOW, rendering=rendering)


def fallback(reason: Any, at: datetime = NOW) -> HumanFallbackRaised:
    return HumanFallbackRaised(**IDS, raised_at=at, **WHERE, reason=reason)


def names(facts: Any) -> list[str]:
    return [type(fact).__name__ for fact in facts]


def test_a_plan_begins_a_delivery(past: Any, a_plan: Plan) -> None:
    assert past.after(a_plan()) == (
        DeliveryPlanned(
            **IDS,
            subject_id=UUID(int=2),
            **WHERE,
            package="885-childrens_services",
            package_version=1,
            message_id=UUID(int=4),
            planned_at=NOW,
            deadline_at=None,
            risk_grade="high",
            level_of_need="red",
            lawful_basis="public_task",
        ),
    )
    assert past.after(a_plan()) == ()


def test_an_agency_nobody_can_reach_is_a_persons_at_once(
    past: Any, a_plan: Plan, begin: BeginAttempt
) -> None:
    assert past.after(a_plan(package=None, package_version=None))[1:] == (fallback("unroutable"),)
    with pytest.raises(errors.DeliveryEnded):
        past.after(begin)


def test_the_first_attempt_writes_the_contact(past: Any, a_plan: Plan, begin: BeginAttempt) -> None:
    assert past.after(a_plan(), begin) == (
        Rendered(
            **IDS,
            rendered_at=NOW,
            package="885-childrens_services",
            package_version=1,
            mapping_hash="m",
            body_hash="b",
            content_type="application/json",
            referral_version=1,
            lost_fields=("force",),
            sealed=Payload(body="{}"),
        ),
        Attempted(**IDS, attempt=1, attempted_at=NOW),
    )


def test_a_retry_does_not_write_it_again(past: Any, a_plan: Plan, begin: BeginAttempt) -> None:
    failed = RecordFailure(at=NOW, attempt=1, reason="throttled", retry_at=LATER)
    assert past.after(a_plan(), begin, failed) == (
        AttemptFailed(**IDS, attempt=1, failed_at=NOW, reason="throttled", retry_at=LATER),
    )
    assert past.after(begin) == (Attempted(**IDS, attempt=2, attempted_at=NOW),)


def test_nothing_is_sent_before_it_is_written(past: Any, a_plan: Plan) -> None:
    with pytest.raises(errors.NotRendered):
        past.after(a_plan(), BeginAttempt(at=NOW))


def test_an_open_attempt_is_sent_again_only_when_the_partner_lacks_it(
    past: Any, a_plan: Plan, begin: BeginAttempt
) -> None:
    past.after(a_plan(), begin)
    with pytest.raises(errors.AttemptOpen):
        past.after(begin)
    assert past.after(BeginAttempt(at=LATER, partner_lacks_it=True)) == (
        AttemptFailed(**IDS, attempt=1, failed_at=LATER, reason="answer_lost", retry_at=LATER),
        Attempted(**IDS, attempt=2, attempted_at=LATER),
    )


def test_transport_acceptance_is_not_acknowledgement(past: Any, a_plan: Plan, begin: BeginAttempt) -> None:
    assert past.after(a_plan(), begin, ACCEPTED) == (TransportAccepted(**IDS, attempt=1, accepted_at=NOW),)
    assert past.state.status == "accepted"
    assert past.after(ACCEPTED) == ()
    acknowledged = Acknowledged(
        **IDS, acknowledged_at=NOW, **WHERE, contact_hash="h77", sealed=PartnerReference(contact_id="77")
    )
    assert past.after(ACKNOWLEDGED) == (acknowledged,)
    assert past.state.status == "acknowledged"


def test_a_failure_that_an_answer_overtook_is_dropped(past: Any, a_plan: Plan, begin: BeginAttempt) -> None:
    past.after(a_plan(), begin, ACCEPTED)
    assert past.after(RecordFailure(at=NOW, attempt=1, reason="timed_out", retry_at=LATER)) == ()


def test_an_acknowledgement_may_overtake_the_transports_answer(
    past: Any, a_plan: Plan, begin: BeginAttempt
) -> None:
    assert names(past.after(a_plan(), begin, ACKNOWLEDGED)) == ["TransportAccepted", "Acknowledged"]
    assert past.facts[-2] == TransportAccepted(**IDS, attempt=1, accepted_at=NOW, reconciled=True)
    assert past.after(ACCEPTED) == ()


def test_a_repeated_acknowledgement_changes_nothing(past: Any, a_plan: Plan, begin: BeginAttempt) -> None:
    assert past.after(a_plan(), begin, ACKNOWLEDGED, ACKNOWLEDGED) == ()


def test_an_outcome_may_come_later(past: Any, a_plan: Plan, begin: BeginAttempt) -> None:
    decided = Acknowledge(at=LATER, contact_id="77", contact_hash="h77", outcome="nfa")
    assert past.after(a_plan(), begin, ACKNOWLEDGED, decided) == (
        OutcomeRecorded(**IDS, recorded_at=LATER, outcome="nfa"),
    )
    assert past.after(decided) == ()
    assert past.after(ACKNOWLEDGED) == ()


def test_another_contact_for_the_same_delivery_is_a_conflict(
    past: Any, a_plan: Plan, begin: BeginAttempt
) -> None:
    past.after(a_plan(), begin, ACKNOWLEDGED)
    with pytest.raises(errors.ContactContradicts):
        past.after(Acknowledge(at=NOW, contact_id="78", contact_hash="h78"))


@pytest.mark.parametrize("answer", [ACKNOWLEDGED, RecordRejection(at=NOW, reason_code="x"), ACCEPTED])
def test_an_answer_to_what_was_never_sent_is_a_conflict(past: Any, a_plan: Plan, answer: Any) -> None:
    with pytest.raises(errors.ContactContradicts):
        past.after(a_plan(), answer)


def test_a_refusal_is_a_persons(past: Any, a_plan: Plan, begin: BeginAttempt) -> None:
    refused = RecordRejection(at=NOW, reason_code="not_our_area")
    assert past.after(a_plan(), begin, ACCEPTED, refused) == (
        Rejected(**IDS, rejected_at=NOW, **WHERE, reason_code="not_our_area"),
        fallback("rejected"),
    )
    assert past.after(refused) == ()
    with pytest.raises(errors.ContactContradicts):
        past.after(ACKNOWLEDGED)


@pytest.mark.parametrize("ending", [ACKNOWLEDGED, RecordRejection(at=NOW, reason_code="x"), Cancel(at=NOW)])
def test_nothing_is_sent_after_the_end(
    past: Any, a_plan: Plan, begin: BeginAttempt, ending: DeliveryCommand
) -> None:
    past.after(a_plan(), begin, ending)
    with pytest.raises(errors.DeliveryEnded):
        past.after(BeginAttempt(at=LATER, partner_lacks_it=True))


def test_a_missed_deadline_asks_a_person_once_and_the_gateway_goes_on(
    past: Any, a_plan: Plan, begin: BeginAttempt
) -> None:
    planned = a_plan(deadline_at=LATER)
    assert past.after(planned, begin, Expire(at=NOW)) == ()
    assert past.after(Expire(at=LATER)) == (
        Expired(**IDS, expired_at=LATER, deadline_at=LATER),
        fallback("deadline", LATER),
    )
    assert past.after(Expire(at=LATER)) == ()
    assert names(past.after(ACKNOWLEDGED)) == ["TransportAccepted", "Acknowledged"]


def test_an_acknowledged_delivery_does_not_expire(past: Any, a_plan: Plan, begin: BeginAttempt) -> None:
    assert past.after(a_plan(deadline_at=LATER), begin, ACKNOWLEDGED, Expire(at=LATER)) == ()


def test_what_cannot_be_written_asks_a_person_and_may_be_written_later(
    past: Any, a_plan: Plan, begin: BeginAttempt
) -> None:
    cannot = RaiseFallback(at=NOW, reason="cannot_render")
    assert past.after(a_plan(), cannot) == (fallback("cannot_render"),)
    assert past.after(cannot) == ()
    assert names(past.after(begin)) == ["Rendered", "Attempted"]


def test_a_withdrawal_before_sending_cancels(past: Any, a_plan: Plan) -> None:
    assert past.after(a_plan(), Cancel(at=NOW)) == (Cancelled(**IDS, cancelled_at=NOW),)
    assert past.after(Cancel(at=LATER)) == ()


@pytest.mark.parametrize("reached", [ACCEPTED, ACKNOWLEDGED])
def test_a_withdrawal_after_the_partner_has_it_is_a_persons(
    past: Any, a_plan: Plan, begin: BeginAttempt, reached: DeliveryCommand
) -> None:
    assert past.after(a_plan(), begin, reached, Cancel(at=NOW)) == (fallback("withdrawn_after_send"),)
    assert past.after(Cancel(at=NOW)) == ()


def test_a_cancelled_attempt_that_arrived_after_all_is_a_persons(
    past: Any, a_plan: Plan, begin: BeginAttempt
) -> None:
    past.after(a_plan(), begin, Cancel(at=NOW))
    assert past.after(RecordTransportAccepted(at=LATER, reconciled=True)) == (
        TransportAccepted(**IDS, attempt=1, accepted_at=LATER, reconciled=True),
        fallback("withdrawn_after_send", LATER),
    )
    assert names(past.after(ACKNOWLEDGED)) == ["Acknowledged"]
    assert past.state.status == "cancelled"


def test_a_cancelled_attempt_that_never_arrived_is_closed_without_a_retry(
    past: Any, a_plan: Plan, begin: BeginAttempt
) -> None:
    failure = RecordFailure(at=LATER, attempt=1, reason="answer_lost", retry_at=LATER)
    assert past.after(a_plan(), begin, Cancel(at=NOW), failure) == (
        AttemptFailed(**IDS, attempt=1, failed_at=LATER, reason="answer_lost", retry_at=None),
    )
    assert (past.state.status, past.state.attempt_open) == ("cancelled", False)


def test_a_cancelled_attempt_that_nobody_can_ask_about_is_a_persons(
    past: Any, a_plan: Plan, begin: BeginAttempt
) -> None:
    failure = RecordFailure(
        at=LATER, attempt=1, reason="answer_lost", retry_at=LATER, partner_may_have_it=True
    )
    assert past.after(a_plan(), begin, Cancel(at=NOW), failure) == (
        AttemptFailed(**IDS, attempt=1, failed_at=LATER, reason="answer_lost", retry_at=None),
        fallback("withdrawn_after_send", LATER),
    )


def test_a_refusal_of_what_was_withdrawn_calls_nobody(past: Any, a_plan: Plan, begin: BeginAttempt) -> None:
    past.after(a_plan(), begin, Cancel(at=NOW))
    assert names(past.after(RecordRejection(at=NOW, reason_code="x"))) == ["Rejected"]
    assert past.after(RecordRejection(at=NOW, reason_code="x")) == ()


@pytest.mark.parametrize("command", [ACCEPTED, ACKNOWLEDGED, Cancel(at=NOW), BeginAttempt(at=NOW)])
def test_an_unknown_delivery_is_not_found(command: DeliveryCommand) -> None:
    with pytest.raises(errors.DeliveryUnknown):
        DECIDER.decide(command, None)


@pytest.mark.parametrize(
    "error",
    [error for error in vars(errors).values() if isinstance(error, type) and issubclass(error, HubError)],
)
def test_every_refusal_says_what_to_do_next(error: type[HubError]) -> None:
    assert len(error().detail.split(". ")) > 1
