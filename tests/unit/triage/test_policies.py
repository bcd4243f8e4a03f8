import json
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import msgspec
import pytest

from hub_schemas.codes import LevelOfNeed
from hub_schemas.intake import SubjectSummary
from hub_schemas.triage import Recipient
from hub_triage.policies import Policies
from hub_triage.policies.clocks import BrokenClockPolicy, ClockPolicy

FRIDAY_EVENING = datetime(2026, 3, 13, 17, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("clock", "level", "due_at", "warn_at"),
    [
        ("assessment", "red", FRIDAY_EVENING + timedelta(hours=1), FRIDAY_EVENING + timedelta(minutes=45)),
        ("share", "red", FRIDAY_EVENING + timedelta(hours=4), FRIDAY_EVENING + timedelta(hours=3)),
        ("assessment", "amber", datetime(2026, 3, 16, 15, tzinfo=UTC), datetime(2026, 3, 16, 13, tzinfo=UTC)),
        ("share", "amber", datetime(2026, 3, 18, 11, tzinfo=UTC), datetime(2026, 3, 17, 15, tzinfo=UTC)),
        ("share", "green", FRIDAY_EVENING + timedelta(hours=72), FRIDAY_EVENING + timedelta(hours=54)),
    ],
)
def test_red_runs_through_the_weekend_and_amber_waits_for_monday(
    policies: Policies, clock: Any, level: Any, due_at: datetime, warn_at: datetime
) -> None:
    timing = policies.clocks.timing(clock, level, FRIDAY_EVENING)
    assert timing is not None
    assert (timing.warn_at, timing.due_at) == (warn_at, due_at)


def test_blue_has_no_share_clock_but_is_assessed(policies: Policies) -> None:
    assert policies.clocks.timing("share", "blue", FRIDAY_EVENING) is None
    assert policies.clocks.timing("assessment", "blue", FRIDAY_EVENING) is not None


@pytest.mark.parametrize("level", [level for level in get_args(LevelOfNeed) if level != "blue"])
def test_an_assessment_in_time_always_leaves_time_to_share(policies: Policies, level: LevelOfNeed) -> None:
    hour = timedelta(hours=1)
    for received_at in (FRIDAY_EVENING + n * hour for n in range(24 * 30)):
        assessment = policies.clocks.timing("assessment", level, received_at)
        share = policies.clocks.timing("share", level, received_at)
        assert assessment is not None
        assert share is not None
        assert assessment.due_at < share.due_at


def change_goal(clock: str, level: str, goal: object) -> Any:
    def change(policy: dict[str, Any]) -> None:
        policy["clocks"][clock]["goals"][level] = goal

    return change


@pytest.mark.parametrize(
    ("change", "at_fault"),
    [
        (
            change_goal("assessment", "blue", None),
            {"assessment.blue": "every referral waits for a decision, so this needs a goal"},
        ),
        (
            change_goal(
                "assessment",
                "red",
                {"goal_seconds": 14400, "calendar": "round_the_clock", "status": "local", "source": "x"},
            ),
            {"assessment.red": "must run by the share clock's calendar and allow less"},
        ),
        (
            change_goal(
                "assessment",
                "red",
                {"goal_seconds": 60, "calendar": "hub_hours", "status": "local", "source": "x"},
            ),
            {"assessment.red": "must run by the share clock's calendar and allow less"},
        ),
        (lambda policy: policy["clocks"].pop("share"), {"share": "must name every level of need"}),
        (
            lambda policy: policy["clocks"]["share"]["goals"].pop("blue"),
            {"share": "must name every level of need"},
        ),
    ],
)
def test_clocks_that_contradict_themselves_are_refused(
    policies: Policies, policy_files: dict[str, bytes], change: Any, at_fault: dict[str, str]
) -> None:
    policy = json.loads(policy_files["clocks"])
    change(policy)
    with pytest.raises(BrokenClockPolicy) as refused:
        ClockPolicy.load(json.dumps(policy).encode(), policies.clocks.calendars)
    assert refused.value.fields == at_fault


def test_each_subject_goes_to_the_service_for_their_kind_in_their_own_authority(
    policies: Policies, a_child: SubjectSummary, an_adult: SubjectSummary
) -> None:
    unborn = msgspec.structs.replace(a_child, kind="unborn", age_band="unborn", authority="884")
    assert policies.sharing.candidates((a_child, an_adult, unborn)) == (
        Recipient(subject_id=a_child.subject_id, authority="893", agency="childrens_services"),
        Recipient(subject_id=an_adult.subject_id, authority="885", agency="adult_services"),
        Recipient(subject_id=unborn.subject_id, authority="884", agency="childrens_services"),
    )


def test_only_red_referrals_about_a_child_wait_for_nobody(
    policies: Policies, a_child: SubjectSummary, an_adult: SubjectSummary
) -> None:
    sharing = policies.sharing
    child, adult = sharing.candidates((a_child,)), sharing.candidates((an_adult,))
    rule = sharing.at_once("red", adult + child)
    assert rule is not None
    assert rule.id == "red-child"
    assert sharing.at_once("red", adult) is None
    assert sharing.at_once("amber", child) is None
