from datetime import UTC, datetime, timedelta
from uuid import UUID

from hub_embedded.walk_text import walk_text
from hub_schemas.codes import ClockName
from hub_schemas.envelope import RecordedEvent
from hub_schemas.facts import Fact
from hub_schemas.intake import ReferralWithdrawn
from hub_schemas.partner_gateway import Attempted, Cancelled, TransportAccepted
from hub_schemas.registry import encode_open
from hub_schemas.triage import AssessmentClosed, ClockStarted

START = datetime(2026, 3, 11, 9, 30, tzinfo=UTC)
REFERRAL = UUID(int=0xA1)
FIRST, SECOND = UUID(int=0xD1), UUID(int=0xD2)


def recorded(
    number: int, source: str, stream: str, version: int, fact: Fact, *, after: int | None = None
) -> RecordedEvent:
    """The event ``number``, recorded that many milliseconds after the start."""
    at = START + timedelta(milliseconds=number)
    return RecordedEvent(
        source=source,
        position=number,
        stream_id=stream,
        version=version,
        event_id=UUID(int=number),
        type=type(fact).__name__,
        schema_version=1,
        occurred_at=at,
        recorded_at=at,
        correlation_id=REFERRAL,
        causation_id=None if after is None else UUID(int=after),
        actor="hub",
        traceparent=None,
        open=encode_open(fact),
        key_id=None,
        sealed=None,
    )


def clock(name: ClockName) -> ClockStarted:
    return ClockStarted(
        referral_id=REFERRAL,
        clock=name,
        epoch=1,
        started_at=START,
        goal_seconds=7_200,
        calendar="round_the_clock",
        warn_at=START,
        due_at=START + timedelta(hours=2),
        policy="clocks",
        policy_hash="00",
        risk_grade="high",
        level_of_need="red",
    )


def attempt(delivery_id: UUID) -> Attempted:
    return Attempted(delivery_id=delivery_id, referral_id=REFERRAL, attempt=1, attempted_at=START)


WITHDRAWN = ReferralWithdrawn(referral_id=REFERRAL, withdrawn_at=START, reason_code="duplicate")
CLOSED = AssessmentClosed(referral_id=REFERRAL, closed_at=START)
CANCELLED = Cancelled(delivery_id=FIRST, referral_id=REFERRAL, cancelled_at=START)


def test_a_hop_stands_under_its_cause_with_its_offset_service_and_sentence() -> None:
    events = [
        recorded(1, "triage", "assessment-a", 1, clock("share")),
        recorded(14, "intake", "referral-a", 1, WITHDRAWN),
        recorded(20, "triage", "assessment-a", 2, CLOSED, after=14),
        recorded(1_500, "partner_gateway", "delivery-1", 1, CANCELLED, after=20),
    ]
    assert walk_text(events) == (
        "The walk of referral 00000000-0000-0000-0000-0000000000a1: 4 facts.\n"
        "\n"
        "e1   t+13 ms      intake          ReferralWithdrawn:"
        " Withdrawn by the records system: duplicate.\n"
        "e2   t+19 ms      triage            AssessmentClosed (after e1):"
        " The assessment was closed without a decision, as the referral was withdrawn.\n"
        "e3   t+1.5 s      partner-gateway     Cancelled (after e2):"
        " The delivery was cancelled, as the referral was withdrawn.\n"
        "e4   t+0 ms       triage          ClockStarted:"
        " The share clock started: 2 h round the clock, due 11 Mar 2026 at 11:30.\n"
    )


def test_a_plain_walk_holds_no_id_and_no_instant() -> None:
    assert walk_text([recorded(1, "triage", "assessment-a", 1, clock("share"))], plain=True) == (
        "The walk of referral r1: 1 fact.\n"
        "\n"
        "e1   t+…          triage          ClockStarted:"
        " The share clock started: 2 h round the clock, due ….\n"
    )


def test_a_plain_walk_is_the_same_whichever_delivery_was_quicker() -> None:
    def accepted(delivery_id: UUID) -> TransportAccepted:
        return TransportAccepted(delivery_id=delivery_id, referral_id=REFERRAL, attempt=1, accepted_at=START)

    begun = [
        recorded(1, "intake", "referral-a", 1, WITHDRAWN),
        recorded(2, "partner_gateway", "delivery-1", 1, attempt(FIRST), after=1),
        recorded(3, "partner_gateway", "delivery-2", 1, attempt(SECOND), after=1),
    ]
    first_was_quicker = [
        recorded(4, "partner_gateway", "delivery-1", 2, accepted(FIRST), after=2),
        recorded(5, "partner_gateway", "delivery-2", 2, accepted(SECOND), after=3),
    ]
    second_was_quicker = [
        recorded(4, "partner_gateway", "delivery-2", 2, accepted(SECOND), after=3),
        recorded(5, "partner_gateway", "delivery-1", 2, accepted(FIRST), after=2),
    ]
    assert walk_text([*begun, *first_was_quicker], plain=True) == walk_text(
        [*begun, *second_was_quicker], plain=True
    )


def test_facts_of_one_decision_stand_beside_each_other_in_their_order() -> None:
    events = [
        recorded(1, "intake", "referral-a", 1, WITHDRAWN),
        recorded(2, "triage", "assessment-a", 1, clock("assessment"), after=1),
        recorded(3, "triage", "assessment-a", 2, clock("share"), after=1),
        recorded(4, "partner_gateway", "delivery-1", 1, CANCELLED, after=2),
    ]
    lines = walk_text(events, plain=True).splitlines()[2:]
    assert [line.split(":")[0] for line in lines] == [
        "e1   t+…          intake          ReferralWithdrawn",
        "e2   t+…          triage            ClockStarted (after e1)",
        "e3   t+…          partner-gateway     Cancelled (after e2)",
        "e4   t+…          triage            ClockStarted (after e1)",
    ]


def test_a_hop_without_a_recorded_cause_stands_where_its_stream_stands() -> None:
    events = [
        recorded(1, "intake", "referral-a", 1, WITHDRAWN),
        recorded(2, "partner_gateway", "delivery-1", 1, attempt(FIRST), after=1),
        recorded(3, "partner_gateway", "delivery-2", 1, attempt(SECOND), after=1),
        recorded(4, "partner_gateway", "delivery-1", 2, CANCELLED),
    ]
    lines = walk_text(events, plain=True).splitlines()[2:]
    assert [line.split(":")[0] for line in lines] == [
        "e1   t+…          intake          ReferralWithdrawn",
        "e2   t+…          partner-gateway   Attempted (after e1)",
        "e3   t+…          partner-gateway   Cancelled",
        "e4   t+…          partner-gateway   Attempted (after e1)",
    ]


def test_a_fact_of_a_later_release_is_told_by_its_name() -> None:
    class SomethingNewHappened(Fact, frozen=True, kw_only=True):
        """Not known to this release."""

    text = walk_text([recorded(1, "intake", "referral-a", 1, SomethingNewHappened())], plain=True)
    assert text.endswith("SomethingNewHappened: Something new happened.\n")
