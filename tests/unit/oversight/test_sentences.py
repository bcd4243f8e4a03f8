from typing import Any
from uuid import UUID

import msgspec
import pytest

from hub_oversight.views.sentences import sentence
from hub_oversight.views.timeline import TimelineEntry, entry_of, fact_of
from hub_schemas import intake, partner_gateway, triage
from hub_schemas.envelope import RecordedEvent
from hub_schemas.facts import Fact
from hub_schemas.intake import Document, Information, Reason
from hub_schemas.partner_gateway import PartnerReference, Payload
from hub_schemas.registry import encode_open
from hub_schemas.triage import Rationale

IMOGEN = "Imogen Fairweather"


def test_every_fact_the_three_services_may_record_has_its_sentence(story: Any) -> None:
    told = {type(fact): sentence(fact) for fact in story.every_fact()}
    assert {
        kind.__name__: told[kind]
        for registry in (intake, triage, partner_gateway)
        for kind in registry.REGISTRY
    } == {
        "ReferralReceived": (
            "Received from west-mercia-rms: domestic abuse, 2 subjects, the youngest 1 to 4, Shropshire;"
            " 85% complete, 1 gap."
        ),
        "ReferralAmended": (
            "Amended, version 2 of the record: domestic abuse, 1 subject, the youngest 18 to 64, Shropshire;"
            " 85% complete, 1 gap."
        ),
        "InformationAdded": "More information was added. It speaks of strangulation and threats to kill.",
        "ReferralWithdrawn": "Withdrawn by the records system: wrong person.",
        "RiskGraded": (
            "Graded high, level of need red, by rules R12 and R31. The officer had graded otherwise."
        ),
        "Regraded": "Regraded by a person to medium, level of need amber, from high, red.",
        "ClockStarted": "The assessment clock started: 1 h round the clock, due 11 Mar 2026 at 10:00.",
        "ClockWarned": "Three quarters of the assessment time are used; it is due 11 Mar 2026 at 10:00.",
        "ClockBreached": "The assessment deadline of 11 Mar 2026 at 10:00 was missed.",
        "ClockMet": "The assessment was done 1 h 15 min late.",
        "ClockCancelled": "The share clock was stopped: not shared.",
        "ShareDecided": (
            "Decided by a person to share with Shropshire children's services (1 contact) and"
            " Worcestershire adult services (1 contact)."
        ),
        "NotShared": "Decided by a person not to share: below threshold.",
        "AssessmentClosed": "The assessment was closed without a decision, as the referral was withdrawn.",
        "DeliveryPlanned": (
            "A contact for Shropshire children's services was planned, by 11 Mar 2026 at 13:00."
        ),
        "Rendered": (
            "Written in the partner's format, mosaic version 2. It cannot carry 1 field. 2 fields withheld."
        ),
        "Attempted": "Sending, attempt 1.",
        "AttemptFailed": "Attempt 1 failed: timed out. The next is due 11 Mar 2026 at 10:13.",
        "TransportAccepted": (
            "The partner's system took it in at attempt 2, as the partner confirmed when asked."
        ),
        "Acknowledged": "Shropshire children's services opened a contact. Outcome: contact opened.",
        "Rejected": "Shropshire children's services refused the contact: not our area.",
        "Expired": "The partner had not acknowledged it by 11 Mar 2026 at 13:00; sending goes on.",
        "HumanFallbackRaised": (
            "A person must telephone Shropshire children's services: the contact was refused."
        ),
        "OutcomeRecorded": "The partner reported an outcome: strategy discussion.",
        "Cancelled": "The delivery was cancelled, as the referral was withdrawn.",
    }


def test_a_fact_of_another_service_has_no_sentence() -> None:
    class SomethingElse(Fact, frozen=True, kw_only=True):
        """Not heard here."""

    with pytest.raises(TypeError, match="SomethingElse"):
        sentence(SomethingElse())


def test_a_sentence_says_nothing_of_the_sealed_part(story: Any) -> None:
    secrets = {
        "ReferralReceived": Document(document=msgspec.Raw(f'"{IMOGEN}"'.encode())),
        "ReferralAmended": Document(document=msgspec.Raw(f'"{IMOGEN}"'.encode())),
        "InformationAdded": Information(text=IMOGEN, reported_by=IMOGEN),
        "ReferralWithdrawn": Reason(text=IMOGEN),
        "Regraded": Rationale(text=IMOGEN),
        "ShareDecided": Rationale(text=IMOGEN),
        "NotShared": Rationale(text=IMOGEN),
        "Rendered": Payload(body=IMOGEN),
        "Acknowledged": PartnerReference(contact_id=IMOGEN),
    }
    sealable = [fact for fact in story.every_fact() if hasattr(fact, "sealed")]
    assert {type(fact).__name__ for fact in sealable} == set(secrets)
    for fact in sealable:
        opened = msgspec.structs.replace(fact, sealed=secrets[type(fact).__name__])
        assert sentence(opened) == sentence(fact)


def test_what_is_unusual_about_a_grade_a_clock_or_a_share_is_said(story: Any) -> None:
    graded = story.triage.graded(story.after(1))
    unmatched = msgspec.structs.replace(
        graded, matched_rules=(), needs_person=True, disagrees_with_officer=False
    )
    held = msgspec.structs.replace(
        graded, matched_rules=graded.matched_rules[:1], held_by_person=True, disagrees_with_officer=False
    )
    assert sentence(unmatched) == (
        "Graded high, level of need red, as no rule spoke. A person must confirm it."
    )
    assert sentence(held) == "Graded high, level of need red, by rule R12. A person's earlier grade stands."
    assert sentence(story.triage.clock_started("share", 2_880, epoch=2)) == (
        "The share clock started again: 2 days round the clock, due 13 Mar 2026 at 09:00."
    )
    assert sentence(story.triage.breached("share", 60, story.after(90), late_start=True)) == (
        "The share deadline of 11 Mar 2026 at 10:00 was missed. It was already late when the clock started."
    )
    assert sentence(story.triage.met("share", 60, story.after(59))) == "The share deadline was met."
    at_once = story.triage.shared(
        story.after(1), story.CHILDRENS, story.CHILDRENS, by_policy="sharing 1 red-child"
    )
    last_try = msgspec.structs.replace(story.childrens.failed, retry_at=None)
    assert sentence(last_try) == "Attempt 1 failed: timed out. No other is planned."
    assert sentence(at_once) == (
        "Decided by policy sharing 1 red-child to share with Shropshire children's services (2 contacts)."
    )


def test_an_entry_keeps_who_said_it_and_both_instants(story: Any) -> None:
    fact = story.triage.regraded
    event = RecordedEvent(
        source="triage",
        position=7,
        stream_id=f"assessment-{fact.referral_id}",
        version=2,
        event_id=UUID(int=51),
        type="Regraded",
        schema_version=1,
        occurred_at=story.after(5),
        recorded_at=story.after(6),
        correlation_id=fact.referral_id,
        causation_id=None,
        actor="assessor-1",
        traceparent=None,
        open=encode_open(fact),
        key_id=None,
        sealed=None,
    )
    assert fact_of(event) == fact
    assert entry_of(event, fact) == TimelineEntry(
        source="triage",
        position=7,
        occurred_at=story.after(5),
        recorded_at=story.after(6),
        type="Regraded",
        sentence="Regraded by a person to medium, level of need amber, from high, red.",
    )
