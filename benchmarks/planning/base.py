"""What the tasks share: actions by name, a prior that is right as often as asked, and values that are wrong as often."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Generic, TypeVar

from agentkit.protocols import Action, Mode, Traits, Transition
from agentkit.types import Effect, Step, ToolCall

State = TypeVar("State", bound=Hashable)


def action(name: str) -> Action:
    """Return the action of that name."""
    return Action(key=name, step=Step(kind="calls", calls=(ToolCall(id="c", tool="move", arguments={"to": name}),)))


def seeded(*parts: Any) -> Random:
    """Return a generator for these parts: the same in every process, independent for others."""
    return Random(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest())


@dataclass
class Task(Generic[State]):
    """A search problem and its evaluator. Subclasses say what can be done, where it leads, and what a state is worth.

    The prior's logits are `strength` times what an action is worth, and noise of variance 1; a value is right with
    probability `accuracy`, otherwise it is that of a state as unlike as can be. No accuracy: no values.
    """

    seed: int = 0
    strength: float = 1.0
    accuracy: float | None = None
    stepped: int = field(default=0, init=False)
    opened: list[bytes] = field(default_factory=list, init=False)  # states whose actions were asked for

    traits: Traits = field(default=Traits(), init=False)

    def start(self) -> State:
        """Return the state a plan is asked for."""
        raise NotImplementedError

    def moves(self, state: State) -> Sequence[str]:
        """Return the names of what can be done."""
        raise NotImplementedError

    def move(self, state: State, name: str) -> tuple[State, float, bool]:
        """Return where it leads, the reward, and whether it ends there."""
        raise NotImplementedError

    def worth(self, state: State) -> float:
        """Return the greatest expected reward from here on, exactly."""
        raise NotImplementedError

    def key(self, state: State) -> bytes:
        """Return a canonical name of the state."""
        return repr(state).encode()

    def actions(self, state: State) -> Sequence[Action]:
        """Return the actions, in an order that says nothing."""
        self.opened.append(self.key(state))
        return [action(name) for name in self.moves(state)]

    def likeliest(self, state: State, *, aloud: bool = False) -> Action | None:
        """Return nothing: priors cost nothing."""
        return None

    def effect(self, state: State, action: Action) -> Effect:
        """Return that it only thinks."""
        return Effect.PURE

    def fork(self, state: State) -> State | None:
        """Return the state: it is a value."""
        return state

    def step(self, state: State, action: Action, mode: Mode) -> Transition[State] | None:
        """Return where it leads."""
        self.stepped += 1
        there, reward, ends = self.move(state, action.key)
        reached = ends and self.reached(there)
        return Transition(state=there, observation=str(there), reward=reward, terminal=ends, verified=reached)

    def reached(self, state: State) -> bool:
        """Whether a state in which it ends is the goal."""
        return True

    def quality(self, state: State, name: str) -> float:
        """Return what an action is worth, exactly."""
        there, reward, ends = self.move(state, name)
        return reward + (0.0 if ends else self.worth(there))

    def priors(self, batch: Sequence[tuple[State, Sequence[Action]]]) -> list[list[float]]:
        """Return logits, the same for the same state and seed."""
        found = []
        for state, actions in batch:
            name = self.key(state)
            found.append(
                [
                    self.strength * self.quality(state, one.key) + seeded(self.seed, "prior", name, one.key).gauss(0, 1)
                    for one in actions
                ]
            )
        return found

    def values(self, batch: Sequence[State]) -> list[tuple[float, float]] | None:
        """Return values that are right as often as was asked for."""
        if self.accuracy is None:
            return None
        found = []
        for state in batch:
            right = seeded(self.seed, "value", self.key(state)).random() < self.accuracy
            worth = self.worth(state)
            found.append((worth if right else 1.0 - worth, self.accuracy * (1 - self.accuracy)))
        return found

    def learn(self, proven: Sequence[tuple[State, float]]) -> None:
        """Leave it: there is no source of values to be measured."""

    def tokens(self) -> int:
        """Return nothing: calls are counted."""
        return 0

    def regret(self, name: str) -> float:
        """Return how much less than the best an action is worth at the start."""
        start = self.start()
        return max(self.quality(start, other) for other in self.moves(start)) - self.quality(start, name)


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean and its 95 % interval (normal)."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, mean, mean
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    half = 1.96 * deviation / math.sqrt(len(values))
    return mean, mean - half, mean + half
