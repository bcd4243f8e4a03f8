"""When latency is back to normal after a disturbance, from each referral's own instants. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import inf
from typing import Final

from bench.instants import Graded
from bench.measuring import percentile

WINDOW_SECONDS: Final = 5
TOLERANCE: Final = 1.5
"""How far above the p95 before still counts as normal: what two runs of the same load differ by anyway."""
FLOOR_SECONDS: Final = 0.1
"""A p95 below this is normal whatever it was before: the poll of a reader that missed a wake-up is longer."""
_P95: Final = 0.95


def p95(graded: Sequence[Graded], since: datetime, until: datetime) -> float:
    """The 95th percentile in seconds of what was accepted in [since, until); infinite with nothing there.

    What was never graded took for ever.
    """
    took = [inf if one.seconds is None else one.seconds for one in _between(graded, since, until)]
    return percentile(took, _P95) if took else inf


def ceiling(normal_seconds: float) -> float:
    """Up to where a p95 is as it was before."""
    return max(normal_seconds * TOLERANCE, FLOOR_SECONDS)


def normal_again(
    graded: Sequence[Graded], since: datetime, until: datetime, normal_seconds: float
) -> float | None:
    """How many whole seconds after ``since`` latency is normal and stays so; ``None``: not before ``until``.

    It is from the first second on of which both hold: the p95 of what was accepted in the five seconds from
    there is at most the ceiling, and so is that of everything accepted from there until ``until``.
    """
    highest = ceiling(normal_seconds)
    window = timedelta(seconds=WINDOW_SECONDS)
    start, waited = since, 0
    while start + window <= until:
        if p95(graded, start, start + window) <= highest and p95(graded, start, until) <= highest:
            return float(waited)
        start, waited = start + timedelta(seconds=1), waited + 1
    return None


def _between(graded: Sequence[Graded], since: datetime, until: datetime) -> list[Graded]:
    return [one for one in graded if since <= one.accepted_at < until]
