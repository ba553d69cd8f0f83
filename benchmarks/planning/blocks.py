"""Blocksworld: move blocks from stack to stack until they stand as wanted. The simulator is symbolic, the oracle exact."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random

from benchmarks.planning.base import Task

Stacks = frozenset[tuple[str, ...]]  # each from the table up

TABLE = "table"
DISCOUNT = 0.95


def legal(state: Stacks) -> dict[str, Stacks]:
    """Return the states that moving one clear block leads to, by the move's name."""
    found = {}
    for stack in state:
        block, below = stack[-1], stack[:-1]
        rest = state - {stack} | ({below} if below else set())
        if below:
            found[f"{block} to {TABLE}"] = frozenset(rest | {(block,)})
        for other in rest - {below}:
            found[f"{block} to {other[-1]}"] = frozenset(rest - {other} | {(*other, block)})
    return found


@lru_cache(maxsize=256)
def distances(goal: Stacks) -> dict[Stacks, int]:
    """Return how many moves the goal is away, for every state: moves can be taken back, so it is found from its end."""
    found, waiting = {goal: 0}, deque([goal])
    while waiting:
        state = waiting.popleft()
        for after in legal(state).values():
            if after not in found:
                found[after] = found[state] + 1
                waiting.append(after)
    return found


@dataclass
class BlocksTask(Task[Stacks]):
    """Get from `initial` to `goal`."""

    initial: Stacks = frozenset()
    goal: Stacks = frozenset()
    longest: int = field(default=40)

    def start(self) -> Stacks:
        """Return how the blocks stand."""
        return self.initial

    def key(self, state: Stacks) -> bytes:
        """Return the stacks in order."""
        return repr(sorted(state)).encode()

    def moves(self, state: Stacks) -> Sequence[str]:
        """Return what a clear block can be put on."""
        return sorted(legal(state))

    def move(self, state: Stacks, name: str) -> tuple[Stacks, float, bool]:
        """Move a block."""
        after = legal(state)[name]
        return after, float(after == self.goal), after == self.goal

    def worth(self, state: Stacks) -> float:
        """Return the goal's reward, discounted by the number of moves to it."""
        return float(DISCOUNT ** distances(self.goal)[state])


def blocks_task(
    seed: int, *, blocks: int = 5, away: tuple[int, int] = (4, 8), strength: float = 1.0, accuracy: float | None = None
) -> BlocksTask:
    """Return a task whose goal is between so many moves away."""
    rng = Random(f"blocks/{seed}/{blocks}/{away}")
    goal = _random_stacks(rng, blocks)
    there = distances(goal)
    far = sorted((s for s, d in there.items() if away[0] <= d <= away[1]), key=lambda s: sorted(s))
    if not far:
        return blocks_task(seed + 1_000_003, blocks=blocks, away=away, strength=strength, accuracy=accuracy)
    return BlocksTask(seed=seed, strength=strength, accuracy=accuracy, initial=rng.choice(far), goal=goal)


def _random_stacks(rng: Random, blocks: int) -> Stacks:
    names = list("ABCDEFGH"[:blocks])
    rng.shuffle(names)
    stacks: list[list[str]] = []
    for name in names:
        place = rng.randrange(len(stacks) + 1)
        if place == len(stacks):
            stacks.append([name])
        else:
            stacks[place].append(name)
    return frozenset(map(tuple, stacks))
