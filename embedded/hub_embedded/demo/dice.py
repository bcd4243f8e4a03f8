"""Seeded chance: the same seed gives the same demo day, byte for byte, on every machine."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """Draws from a stream of chance that follows from its seed alone."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)  # noqa: S311  invented people, not secrets

    def happens(self, share: float) -> bool:
        """Whether something that happens in this share of cases (0 to 1) happens now."""
        return self._random.random() < share

    def maybe(self, share: float) -> bool | None:
        """Yes in this share of cases, otherwise no; once in forty not stated at all."""
        yes = self.happens(share)
        return None if self.happens(0.025) else yes

    def pick(self, among: Sequence[T]) -> T:
        """One of these, all alike."""
        return among[int(self._random.random() * len(among))]

    def weighted(self, weights: Mapping[T, float]) -> T:
        """One of these, as often as its weight says."""
        left = self._random.random() * sum(weights.values())
        for choice, weight in weights.items():
            left -= weight
            if left < 0:
                return choice
        return choice

    def several(self, among: Sequence[T], count: int) -> list[T]:
        """Different ones of these, in a random order."""
        left = list(among)
        return [left.pop(int(self._random.random() * len(left))) for _ in range(min(count, len(left)))]

    def whole(self, lowest: int, highest: int) -> int:
        """A whole number between these, both included, all alike."""
        return lowest + int(self._random.random() * (highest - lowest + 1))

    def gap(self, mean: float) -> float:
        """The wait until the next of events that come at random, in the unit of its mean."""
        return self._random.expovariate(1.0 / mean)
