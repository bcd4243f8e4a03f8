from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest

from hub_embedded.demo.report import Finding, Report, findings, report
from hub_embedded.demo.tables import OversightRows
from hub_embedded.demo.tally import Tally, note
from hub_embedded.partner_simulators import Contact
from hub_schemas import intake, partner_gateway, triage
from hub_schemas.facts import Fact
from hub_schemas.triage import Recipient

AT = datetime(2026, 10, 9, 14, tzinfo=UTC)
REFERRAL, SUBJECT, DELIVERY, MESSAGE = (UUID(int=number) for number in range(1, 5))
TO = Recipient(subject_id=SUBJECT, authority="884", agency="childrens_services")
BODY = "ab" * 32

RECEIVED = intake.ReferralReceived(
    referral_id=REFERRAL,
    received_at=AT,
    summary=intake.ReferralSummary(
        source_system="rms",
        source_version=1,
        content_hash="",
        document_version=1,
        force="west-mercia",
        authority="884",
        referral_type="child",
        incident_at=None,
        submitted_at=AT,
        subjects=(),
    ),
)
GRADED = triage.RiskGraded(
    referral_id=REFERRAL,
    graded_at=AT,
    risk_grade="medium",
    level_of_need="amber",
    needs_person=False,
    matched_rules=(),
    rule_set="",
    rule_set_hash="",
    inputs_hash="",
    disagrees_with_officer=False,
    authority="884",
    trigger="received",
)
SHARED = triage.ShareDecided(
    referral_id=REFERRAL,
    decided_at=AT,
    recipients=(TO,),
    risk_grade="medium",
    level_of_need="amber",
    share_due_at=None,
)
PLANNED = partner_gateway.DeliveryPlanned(
    delivery_id=DELIVERY,
    referral_id=REFERRAL,
    subject_id=SUBJECT,
    authority="884",
    agency="childrens_services",
    package="884-childrens_services",
    package_version=1,
    message_id=MESSAGE,
    planned_at=AT,
    deadline_at=None,
)
RENDERED = partner_gateway.Rendered(
    delivery_id=DELIVERY,
    referral_id=REFERRAL,
    rendered_at=AT,
    package="884-childrens_services",
    package_version=1,
    mapping_hash="",
    body_hash=BODY,
    content_type="application/json",
)
TAKEN_IN = partner_gateway.TransportAccepted(
    delivery_id=DELIVERY, referral_id=REFERRAL, attempt=1, accepted_at=AT
)
ACKNOWLEDGED = partner_gateway.Acknowledged(
    delivery_id=DELIVERY,
    referral_id=REFERRAL,
    acknowledged_at=AT,
    authority="884",
    agency="childrens_services",
)
GATEWAY = (PLANNED, RENDERED, TAKEN_IN, ACKNOWLEDGED)
CONTACT = Contact(1, "884-childrens_services", str(MESSAGE), BODY, "accepted", called_back=False)


def tally_of(
    received: Sequence[Fact] = (RECEIVED,),
    assessed: Sequence[Fact] = (GRADED, SHARED),
    delivered: Sequence[Fact] = GATEWAY,
) -> Tally:
    tally = Tally()
    logs = {"intake": received, "triage": assessed, "partner_gateway": delivered}
    for source, facts in logs.items():
        for position, fact in enumerate(facts, 1):
            note(tally, source, position, fact)
    return tally


def checked(
    tally: Tally,
    *,
    accepted: Sequence[UUID] = (REFERRAL,),
    contacts: Sequence[Contact] = (CONTACT,),
    attempts: dict[str, list[str]] | None = None,
    oversight: OversightRows | None = None,
) -> list[Finding]:
    if oversight is None:
        oversight = OversightRows(
            frozenset(tally.received), dict(tally.positions), frozenset(tally.deliveries)
        )
    return findings(
        accepted, tally, oversight, contacts, {str(MESSAGE): [BODY]} if attempts is None else attempts
    )


def test_a_run_in_which_everything_is_there_once_has_no_findings() -> None:
    assert checked(tally_of()) == []


def test_the_report_counts_what_happened() -> None:
    assert report(1, tally_of(), [], 2.5) == Report(
        posted=1,
        graded=1,
        delivered=1,
        acknowledged=1,
        rejected=0,
        breached=0,
        lost=0,
        duplicated=0,
        seconds=2.5,
    )


