"""The figures leaders watch: who is waiting, how long things take, and what ran late.

Durations are exact, never sketched. A percentile is by nearest rank: the shortest measured duration that at
least that share of the measured referrals did not exceed. It is always a duration that really occurred.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, get_args
from uuid import UUID

from hub_oversight.views.delivery import DeliveryState
from hub_oversight.views.referral import WAITING, ReferralView, Stage
from hub_oversight.views.submission import AGE_BANDS
from hub_oversight.views.wording import DAY, HOUR
from hub_schemas.codes import AgeBand, Authority, ClockName, LevelOfNeed, ReferralType, RiskGrade

WaitingAge = Literal["under_1_h", "1_to_4_h", "4_to_24_h", "1_to_3_d", "over_3_d"]
WAITING_AGES: Final[tuple[WaitingAge, ...]] = get_args(WaitingAge)
WAITING_AGE_EDGES_SECONDS: Final = (HOUR, 4 * HOUR, DAY, 3 * DAY)
"""Where one age of waiting ends and the next, which includes the edge, begins."""

LEVELS_OF_NEED: Final[tuple[LevelOfNeed, ...]] = ("red", "amber", "green", "blue")
RISK_GRADES: Final[tuple[RiskGrade, ...]] = ("high", "medium", "standard")
AUTHORITIES: Final[tuple[Authority, ...]] = get_args(Authority)
WAITING_STAGES: Final[tuple[Stage, ...]] = tuple(stage for stage in get_args(Stage) if stage in WAITING)
UNGRADED: Final = "ungraded"
UNKNOWN: Final = "unknown"
CLOCKS: Final[tuple[ClockName, ...]] = get_args(ClockName)

Measure = Literal["grade", "share", "acknowledgement"]
MEASURES: Final[tuple[Measure, ...]] = get_args(Measure)
PERCENTS: Final = (50, 90, 95)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferralFigures:
    """What one referral adds to the figures. Durations are in seconds from receipt, None until reached."""

    referral_id: UUID
    authority: Authority | None
    risk_grade: RiskGrade | None
    level_of_need: LevelOfNeed | None
    stage: Stage
    received_at: datetime | None
    waiting_since: datetime | None
    grade_seconds: float | None
    share_seconds: float | None
    acknowledgement_seconds: float | None


def figures_of(view: ReferralView) -> ReferralFigures:
    """What this referral adds to the figures."""
    assessment = view.assessment
    return ReferralFigures(
        referral_id=view.referral_id,
        authority=view.authority,
        risk_grade=assessment.risk_grade if assessment else None,
        level_of_need=assessment.level_of_need if assessment else None,
        stage=view.stage,
        received_at=view.received_at,
        waiting_since=view.waiting_since,
        grade_seconds=_seconds(view.received_at, view.graded_at),
        share_seconds=_seconds(view.received_at, view.shared_at),
        acknowledgement_seconds=_seconds(view.received_at, view.all_acknowledged_at),
    )


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return (end - start).total_seconds() if start and end else None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingCell:
    """How many wait that are alike in all of this, and since when the oldest of them."""

    authority: Authority | None
    risk_grade: RiskGrade | None
    level_of_need: LevelOfNeed | None
    stage: Stage
    age: WaitingAge
    count: int
    oldest_since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelWaiting:
    """Those waiting at one level of need ("ungraded" where there is none yet), by age."""

    level_of_need: str
    count: int
    by_age: dict[WaitingAge, int]
    oldest_since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Everybody who waits for a decision, counted each way; the counts of every way add up to ``waiting``."""

    as_of: datetime
    waiting: int
    by_risk_grade: dict[str, int]
    by_level_of_need: dict[str, int]
    by_age: dict[str, int]
    by_authority: dict[str, int]
    by_stage: dict[str, int]
    levels: list[LevelWaiting]


