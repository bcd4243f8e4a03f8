from dataclasses import replace

from bench.sampling import Sample
from bench.soak import accepted_rate, judge

SERVICES = {"intake": 90.0, "triage": 100.0, "partner-gateway": 110.0, "oversight": 90.0}


def steady(samples: int = 13) -> list[Sample]:
    """A minute at ten referrals a second in which nothing grows."""
    return [
        Sample(
            at=100.0 + 5 * number,
            accepted=50 * number,
            memory_mb=SERVICES,
            processor_seconds={},
            machine_seconds=0.0,
            behind={"triage<-intake": 4, "intake->kafka": 2, "open assessments": 3},
            ends={"intake": 60 * number},
        )
        for number in range(samples)
    ]


def test_a_steady_run_has_no_fault() -> None:
    assert judge(steady(), 10) == []
    assert accepted_rate(steady()) == 10


def test_a_rate_that_was_not_kept_up_is_told() -> None:
    assert judge(steady(), 11) == ["accepted 10.0 referrals a second, not 11"]


def test_memory_that_goes_on_growing_is_told_by_service() -> None:
    samples = [
        replace(sample, memory_mb=SERVICES | {"triage": 100.0 + 4 * number})
        for number, sample in enumerate(steady())
    ]

    assert judge(samples, 10) == ["memory of triage grew by 24 MB from 124 MB"]


def test_a_lag_that_grows_by_more_than_a_second_of_events_is_told() -> None:
    samples = [
        replace(sample, behind={"triage<-intake": 4 * number}) for number, sample in enumerate(steady())
    ]

    assert judge(samples, 10) == ["triage<-intake: 24 more behind at the end than in the middle"]


def test_a_lag_once_above_ten_seconds_of_events_is_told() -> None:
    samples = steady()
    samples[-2] = replace(samples[-2], behind={"intake->kafka": 121})
    samples[-4] = replace(samples[-4], behind={"intake->kafka": 121})
    samples[-6] = replace(samples[-6], behind={"intake->kafka": 121})

    assert "intake->kafka: 121 behind at worst, with 12 a second coming" in judge(samples, 10)


def test_a_worklist_is_measured_by_the_referrals_that_come_in() -> None:
    samples = [replace(sample, behind={"open assessments": 101}) for sample in steady()]

    assert judge(samples, 10) == ["open assessments: 101 behind at worst, with 10 a second coming"]


def test_too_few_samples_are_no_proof() -> None:
    assert judge(steady(4), 10) == ["4 samples are too few to judge by: let it run longer"]