def test_an_accepted_referral_without_a_fact_is_lost_everywhere() -> None:
    tally = tally_of((), (), ())
    assert checked(tally, contacts=(), attempts={}) == [
        Finding("lost", "referral in intake's log", REFERRAL),
        Finding("lost", "first grading in triage's log", REFERRAL),
        Finding("lost", "referral in oversight's view", REFERRAL),
    ]


@pytest.mark.parametrize(
    ("tally", "expected"),
    [
        (
            tally_of(received=(RECEIVED, RECEIVED)),
            [Finding("duplicated", "referral in intake's log", REFERRAL)],
        ),
        (
            tally_of(assessed=(GRADED, GRADED, SHARED)),
            [Finding("duplicated", "first grading in triage's log", REFERRAL)],
        ),
        (tally_of(assessed=(SHARED,)), [Finding("lost", "first grading in triage's log", REFERRAL)]),
        (tally_of(delivered=(PLANNED, *GATEWAY)), [Finding("duplicated", "delivery", REFERRAL)]),
        (
            tally_of(delivered=(*GATEWAY, ACKNOWLEDGED)),
            [Finding("duplicated", "acknowledgement", DELIVERY)],
        ),
        (tally_of(delivered=GATEWAY[:3]), [Finding("lost", "end of a delivery", DELIVERY)]),
    ],
)
def test_a_fact_too_few_or_too_many_is_found(tally: Tally, expected: list[Finding]) -> None:
    assert checked(tally) == expected


def test_a_share_decision_without_a_delivery_is_lost() -> None:
    tally = tally_of(delivered=())
    assert Finding("lost", "delivery", REFERRAL) in checked(tally)


def test_a_contact_the_partner_does_not_have_is_lost() -> None:
    assert checked(tally_of(), contacts=()) == [Finding("lost", "contact at the partner", MESSAGE)]


def test_a_second_contact_is_a_duplicate() -> None:
    second = CONTACT._replace(contact_id=2, tenancy="885-childrens_services")
    assert checked(tally_of(), contacts=(CONTACT, second)) == [
        Finding("duplicated", "contact at the partner", MESSAGE)
    ]


def test_a_contact_nobody_planned_is_a_duplicate() -> None:
    stray = CONTACT._replace(contact_id=2, message_id=str(REFERRAL))
    assert checked(tally_of(), contacts=(CONTACT, stray)) == [
        Finding("duplicated", "contact at the partner", REFERRAL)
    ]


def test_other_bytes_at_a_second_try_are_found() -> None:
    assert checked(tally_of(), attempts={str(MESSAGE): [BODY, "cd" * 32]}) == [
        Finding("duplicated", "other bytes under one message id", MESSAGE)
    ]


def test_a_position_left_out_is_lost() -> None:
    tally = tally_of()
    note(tally, "triage", 9, triage.AssessmentClosed(referral_id=REFERRAL, closed_at=AT))
    assert Finding("lost", "position in the log of triage", UUID(int=0)) in checked(tally)


def test_what_oversight_does_not_show_is_lost() -> None:
    tally = tally_of()
    lines = dict(tally.positions) | {"triage": 1}
    assert checked(tally, oversight=OversightRows(frozenset(), lines, frozenset())) == [
        Finding("lost", "referral in oversight's view", REFERRAL),
        Finding("lost", "line of history from triage", UUID(int=0)),
        Finding("lost", "delivery in oversight's view", DELIVERY),
    ]


def test_a_withdrawn_referral_needs_no_delivery() -> None:
    withdrawn = intake.ReferralWithdrawn(referral_id=REFERRAL, withdrawn_at=AT, reason_code="duplicate")
    tally = tally_of(received=(RECEIVED, withdrawn), delivered=())
    assert checked(tally, contacts=(), attempts={}) == []


def test_a_cancelled_delivery_has_ended() -> None:
    cancelled = partner_gateway.Cancelled(delivery_id=DELIVERY, referral_id=REFERRAL, cancelled_at=AT)
    tally = tally_of(delivered=(PLANNED, cancelled))
    assert (tally.open_deliveries, tally.ended("cancelled")) == (0, 1)


def test_waiting_counts_referrals_not_yet_decided() -> None:
    assert tally_of(assessed=(GRADED,), delivered=()).waiting == 1
    assert tally_of().waiting == 0
