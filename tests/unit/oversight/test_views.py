from collections.abc import Sequence
from datetime import UTC, datetime
from functools import reduce
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub_oversight.views.assessment import Assessment, Breach, ClockView
from hub_oversight.views.delivery import Delivery
from hub_oversight.views.referral import HeardFact, ReferralView, project
from hub_oversight.views.submission import Submission

RECEIVED_AT = datetime(2026, 3, 11, 9, 0, tzinfo=UTC)


def view_of(*facts: HeardFact) -> ReferralView:
    view = reduce(project, facts, None)
    assert view is not None
    return view


def test_a_late_share_to_two_agencies_folds_to_the_whole_view(story: Any) -> None:
    one, other = story.childrens, story.adults
    view = view_of(
        story.intake.received,
        *story.decided_late,
        other.planned,
        other.rendered,
        other.attempted(),
        one.planned,
        one.rendered,
        one.attempted(),
        one.failed,
        one.attempted(2),
        one.taken,
        one.acknowledged(story.after(80)),
        one.outcome,
    )
    assert view == ReferralView(
        referral_id=UUID(int=1),
        submission=Submission(
            received_at=RECEIVED_AT,
            authority="893",
            referral_type="domestic_abuse",
            subjects=2,
            youngest="1_4",
        ),
        assessment=Assessment(
            authority="893",
            risk_grade="high",
            level_of_need="red",
            needs_person=False,
            graded_at=story.after(1),
            decision="shared",
            decided_at=story.after(70),
            shared_at=story.after(70),
            recipients=(story.CHILDRENS, story.ADULTS),
            clocks={
                "assessment": ClockView(
                    epoch=1,
                    started_at=RECEIVED_AT,
                    due_at=story.after(60),
                    warned_at=story.after(45),
                    breached_at=story.after(60),
                    met_at=story.after(70),
                    in_time=False,
                ),
                "share": ClockView(
                    epoch=1,
                    started_at=RECEIVED_AT,
                    due_at=story.after(240),
                    met_at=story.after(70),
                    in_time=True,
                ),
            },
            breaches=(
                Breach(
                    clock="assessment",
                    epoch=1,
                    due_at=story.after(60),
                    breached_at=story.after(60),
                    risk_grade="high",
                    level_of_need="red",
                    late_start=False,
                ),
            ),
        ),
        deliveries={
            UUID(int=21): Delivery(
                subject_id=UUID(int=11),
                authority="893",
                agency="childrens_services",
                state="acknowledged",
                planned_at=story.after(71),
                deadline_at=story.after(240),
                attempts=2,
                accepted_at=story.after(74),
                acknowledged_at=story.after(80),
                ended_at=story.after(80),
                outcome="strategy_discussion",
            ),
            UUID(int=22): Delivery(
                subject_id=UUID(int=12),
                authority="885",
                agency="adult_services",
                state="sending",
                planned_at=story.after(71),
                deadline_at=story.after(240),
                attempts=1,
            ),
        },
    )
    assert (view.stage, view.first_accepted_at, view.all_acknowledged_at) == (
        "delivering",
        story.after(74),
        None,
    )


