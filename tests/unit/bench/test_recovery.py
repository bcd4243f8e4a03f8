from datetime import UTC, datetime, timedelta
from math import inf

from bench.instants import Graded
from bench.recovery import ceiling, normal_again, p95

START = datetime(2026, 10, 9, 14, tzinfo=UTC)
NORMAL = 0.2


def accepted(seconds: int, took: float | None, *, from_second: int = 0, a_second: int = 20) -> list[Graded]:
    """So many seconds of steady load of which every referral took as long."""
    return [
        Graded(START + timedelta(seconds=from_second + n // a_second, milliseconds=n % a_second), took)
        for n in range(seconds * a_second)
    ]


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_latency_that_never_left_its_normal_is_normal_at_once() -> None:
    assert normal_again(accepted(30, 0.2), START, after(30), NORMAL) == 0.0


def test_latency_is_normal_from_the_first_second_that_is_no_longer_slow() -> None:
    graded = [*accepted(7, 4.0), *accepted(23, 0.2, from_second=7)]

    assert normal_again(graded, START, after(30), NORMAL) == 7.0


def test_five_good_seconds_before_a_slow_stretch_are_no_recovery() -> None:
    graded = [
        *accepted(8, 0.2),
        *accepted(6, 4.0, from_second=8),
        *accepted(16, 0.2, from_second=14),
    ]

    assert normal_again(graded, START, after(30), NORMAL) == 14.0


def test_latency_that_stays_above_the_ceiling_is_never_normal() -> None:
    assert normal_again(accepted(30, ceiling(NORMAL) + 0.01), START, after(30), NORMAL) is None


def test_a_referral_that_is_never_graded_took_for_ever() -> None:
    graded = [*accepted(20, 0.2), *accepted(10, None, from_second=20)]

    assert p95(graded, START, after(30)) == inf
    assert normal_again(graded, START, after(30), NORMAL) is None


def test_seconds_in_which_nothing_was_accepted_prove_nothing() -> None:
    assert p95([], START, after(30)) == inf
    assert normal_again([], START, after(30), NORMAL) is None


def test_the_p95_is_of_what_was_accepted_in_the_span_alone() -> None:
    graded = [*accepted(10, 9.0), *accepted(10, 0.3, from_second=10)]

    assert p95(graded, after(10), after(20)) == 0.3


def test_a_very_low_normal_leaves_room_for_one_missed_wake_up() -> None:
    assert ceiling(0.01) == 0.1
    assert ceiling(0.2) == 0.2 * 1.5
