from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any
from uuid import UUID

from hub_oversight.views.figures import (
    Arrival,
    Backlog,
    LevelWaiting,
    MeasureTimeliness,
    Percentiles,
    ReferralFigures,
    WaitingCell,
    arrival_of,
    backlog,
    figures_of,
    timeliness,
)
from hub_oversight.views.referral import HeardFact, ReferralView, project

NOW = datetime(2026, 3, 12, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def view_of(*facts: HeardFact) -> ReferralView:
    view = reduce(project, facts, None)
    assert view is not None
    return view


def test_durations_count_from_receipt_and_are_absent_until_reached(story: Any) -> None:
    one, other = story.childrens, story.adults
    delivered = view_of(story.intake.received, *story.decided_late, one.planned, other.planned)
    acknowledged = view_of(
        *(story.intake.received, *story.decided_late, one.planned, other.planned),
        *(one.acknowledged(story.after(80)), other.acknowledged(story.after(85.5))),
    )
    assert figures_of(acknowledged) == ReferralFigures(
        referral_id=UUID(int=1),
        authority="893",
        risk_grade="high",
        level_of_need="red",
        stage="acknowledged",
        received_at=story.after(0),
        waiting_since=None,
        grade_seconds=60.0,
        share_seconds=4_200.0,
        acknowledgement_seconds=5_130.0,
    )
    assert figures_of(delivered).acknowledgement_seconds is None


def test_the_backlog_adds_up_the_same_each_way_and_knows_the_oldest_of_each_level() -> None:
    def cell(count: int, level: str | None, grade: str | None, age: str, hours: int) -> WaitingCell:
        return WaitingCell(
            authority="893" if level else None,
            risk_grade=grade,  # type: ignore[arg-type]
            level_of_need=level,  # type: ignore[arg-type]
            stage="graded" if level else "received",
            age=age,  # type: ignore[arg-type]
            count=count,
            oldest_since=NOW - hours * HOUR,
        )

    cells = [
        cell(2, "red", "high", "under_1_h", 0),
        cell(1, "red", "medium", "1_to_4_h", 3),
        cell(5, "green", "standard", "over_3_d", 200),
        cell(4, None, None, "under_1_h", 0),
    ]
    none: dict[Any, int] = {"under_1_h": 0, "1_to_4_h": 0, "4_to_24_h": 0, "1_to_3_d": 0, "over_3_d": 0}

    def level(name: str, count: int, hours: int | None, **by_age: int) -> LevelWaiting:
        oldest_since = None if hours is None else NOW - hours * HOUR
        return LevelWaiting(level_of_need=name, count=count, by_age=none | by_age, oldest_since=oldest_since)

    assert backlog(cells, NOW) == Backlog(
        as_of=NOW,
        waiting=12,
        by_risk_grade={"high": 2, "medium": 1, "standard": 5, "ungraded": 4},
        by_level_of_need={"red": 3, "amber": 0, "green": 5, "blue": 0, "ungraded": 4},
        by_age={"under_1_h": 6, "1_to_4_h": 1, "4_to_24_h": 0, "1_to_3_d": 0, "over_3_d": 5},
        by_authority={"884": 0, "885": 0, "893": 8, "894": 0, "unknown": 4},
        by_stage={"received": 4, "graded": 8},
        levels=[
            level("red", 3, 3, under_1_h=2, **{"1_to_4_h": 1}),
            level("amber", 0, None),
            level("green", 5, 200, over_3_d=5),
            level("blue", 0, None),
            level("ungraded", 4, 0, under_1_h=4),
        ],
    )


def test_what_was_not_measured_counts_zero_and_has_no_percentiles() -> None:
    measured = Percentiles(count=3, median_seconds=2.0, p90_seconds=3.0, p95_seconds=3.0)
    nothing = Percentiles(count=0)
    figures = timeliness({("grade", None): measured, ("grade", "893"): measured}, NOW, NOW - 24 * HOUR)
    assert figures.measures == {
        "grade": MeasureTimeliness(
            overall=measured, by_authority={"884": nothing, "885": nothing, "893": measured, "894": nothing}
        ),
        "share": MeasureTimeliness(
            overall=nothing, by_authority={"884": nothing, "885": nothing, "893": nothing, "894": nothing}
        ),
        "acknowledgement": MeasureTimeliness(
            overall=nothing, by_authority={"884": nothing, "885": nothing, "893": nothing, "894": nothing}
        ),
    }


def test_an_arrival_shows_what_is_known_of_it_so_far(story: Any) -> None:
    received = view_of(story.intake.received)
    overdue = view_of(
        story.intake.received,
        story.triage.graded(story.after(1)),
        story.triage.clock_started("share", 240),
        story.triage.clock_started("assessment", 60),
        story.triage.breached("assessment", 60, story.after(60)),
    )
    known = {
        "referral_id": UUID(int=1),
        "received_at": story.after(0),
        "authority": "893",
        "referral_type": "domestic_abuse",
        "subjects": 2,
        "youngest": "1_4",
        "needs_person": False,
    }
    assert arrival_of(received, story.after(0)) == Arrival(
        **known, risk_grade=None, level_of_need=None, stage="received", due_at=None, overdue=False
    )
    assert arrival_of(overdue, story.after(0)) == Arrival(
        **known,
        risk_grade="high",
        level_of_need="red",
        stage="graded",
        due_at=story.after(60),
        overdue=True,
    )
