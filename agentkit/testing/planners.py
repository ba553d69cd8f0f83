"""The contract of planners, on a walk along the whole numbers."""
# ruff: noqa: D102  a test's name says what it holds

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import pytest

from agentkit.errors import PlanningError
from agentkit.protocols import Action, Mode, Plan, PlanBudget, Planner, Traits, Transition
from agentkit.types import Effect, Step, ToolCall


@dataclass
class Walk:
    """A search problem: from 0 along whole numbers to `goal`; `none` has no way out."""

    goal: int = 2
    choices: Sequence[int] = (1, -1)
    modes: list[Mode] = field(default_factory=list)  # of the steps that the planner took

    @property
    def traits(self) -> Traits:
        """Return that the goal is reached or not."""
        return Traits()

    def key(self, state: int) -> bytes:
        """Return the number as bytes."""
        return str(state).encode()

    def actions(self, state: int) -> Sequence[Action]:
        """Return one step for each choice."""
        return [
            Action(
                key=f"{choice:+d}",
                step=Step(kind="calls", calls=(ToolCall(id="c", tool="walk", arguments={"by": choice}),)),
            )
            for choice in self.choices
        ]

    def likeliest(self, state: int, *, aloud: bool = False) -> Action | None:
        """Return nothing: priors cost nothing."""
        return None

    def effect(self, state: int, action: Action) -> Effect:
        """Return that walking only looks."""
        return Effect.READ

    def fork(self, state: int) -> int | None:
        """Return the same number."""
        return state

    def step(self, state: int, action: Action, mode: Mode) -> Transition[int]:
        """Go one step, and note in which mode."""
        self.modes.append(mode)
        there = state + int(action.key)
        return Transition(
            state=there,
            observation=str(there),
            reward=float(there == self.goal),
            terminal=there == self.goal,
            verified=there == self.goal,
        )

    def priors(self, batch: Sequence[tuple[int, Sequence[Action]]]) -> list[list[float]]:
        """Return a preference for the first action."""
        return [[-1.0 - n for n in range(len(actions))] for _, actions in batch]

    def values(self, batch: Sequence[int]) -> list[tuple[float, float]] | None:
        """Return that nobody knows."""
        return None

    def learn(self, proven: Sequence[tuple[int, float]]) -> None:
        """Leave it: there is no source of values to be measured."""

    def tokens(self) -> int:
        """Return that it costs nothing."""
        return 0


class PlannerContract:
    """What every planner promises, on a walk along the whole numbers."""

    def make(self) -> Planner:
        """Return a planner."""
        raise NotImplementedError

    def _plan(self, walk: Walk, budget: PlanBudget | None = None, seed: int = 7) -> Plan:
        budget = budget or PlanBudget(simulations=8)
        return self.make().plan(walk, 0, evaluator=walk, budget=budget, rng=Random(seed))

    def test_it_is_a_planner(self) -> None:
        planner = self.make()
        assert isinstance(planner, Planner)
        assert planner.name

    def test_it_takes_one_of_the_actions_and_says_why(self) -> None:
        for choices in ((1, -1), (1,), (3, 2, 1, -1, -2)):
            plan = self._plan(Walk(choices=choices))
            assert int(plan.action.key) in choices
            assert plan.strategy
            assert plan.why

    def test_the_same_seed_gives_the_same_plan(self) -> None:
        assert self._plan(Walk(), seed=3) == self._plan(Walk(), seed=3)

    def test_it_never_acts_for_real(self) -> None:
        walk = Walk()
        self._plan(walk)
        assert "real" not in walk.modes

    def test_it_answers_when_there_is_nothing_left_to_spend(self) -> None:
        flag = threading.Event()
        flag.set()
        for budget in (
            PlanBudget(simulations=1),
            PlanBudget(simulations=8, deadline=time.monotonic() - 1),
            PlanBudget(simulations=8, cancel=flag),
        ):
            assert self._plan(Walk(), budget).action.key in {"+1", "-1"}

    def test_where_nothing_can_be_done_it_says_so(self) -> None:
        with pytest.raises(PlanningError):
            self._plan(Walk(choices=()))

    def test_its_tree_is_plain_data(self) -> None:
        tree = self._plan(Walk()).tree
        assert tree is None or json.loads(json.dumps(tree)) == tree
