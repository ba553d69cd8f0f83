"""Game of 24 and Countdown: combine numbers by + - * / until one is the target. Exact, with fractions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import combinations
from random import Random

from agentkit.protocols import Traits
from benchmarks.planning.base import Task, seeded

Numbers = tuple[Fraction, ...]


@lru_cache(maxsize=200_000)
def results(numbers: Numbers, whole: bool) -> dict[str, Numbers]:
    """Return what two of the numbers can be combined to: by name, one name a result, the others going along, sorted.

    Args:
        numbers: sorted.
        whole: whether results have to be positive whole numbers, as in Countdown.
    """
    found: dict[Numbers, str] = {}
    for i, j in combinations(range(len(numbers)), 2):
        a, b = numbers[j], numbers[i]  # a >= b
        rest = [numbers[k] for k in range(len(numbers)) if k not in (i, j)]
        made = {f"{a} + {b}": a + b, f"{a} * {b}": a * b, f"{a} - {b}": a - b}
        if b:
            made[f"{a} / {b}"] = a / b
        if not whole:
            made[f"{b} - {a}"] = b - a
            if a:
                made[f"{b} / {a}"] = b / a
        for name, value in made.items():
            if not whole or (value > 0 and value.denominator == 1):
                found.setdefault(tuple(sorted([*rest, value])), name)
    return {name: after for after, name in found.items()}


@lru_cache(maxsize=2_000_000)
def solvable(numbers: Numbers, target: int, whole: bool) -> bool:
    """Whether the target can be made: of all the numbers, or, in Countdown, of some."""
    if (whole and target in numbers) or numbers == (target,):
        return True
    return len(numbers) > 1 and any(solvable(after, target, whole) for after in results(numbers, whole).values())


@dataclass
class NumbersTask(Task[Numbers]):
    """Make `target` of `numbers`."""

    numbers: Sequence[int] = (4, 6, 8, 8)
    target: int = 24
    whole: bool = False
    illegal: int = field(default=0, init=False)

    def start(self) -> Numbers:
        """Return the numbers, sorted."""
        return tuple(sorted(map(Fraction, self.numbers)))

    def moves(self, state: Numbers) -> Sequence[str]:
        """Return the combinations that lead to different numbers."""
        return list(results(state, self.whole))

    def move(self, state: Numbers, name: str) -> tuple[Numbers, float, bool]:
        """Combine two numbers."""
        after = results(state, self.whole).get(name)
        if after is None:
            self.illegal += 1
            raise ValueError(f"{name} cannot be done with {state}")
        reached = self._is_target(after)
        return after, float(reached), reached or len(after) == 1

    def _is_target(self, state: Numbers) -> bool:
        return (self.whole and self.target in state) or state == (self.target,)

    def reached(self, state: Numbers) -> bool:
        """Whether the target is there."""
        return self._is_target(state)

    def worth(self, state: Numbers) -> float:
        """Return 1 where the target can be made."""
        return float(solvable(state, self.target, self.whole))


def game24(seed: int, *, can: bool = True) -> list[int]:
    """Return four numbers from 1 to 13 of which 24 can be made, or cannot."""
    rng = Random(f"24/{seed}/{can}")
    while True:
        numbers = [rng.randint(1, 13) for _ in range(4)]
        if solvable(tuple(sorted(map(Fraction, numbers))), 24, False) is can:
            return numbers


def countdown(seed: int, count: int = 5) -> tuple[list[int], int]:
    """Return numbers and a target between 100 and 999 that can be made of some of them, but is none of them."""
    rng = Random(f"countdown/{seed}/{count}")
    while True:
        numbers = [rng.choice([25, 50, 75, 100]), *(rng.randint(1, 10) for _ in range(count - 1))]
        state: Numbers = tuple(sorted(map(Fraction, numbers)))
        walk = seeded(seed, "target", numbers)
        for _ in range(count - 1):
            state = walk.choice(list(results(state, True).values()))
        target = int(state[0])
        if 100 <= target <= 999:
            return numbers, target


def countdown_task(seed: int, *, strength: float = 1.0, accuracy: float | None = None) -> NumbersTask:
    """Return a Countdown task."""
    numbers, target = countdown(seed)
    task = NumbersTask(seed=seed, strength=strength, accuracy=accuracy, numbers=numbers, target=target, whole=True)
    task.traits = Traits()
    return task