def test_the_stages_follow_the_referral_to_each_ending(story: Any) -> None:
    one, other = story.childrens, story.adults
    received, shared = (story.intake.received,), (story.intake.received, *story.decided_late)
    both = (one.planned, one.attempted(), other.planned, other.attempted())
    yes = (one.acknowledged(story.after(80)), other.acknowledged(story.after(85)))
    endings: list[tuple[Sequence[HeardFact], str, datetime | None]] = [
        (received, "received", None),
        ((*received, story.triage.graded(story.after(1))), "graded", None),
        (shared, "shared", None),
        ((*shared, one.planned, one.rendered), "shared", None),
        ((*shared, *both), "delivering", None),
        ((*shared, one.planned, one.attempted(), yes[0]), "delivering", None),
        ((*shared, *both, *yes), "acknowledged", story.after(85)),
        ((*shared, *both, yes[0], other.rejected, other.fallback()), "partly_acknowledged", story.after(80)),
        ((*shared, *both, one.expired, one.fallback("deadline"), yes[1]), "delivering", None),
        ((*shared, *both, one.rejected, other.rejected), "not_acknowledged", story.after(76)),
        ((*shared, *both, one.fallback("cannot_render"), yes[1]), "partly_acknowledged", story.after(85)),
        ((*shared, *both, *yes, story.intake.withdrawn), "withdrawn", story.after(90)),
        ((*received, story.triage.graded(story.after(1)), story.triage.closed), "withdrawn", story.after(91)),
        (
            (*received, story.triage.graded(story.after(1)), story.triage.not_shared),
            "not_shared",
            story.after(70),
        ),
    ]
    for facts, stage, closed_at in endings:
        view = view_of(*facts)
        assert (view.stage, view.closed_at) == (stage, closed_at)


def test_a_cancelled_delivery_stays_so_whatever_is_still_heard_of_what_was_under_way(story: Any) -> None:
    one = story.childrens
    view = view_of(
        one.planned, one.attempted(), one.cancelled, one.taken, one.fallback("withdrawn_after_send")
    )
    delivery = view.deliveries[UUID(int=21)]
    assert (delivery.state, delivery.ended_at, delivery.accepted_at, delivery.fallback) == (
        "cancelled",
        story.after(92),
        story.after(74),
        "withdrawn_after_send",
    )


def test_a_contact_that_could_not_be_written_is_under_way_again_once_it_was(story: Any) -> None:
    one = story.childrens
    stuck = view_of(one.planned, one.fallback("cannot_render"))
    assert stuck.deliveries[UUID(int=21)].state == "undeliverable"
    mended = project(stuck, one.rendered).deliveries[UUID(int=21)]
    assert (mended.state, mended.ended_at, mended.fallback) == ("rendered", None, "cannot_render")


def test_all_are_acknowledged_when_the_last_partner_opened_a_contact(story: Any) -> None:
    one, other = story.childrens, story.adults
    facts = (
        *(story.intake.received, *story.decided_late, one.planned, other.planned),
        *(other.acknowledged(story.after(85)), one.acknowledged(story.after(80))),
    )
    assert view_of(*facts).all_acknowledged_at == story.after(85)


def test_a_referral_that_new_facts_reopened_waits_again_and_keeps_when_it_was_first_shared(
    story: Any,
) -> None:
    reopened = view_of(
        story.intake.received,
        *story.decided_late,
        story.triage.graded(story.after(100), "high", "red"),
        story.triage.clock_started("assessment", 60, epoch=2),
        story.triage.breached("assessment", 60, story.after(100), epoch=2, late_start=True),
    )
    assert (reopened.stage, reopened.waiting_since, reopened.decided_at) == ("graded", RECEIVED_AT, None)
    assert (reopened.graded_at, reopened.shared_at) == (story.after(1), story.after(70))
    assert reopened.assessment is not None
    assert [breach.epoch for breach in reopened.assessment.breaches] == [1, 2]
    assert [breach.epoch for breach in reopened.assessment.open_breaches] == [2]


def test_an_amendment_changes_what_it_is_about_and_not_when_it_was_received(story: Any) -> None:
    view = view_of(story.intake.received, story.intake.informed, story.intake.amended)
    assert view.submission == Submission(
        received_at=RECEIVED_AT,
        authority="893",
        referral_type="domestic_abuse",
        subjects=1,
        youngest="18_64",
    )


