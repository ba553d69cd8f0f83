"""Tasks with chance and with more or less reward: bandits, and random MDPs without cycles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from agentkit.protocols import Action, Mode, Traits, Transition
from benchmarks.planning.base import Task, seeded


@dataclass
class Bandit(Task[int]):
    """Arms with a mean reward each; a pull shows it with noise. Nothing comes after."""

    means: Sequence[float] = (0.9, 0.5, 0.3, 0.1, 0.1)
    noise: float = 0.1  # standard deviation
    rng: Random = field(default_factory=Random)

    def __post_init__(self) -> None:
        self.traits = Traits(deterministic=False, graded=True, lookahead=1, most=None)
        self.rng = seeded(self.seed, "pulls")

    def start(self) -> int:
        """Return the only state."""
        return 0

    def moves(self, state: int) -> Sequence[str]:
        """Return the arms."""
        return [f"arm {n:03d}" for n in range(len(self.means))] if state == 0 else []

    def move(self, state: int, name: str) -> tuple[int, float, bool]:
        """Return the mean reward: what an arm is worth."""
        return 1, self.means[int(name[4:])], True

    def step(self, state: int, action: Action, mode: Mode) -> Transition[int] | None:
        """Pull an arm."""
        self.stepped += 1
        reward = self.means[int(action.key[4:])] + self.rng.gauss(0, self.noise)
        return Transition(state=1, observation="", reward=reward, terminal=True)

    def worth(self, state: int) -> float:
        """Return that nothing follows."""
        return 0.0


def random_bandit(seed: int, *, arms: int = 8, noise: float = 0.1, strength: float = 1.0) -> Bandit:
    """Return a bandit with uniform means in [0, 1], whose prior knows `strength` nats of each unit of reward."""
    rng = Random(f"bandit/{seed}/{arms}")
    return Bandit(seed=seed, strength=strength, means=[rng.random() for _ in range(arms)], noise=noise)


@dataclass
class RandomMdp(Task[tuple[int, int]]):
    """Layers of states; each action leads to states of the next layer, with chance if wanted, for some reward.

    All rewards of a way sum to at most 1.
    """

    layers: int = 6
    width: int = 12
    branching: int = 4
    stochastic: bool = False
    rng: Random = field(default_factory=Random)

    def __post_init__(self) -> None:
        self.traits = Traits(deterministic=not self.stochastic, graded=True, most=1.0)
        self.rng = seeded(self.seed, "chance")
        self._worth: dict[tuple[int, int], float] = {}

    def start(self) -> tuple[int, int]:
        """Return the one state of layer 0."""
        return (0, 0)

    def moves(self, state: tuple[int, int]) -> Sequence[str]:
        """Return the actions; none in the last layer."""
        return [f"go {n}" for n in range(self.branching)] if state[0] < self.layers else []

    def outcomes(self, state: tuple[int, int], name: str) -> list[tuple[float, tuple[int, int], float]]:
        """Return (probability, state, reward) of all that an action may lead to."""
        rng = seeded(self.seed, "edge", state, name)
        layer = state[0] + 1
        if not self.stochastic:
            return [(1.0, (layer, rng.randrange(self.width)), rng.random() ** 2 / self.layers)]
        first = rng.uniform(0.3, 0.7)
        return [
            (share, (layer, rng.randrange(self.width)), rng.random() ** 2 / self.layers) for share in (first, 1 - first)
        ]

    def move(self, state: tuple[int, int], name: str) -> tuple[tuple[int, int], float, bool]:
        """Return one outcome, by chance where there is any."""
        draw, outcomes = self.rng.random(), self.outcomes(state, name)
        chosen = outcomes[-1]
        for outcome in outcomes:
            draw -= outcome[0]
            if draw < 0:
                chosen = outcome
                break
        return chosen[1], chosen[2], chosen[1][0] == self.layers

    def quality(self, state: tuple[int, int], name: str) -> float:
        """Return the expectation over the outcomes."""
        return sum(share * (reward + self.worth(there)) for share, there, reward in self.outcomes(state, name))

    def worth(self, state: tuple[int, int]) -> float:
        """Return the best action's quality, by dynamic programming."""
        if state not in self._worth:
            self._worth[state] = max((self.quality(state, name) for name in self.moves(state)), default=0.0)
        return self._worth[state]
