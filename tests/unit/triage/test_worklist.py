from datetime import timedelta
from functools import reduce
from typing import Any
from uuid import UUID

import msgspec
import pytest

from hub_schemas.intake import RiskIndicators
from hub_schemas.triage import Recipient
from hub_triage.commands import DecideNotShare, DecideShare, FireClock, Regrade, Withdraw
from hub_triage.views import ClockRow, WorklistRow, project, worklist_order

REFERRAL, ADULT = UUID(int=1), UUID(int=12)
CANDIDATE = Recipient(subject_id=ADULT, authority="885", agency="adult_services")
WHY = "Checked with the family's worker."


def row_of(past: Any) -> WorklistRow:
    row = reduce(project, past.facts, None)
    assert row is not None
    return row


@pytest.fixture
def red(past: Any, grade_it: Any, a_summary: Any) -> Any:
    past.after(grade_it(a_summary(risk=RiskIndicators(officer_grade="high"))))
    return past


def test_a_graded_referral_stands_in_the_worklist_with_its_clocks(red: Any, a_summary: Any) -> None:
    now = a_summary().submitted_at
    hour = timedelta(hours=1)
    assert row_of(red) == WorklistRow(
        referral_id=REFERRAL,
        authority="885",
        risk_grade="high",
        level_of_need="red",
        needs_person=False,
        state="open",
        graded_at=now,
        received_at=now,
        due_at=now + hour,
        matched_rules=("officer-high",),
        rule_set="first-grading/1",
        candidates=(CANDIDATE,),
        clocks={
            "assessment": ClockRow(epoch=1, due_at=now + hour, next_fire_at=now + 0.75 * hour),
            "share": ClockRow(epoch=1, due_at=now + 4 * hour, next_fire_at=now + 3 * hour),
        },
    )


def test_the_timer_s_next_look_moves_from_warning_to_due_to_none(red: Any, a_summary: Any) -> None:
    now = a_summary().submitted_at

    def look(minutes: int) -> ClockRow:
        at = now + timedelta(minutes=minutes)
        red.after(FireClock(referral_id=REFERRAL, clock="assessment", epoch=1, at=at))
        return row_of(red).clocks["assessment"]

    due_at = now + timedelta(hours=1)
    assert look(45) == ClockRow(epoch=1, due_at=due_at, next_fire_at=due_at, warned=True)
    assert not row_of(red).breached
    assert look(60) == ClockRow(epoch=1, due_at=due_at, next_fire_at=None, warned=True, breached=True)
    assert row_of(red).breached
    red.after(DecideShare(referral_id=REFERRAL, at=due_at, rationale=WHY))
    assert not row_of(red).breached


def test_a_shared_referral_keeps_who_was_told_and_needs_the_timer_no_more(red: Any, a_summary: Any) -> None:
    now = a_summary().submitted_at
    red.after(DecideShare(referral_id=REFERRAL, at=now, rationale=WHY))
    row = row_of(red)
    assert (row.state, row.recipients, row.decided_at) == ("shared", (CANDIDATE,), now)
    assert row.decided_by_policy is None
    assert [(clock.next_fire_at, clock.in_time) for clock in row.clocks.values()] == [(None, True)] * 2


def test_a_kept_and_a_withdrawn_referral_say_so(red: Any, a_summary: Any) -> None:
    now = a_summary().submitted_at
    red.after(
        DecideNotShare(referral_id=REFERRAL, at=now, reason_code="already_known", rationale=WHY),
    )
    row = row_of(red)
    assert (row.state, row.not_shared_reason) == ("not_shared", "already_known")
    assert row.clocks["share"].in_time is None


def test_a_withdrawn_referral_is_closed(red: Any, a_summary: Any) -> None:
    red.after(Withdraw(referral_id=REFERRAL, at=a_summary().submitted_at))
    assert row_of(red).state == "closed"


def test_a_regrade_moves_the_row_to_its_new_band_and_due_time(red: Any, a_summary: Any) -> None:
    now = a_summary().submitted_at
    red.after(
        Regrade(referral_id=REFERRAL, at=now, risk_grade="medium", level_of_need="amber", rationale=WHY)
    )
    row = row_of(red)
    assert (row.risk_grade, row.level_of_need, row.due_at) == ("medium", "amber", now + timedelta(hours=8))


def test_the_worklist_is_strict_by_band_and_then_by_due_time(red: Any) -> None:
    row = row_of(red)
    assert row.due_at is not None
    change = msgspec.structs.replace
    late = row.due_at + timedelta(days=9)
    rows = [
        change(row, referral_id=UUID(int=5), level_of_need="blue"),
        change(row, referral_id=UUID(int=4), level_of_need="green"),
        change(row, referral_id=UUID(int=3), level_of_need="amber"),
        change(row, referral_id=UUID(int=2), due_at=late),
        change(row, referral_id=UUID(int=9)),
        row,
    ]
    assert [r.referral_id.int for r in sorted(rows, key=worklist_order)] == [1, 9, 2, 3, 4, 5]