def test_sharing_with_one_more_agency_keeps_when_it_was_first_shared_and_waits_for_the_newcomer(
    story: Any,
) -> None:
    one, other = story.childrens, story.adults
    start = (story.intake.received, story.triage.graded(story.after(1)))
    first = view_of(
        *(*start, story.triage.shared(story.after(10), story.CHILDRENS)),
        *(one.planned, one.attempted(), one.acknowledged(story.after(80))),
    )
    assert (first.stage, first.all_acknowledged_at) == ("acknowledged", story.after(80))
    second = project(first, story.triage.shared(story.after(95), story.ADULTS))
    assert (second.shared_at, second.decided_at) == (story.after(10), story.after(95))
    assert (second.stage, second.all_acknowledged_at) == ("delivering", None)
    last = view_of(
        *(*start, story.triage.shared(story.after(10), story.CHILDRENS, story.ADULTS)),
        *(one.planned, one.acknowledged(story.after(80)), other.planned, other.acknowledged(story.after(99))),
    )
    assert last.all_acknowledged_at == story.after(99)


def test_a_referral_intake_has_not_told_of_yet_still_waits_in_the_backlog(story: Any) -> None:
    graded = view_of(story.triage.graded(story.after(1)))
    clocked = project(graded, story.triage.clock_started("assessment", 60))
    assert (graded.received_at, graded.waiting_since) == (None, story.after(1))
    assert (clocked.received_at, clocked.waiting_since) == (None, RECEIVED_AT)
    assert (clocked.authority, clocked.stage) == ("893", "graded")


def test_a_clock_that_was_cancelled_leaves_its_breach_closed_and_nothing_due(story: Any) -> None:
    view = view_of(
        story.triage.graded(story.after(1)),
        story.triage.clock_started("share", 60),
        story.triage.breached("share", 60, story.after(60)),
        story.triage.not_shared,
        story.triage.cancelled,
    )
    assert view.assessment is not None
    assert (len(view.assessment.breaches), view.assessment.open_breaches) == (1, ())
    assert view.assessment.due_at is None


def test_a_stream_that_does_not_begin_with_its_first_fact_is_refused(story: Any) -> None:
    for fact in (story.intake.amended, story.triage.regraded, story.childrens.rendered):
        with pytest.raises(ValueError, match="cannot begin with"):
            project(None, fact)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_interleaving_of_the_streams_folds_to_the_same_bytes(story: Any, data: st.DataObject) -> None:
    streams = [
        data.draw(st.sampled_from(endings))
        for endings in (intake_streams(story), triage_streams(story), *gateway_streams(story))
    ]
    turns = [number for number, stream in enumerate(streams) for _ in stream]
    one_after_another = [fact for stream in streams for fact in stream]
    remaining = [iter(stream) for stream in streams]
    interleaved = [next(remaining[number]) for number in data.draw(st.permutations(turns))]
    expected, actual = view_of(*one_after_another), view_of(*interleaved)
    assert msgspec.json.encode(actual) == msgspec.json.encode(expected)
    assert msgspec.json.decode(msgspec.json.encode(actual), type=ReferralView) == actual


def intake_streams(story: Any) -> list[list[HeardFact]]:
    heard = [story.intake.received, story.intake.informed, story.intake.amended]
    return [heard[:1], heard, [*heard, story.intake.withdrawn]]


def triage_streams(story: Any) -> list[list[HeardFact]]:
    start = [story.triage.graded(story.after(1)), story.triage.clock_started("assessment", 60)]
    again = [
        story.triage.graded(story.after(95)),
        story.triage.clock_started("assessment", 60, epoch=2),
        story.triage.shared(story.after(96), story.ADULTS, by_policy="sharing 1 red-child"),
    ]
    return [
        start,
        [*start, story.triage.not_shared],
        [*start, story.triage.closed],
        [*story.decided_late],
        [*story.decided_late, *again],
    ]


def gateway_streams(story: Any) -> list[list[list[HeardFact]]]:
    return [
        [
            [],
            [one.planned],
            [one.planned, one.rendered, one.attempted(), one.failed, one.attempted(2), one.taken],
            [one.planned, one.attempted(), one.acknowledged(story.after(80)), one.outcome],
            [one.planned, one.attempted(), one.rejected, one.fallback()],
            [one.planned, one.cancelled],
        ]
        for one in (story.childrens, story.adults)
    ]
