"""Whether a figure sampled over time stays level, and which processor time ran out. Pure."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

USED_UP: Final = 0.9
"""Of a processor, or of all: above this, what waits for it waits longer and longer."""

Series = Sequence[tuple[float, float]]
"""Seconds since the start, and the figure then; in order of time."""


@dataclass(frozen=True, slots=True)
class Trend:
    """A straight line through the second half of a series: its level, its growth over that half, the peak."""

    level: float
    growth: float
    highest: float

    @property
    def growth_share(self) -> float:
        """Growth as a share of the level at the beginning of the half."""
        return self.growth / self.level if self.level else 0.0


def second_half(series: Series) -> Trend:
    """The line of least squares through the later half. Raises ``ValueError`` for fewer than four samples."""
    if len(series) < 4:
        raise ValueError("too few samples for a trend: let it run longer")
    middle = (series[0][0] + series[-1][0]) / 2
    half = [(at, value) for at, value in series if at >= middle]
    at, values = zip(*half, strict=True)
    line = statistics.linear_regression(at, values)
    level = line.intercept + line.slope * at[0]
    return Trend(level, line.slope * (at[-1] - at[0]), max(values))


def what_runs_out(shares: Mapping[str, float], machine: float, processors: int) -> str | None:
    """What there is no more of, in words; ``None`` while processor time is left.

    ``shares`` are processors' worth of time by process; ``machine`` is that of everything on the machine.
    """
    if machine >= USED_UP * processors:
        used, ours = f"{machine:.2f} of {processors}", sum(shares.values())
        return f"processor time: {used} processors are used, {ours:.2f} of them by this run"
    whole = [name for name, share in shares.items() if share >= USED_UP]
    return f"one processor's time in {' and '.join(whole)}" if whole else None