def backlog(cells: Sequence[WaitingCell], as_of: datetime) -> Backlog:
    """Count the cells each way, with a zero wherever nobody waits."""
    return Backlog(
        as_of=as_of,
        waiting=sum(cell.count for cell in cells),
        by_risk_grade=_counted(
            ((c.risk_grade or UNGRADED, c.count) for c in cells), (*RISK_GRADES, UNGRADED)
        ),
        by_level_of_need=_counted(
            ((c.level_of_need or UNGRADED, c.count) for c in cells), (*LEVELS_OF_NEED, UNGRADED)
        ),
        by_age=_counted(((c.age, c.count) for c in cells), WAITING_AGES),
        by_authority=_counted(((c.authority or UNKNOWN, c.count) for c in cells), (*AUTHORITIES, UNKNOWN)),
        by_stage=_counted(((c.stage, c.count) for c in cells), WAITING_STAGES),
        levels=[
            _level(level or UNGRADED, [cell for cell in cells if cell.level_of_need == level])
            for level in (*LEVELS_OF_NEED, None)
        ],
    )


def _level(name: str, cells: Sequence[WaitingCell]) -> LevelWaiting:
    ages: Counter[WaitingAge] = Counter()
    for cell in cells:
        ages[cell.age] += cell.count
    return LevelWaiting(
        level_of_need=name,
        count=ages.total(),
        by_age={age: ages[age] for age in WAITING_AGES},
        oldest_since=min((cell.oldest_since for cell in cells), default=None),
    )


def _counted(pairs: Iterable[tuple[str, int]], keys: Sequence[str]) -> dict[str, int]:
    counts = dict.fromkeys(keys, 0)
    for key, number in pairs:
        counts[key] += number
    return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Of ``count`` measured durations, in seconds; None when nothing was measured."""

    count: int
    median_seconds: float | None = None
    p90_seconds: float | None = None
    p95_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureTimeliness:
    """One measure, over all referrals and for each authority."""

    overall: Percentiles
    by_authority: dict[Authority, Percentiles]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeliness:
    """How long referrals received since ``received_since`` took, from receipt to each measure."""

    as_of: datetime
    received_since: datetime
    measures: dict[Measure, MeasureTimeliness]


def timeliness(
    measured: Mapping[tuple[Measure, Authority | None], Percentiles],
    as_of: datetime,
    received_since: datetime,
) -> Timeliness:
    """Arrange what was measured (authority None: over all), with a count of 0 wherever nothing was."""
    nothing = Percentiles(count=0)
    return Timeliness(
        as_of=as_of,
        received_since=received_since,
        measures={
            measure: MeasureTimeliness(
                overall=measured.get((measure, None), nothing),
                by_authority={name: measured.get((measure, name), nothing) for name in AUTHORITIES},
            )
            for measure in MEASURES
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockBreaches:
    """Missed deadlines of one clock: how many ever, and how many whose clock still runs."""

    open: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBreach:
    """One referral still waiting past a deadline, as it stood when the deadline passed."""

    referral_id: UUID
    authority: Authority | None
    clock: ClockName
    due_at: datetime
    breached_at: datetime
    risk_grade: RiskGrade
    level_of_need: LevelOfNeed
    late_start: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaches:
    """Missed deadlines by clock, and those still open, the gravest and longest overdue first."""

    as_of: datetime
    by_clock: dict[ClockName, ClockBreaches]
    open: list[OpenBreach]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One referral in the list of those arriving now."""

    referral_id: UUID
    received_at: datetime
    authority: Authority | None
    referral_type: ReferralType | None
    subjects: int
    youngest: AgeBand
    risk_grade: RiskGrade | None
    level_of_need: LevelOfNeed | None
    needs_person: bool
    stage: Stage
    due_at: datetime | None
    overdue: bool


def arrival_of(view: ReferralView, received_at: datetime) -> Arrival:
    """This referral as the list of arrivals shows it."""
    submission, assessment = view.submission, view.assessment
    return Arrival(
        referral_id=view.referral_id,
        received_at=received_at,
        authority=view.authority,
        referral_type=submission.referral_type if submission else None,
        subjects=submission.subjects if submission else 0,
        youngest=submission.youngest if submission else AGE_BANDS[-1],
        risk_grade=assessment.risk_grade if assessment else None,
        level_of_need=assessment.level_of_need if assessment else None,
        needs_person=bool(assessment and assessment.needs_person),
        stage=view.stage,
        due_at=assessment.due_at if assessment else None,
        overdue=bool(assessment and assessment.open_breaches),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CountyDeliveries:
    """How many deliveries of one county stand in each state, and how many a person must telephone about."""

    authority: Authority
    by_state: dict[DeliveryState, int]
    to_telephone: int
