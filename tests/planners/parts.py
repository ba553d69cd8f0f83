"""Small tasks with known answers, and a planner's run on one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from agentkit.protocols import Action, Mode, Plan, PlanBudget, Planner, Traits, Transition
from agentkit_planners.best_first import BestFirstPlanner
from agentkit_planners.lds import LdsPlanner
from agentkit_planners.mcts.policies import BayesRootPlanner, GumbelPlanner, PuctPlanner
from agentkit_planners.selector import AutoPlanner
from benchmarks.planning.base import Task

SEARCHING = {
    "lds": LdsPlanner,
    "best_first": BestFirstPlanner,
    "mcts": PuctPlanner,
    "gumbel": GumbelPlanner,
    "bayes_root": BayesRootPlanner,
}
ALL = {**SEARCHING, "auto": AutoPlanner}


@dataclass
class Graph(Task[str]):
    """States by name, and what leads where: `edges[state][action] = (state, reward)`. States without edges are ends."""

    edges: Mapping[str, Mapping[str, tuple[str, float]]] = field(default_factory=dict)
    first: str = "a"
    logits: Mapping[str, float] = field(default_factory=dict)  # by action; 0 where it is not named
    given: Mapping[str, float] | None = None  # values by state
    backwards: bool = False  # actions are listed the other way round
    kind: Traits = field(default_factory=Traits)

    def __post_init__(self) -> None:
        self.traits = self.kind

    def start(self) -> str:
        return self.first

    def moves(self, state: str) -> Sequence[str]:
        names = list(self.edges.get(state, ()))
        return names[::-1] if self.backwards else names

    def move(self, state: str, name: str) -> tuple[str, float, bool]:
        there, reward = self.edges[state][name]
        return there, reward, there not in self.edges

    def reached(self, state: str) -> bool:
        return state.startswith("goal")

    def worth(self, state: str) -> float:
        return max((self.quality(state, name) for name in self.edges.get(state, ())), default=0.0)

    def priors(self, batch: Sequence[tuple[str, Sequence[Action]]]) -> list[list[float]]:
        return [[self.logits.get(action.key, 0.0) for action in actions] for _, actions in batch]

    def values(self, batch: Sequence[str]) -> list[tuple[float, float]] | None:
        return None if self.given is None else [(self.given.get(state, 0.0), 0.0) for state in batch]


def planned(
    planner: Planner, task: Task[Any], simulations: int = 64, *, seed: int = 0, memory: Any = None, **budget: Any
) -> Plan:
    given = PlanBudget(simulations=simulations, **budget)
    return planner.plan(task, task.start(), evaluator=task, budget=given, rng=Random(seed), memory=memory)


def told(plan: Plan) -> str:
    """All that a search decided, as text."""
    return json.dumps({**dict(plan.tree or {}), "action": plan.action.key}, sort_keys=True)


class Kept:
    """A tree's memory, in JSON, that can be made to fail after so many saves: as a process that is killed."""

    def __init__(self, text: str | None = None, *, killed_after: int | None = None) -> None:
        self.text, self.saves, self.killed_after = text, 0, killed_after

    def load(self) -> Mapping[str, Any] | None:
        return None if self.text is None else json.loads(self.text)

    def save(self, tree: Mapping[str, Any]) -> None:
        self.text = json.dumps(tree)
        self.saves += 1
        if self.saves == self.killed_after:
            raise KeyboardInterrupt


@dataclass
class Stepping(Graph):
    """A graph whose steps can be made to do something besides."""

    at: Mapping[str, Any] = field(default_factory=dict)  # action -> what to call

    def step(self, state: str, action: Action, mode: Mode) -> Transition[str] | None:
        if action.key in self.at:
            self.at[action.key]()
        return super().step(state, action, mode)
