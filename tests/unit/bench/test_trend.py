import pytest
from bench.trend import second_half, what_runs_out


def series(*values: float) -> list[tuple[float, float]]:
    return [(5.0 * number, value) for number, value in enumerate(values)]


def test_a_figure_that_grew_only_in_the_first_half_is_level() -> None:
    trend = second_half(series(10, 40, 70, 100, 100, 100, 100))

    assert (trend.level, trend.growth, trend.growth_share, trend.highest) == (100, 0, 0, 100)


def test_a_figure_that_goes_on_growing_shows_its_growth_over_the_second_half() -> None:
    trend = second_half(series(100, 102, 104, 106, 108, 110, 112, 114, 116))

    assert trend.level == pytest.approx(108)
    assert trend.growth == pytest.approx(8)
    assert trend.growth_share == pytest.approx(8 / 108)


def test_one_high_sample_is_the_peak_and_no_trend() -> None:
    trend = second_half(series(5, 5, 5, 5, 5, 5, 50, 5, 5))

    assert trend.highest == 50
    assert trend.growth == pytest.approx(0)


def test_a_figure_that_shrinks_has_negative_growth() -> None:
    assert second_half(series(9, 9, 9, 9, 8, 7, 6, 5, 4)).growth == pytest.approx(-4)


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="let it run longer"):
        second_half(series(1, 2, 3))


def test_processor_time_runs_out_when_all_processors_are_used() -> None:
    assert what_runs_out({"intake": 0.5, "triage": 0.7}, 1.9, 2) == (
        "processor time: 1.90 of 2 processors are used, 1.20 of them by this run"
    )


def test_one_process_can_run_out_of_its_one_processor_alone() -> None:
    assert what_runs_out({"intake": 0.3, "triage": 0.95}, 1.3, 4) == "one processor's time in triage"


def test_nothing_runs_out_while_processors_are_idle() -> None:
    assert what_runs_out({"intake": 0.3, "triage": 0.4}, 0.9, 2) is None
