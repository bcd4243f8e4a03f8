from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hub_kernel.circuit_breaker import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    STREAMS_TO_OPEN,
    CircuitBreaker,
)

STREAMS = st.sampled_from([f"entry-{n}" for n in range(6)])
JITTERS = st.floats(0, 1, exclude_max=True)


def opened(*, now: float = 0.0, jitter: float = 0.0) -> CircuitBreaker:
    breaker = CircuitBreaker()
    for stream_id in ("entry-a", "entry-b", "entry-c"):
        breaker = breaker.failed(stream_id, now, jitter)
    return breaker


def test_the_third_stream_that_fails_in_a_row_opens_it() -> None:
    two = CircuitBreaker().failed("entry-a", 0, 0).failed("entry-b", 0, 0)
    assert (two.is_open, two.failed("entry-c", 0, 0).is_open) == (False, True)


def test_one_stream_that_fails_however_often_does_not_open_it() -> None:
    breaker = CircuitBreaker()
    for now in range(100):
        breaker = breaker.failed("entry-a", now, 0)
    assert breaker == CircuitBreaker(frozenset({"entry-a"}))


def test_a_success_in_between_begins_the_count_again() -> None:
    breaker = CircuitBreaker().failed("entry-a", 0, 0).failed("entry-b", 0, 0).succeeded()
    assert not breaker.failed("entry-c", 0, 0).failed("entry-d", 0, 0).is_open


def test_the_pauses_double_from_the_first_to_the_longest() -> None:
    breaker, pauses, now = opened(), [], 0.0
    for _ in range(8):
        pauses.append(breaker.pause_seconds(now))
        now += pauses[-1]
        breaker = breaker.failed("entry-c", now, 0)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


def test_what_was_under_way_when_it_opened_does_not_lengthen_the_pause() -> None:
    breaker = opened(now=10)
    assert breaker.failed("entry-d", 10.5, 0) == breaker
    assert breaker.failed("entry-d", 11, 0).pause_seconds(11) == 2


@given(jitter=JITTERS)
def test_jitter_takes_off_at_most_half_of_a_pause(jitter: float) -> None:
    assert FIRST_PAUSE_SECONDS / 2 <= opened(jitter=jitter).pause_seconds(0) <= FIRST_PAUSE_SECONDS


class Breaking(RuleBasedStateMachine):
    """Any order of failures, successes and time, against the streams failed since the last success."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker, self.now = CircuitBreaker(), 0.0
        self.failed_since: set[str] = set()

    @rule(stream_id=STREAMS, jitter=JITTERS)
    def fail(self, stream_id: str, jitter: float) -> None:
        """One more failure, of any stream."""
        before = self.breaker
        self.breaker = before.failed(stream_id, self.now, jitter)
        if before.pause_seconds(self.now) > 0:
            assert self.breaker == before
        elif self.breaker.is_open:
            assert 0 < self.breaker.pause_seconds(self.now) <= LONGEST_PAUSE_SECONDS
            assert self.breaker.failed_tries > before.failed_tries
        self.failed_since.add(stream_id)

    @rule()
    def succeed(self) -> None:
        """An event is applied."""
        self.breaker = self.breaker.succeeded()
        self.failed_since.clear()

    @rule(seconds=st.floats(0, 120))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @rule()
    def wait_until_it_is_due(self) -> None:
        """As much time passes as the breaker asks for."""
        self.now += self.breaker.pause_seconds(self.now) + 0.001

    @invariant()
    def it_is_open_exactly_when_enough_streams_failed_in_a_row(self) -> None:
        """Never on fewer, never closed on as many."""
        assert self.breaker.is_open == (len(self.failed_since) >= STREAMS_TO_OPEN)

    @invariant()
    def a_try_is_always_due_within_the_longest_pause(self) -> None:
        """However long it was away."""
        assert self.breaker.pause_seconds(self.now) <= LONGEST_PAUSE_SECONDS
        assert self.breaker.is_open or self.breaker.pause_seconds(self.now) == 0


TestBreaking = Breaking.TestCase
