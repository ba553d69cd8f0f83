"""Does the goal notice a wrong call? One argument of one call is changed, all calls are run again, the goal is checked.

The new value is one that the world knows: another name, identifier or choice, another number. The answer stays as it is, and
so do later calls. What the row stores as results is not looked at: only the goal decides, and whether arguments were said or
shown.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from agentkit_synthesis.tooluse.checking import Row, calls_of, goal_problems, replayed, ungrounded, world_of

__all__ = ["Mutations", "mutants", "mutations"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutations:
    """What came of changed calls.

    Attributes:
        tried: rows with one argument changed, by family.
        by_goal: those after which the state, the answer or the calls were not those of the goal.
        noticed: those, and those with an argument that was neither said nor shown when the call was made.
        unnoticed: `family: position of the call, of how many` of the others.
    """

    tried: Mapping[str, int]
    by_goal: Mapping[str, int]
    noticed: Mapping[str, int]
    unnoticed: Mapping[str, int]

    @property
    def share(self) -> float:
        """Share of all that was noticed, 0 to 1; 1 where nothing could be changed."""
        tried = sum(self.tried.values())
        return sum(self.noticed.values()) / tried if tried else 1.0


def mutants(row: Row, rng: Random) -> Iterator[tuple[Row, int]]:
    """Yield the row with each argument of each call changed once, and the call's number from 0."""
    world = world_of(row)
    known = sorted(set(_texts(world.state)))
    numbers = [call for message in row["messages"] for call in message.get("tool_calls") or ()]
    for number in range(len(numbers)):
        for name in numbers[number]["function"]["arguments"]:
            made = copy.deepcopy(dict(row))
            calls = [call for message in made["messages"] for call in message.get("tool_calls") or ()]
            function = calls[number]["function"]
            face = world.named(function["name"])
            param = next((one for one in face.op.params if face.names[one.key] == name), None) if face else None
            choices = param.enum if param is not None and param.enum else known
            function["arguments"][name] = _other(function["arguments"][name], list(choices), rng)
            yield made, number


def mutations(rows: Iterable[Row], rng: Random) -> Mutations:
    """Return how many changed calls the goal notices."""
    tried: Counter[str] = Counter()
    by_goal: Counter[str] = Counter()
    noticed: Counter[str] = Counter()
    unnoticed: Counter[str] = Counter()
    for row in rows:
        total = len(calls_of(row))
        for made, number in mutants(row, rng):
            family = row["family"]
            tried[family] += 1
            world, results = replayed(made)
            wrong = bool(goal_problems(made, world.fresh(), world.state, results))
            by_goal[family] += wrong
            if wrong or any(ungrounded(made, world, results)):
                noticed[family] += 1
            else:
                unnoticed[f"{family}: call {number + 1} of {total}"] += 1
    return Mutations(tried=dict(tried), by_goal=dict(by_goal), noticed=dict(noticed), unnoticed=dict(unnoticed))


def _texts(state: Any) -> Iterator[str]:
    """Yield the keys and texts of a state."""
    if isinstance(state, Mapping):
        for key, value in state.items():
            yield key
            yield from _texts(value)
    elif isinstance(state, list):
        for value in state:
            yield from _texts(value)
    elif isinstance(state, str):
        yield state


def _other(value: Any, known: list[str], rng: Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + rng.choice((-2, -1, 1, 2, 10))
    shape = [one for one in known if one and one != value and one[:2] == value[:2]]
    return rng.choice(shape or [one for one in known if one and one != value])
