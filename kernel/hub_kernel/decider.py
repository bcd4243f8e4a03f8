"""The decider: the pure shape of every aggregate (Chassaing's decide, evolve, initial state)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Generic, TypeVar

Command = TypeVar("Command")
State = TypeVar("State")
F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class Decider(Generic[Command, State, F]):
    """``decide`` says which facts a command leads to, or raises; ``evolve`` folds one fact into the state.

    All three are pure: instants, ids and randomness come inside the command. No facts means the command
    changes nothing (a repeat).
    """

    initial: State
    decide: Callable[[Command, State], Sequence[F]]
    evolve: Callable[[State, F], State]

    def fold(self, facts: Iterable[F], state: State | None = None) -> State:
        """The state after these facts, from the initial one unless another is given."""
        return reduce(self.evolve, facts, self.initial if state is None else state)
