"""The planner that does not look ahead: it takes the action the model likes best."""

from __future__ import annotations

from random import Random
from typing import TypeVar

from agentkit.protocols import Evaluator, Plan, PlanBudget, SearchProblem

S = TypeVar("S")


class DirectPlanner:
    """Takes the most probable action; among equals, the first by key. One model call a step."""

    name = "direct"

    def plan(
        self,
        problem: SearchProblem[S],
        state: S,
        *,
        evaluator: Evaluator[S],
        budget: PlanBudget,
        rng: Random,
    ) -> Plan:
        """Return the best action; asks for priors only when there is a choice."""
        actions = problem.actions(state)
        if len(actions) == 1:
            return Plan(action=actions[0], strategy=self.name, why="the model's own choice")
        logprobs = evaluator.priors([(state, actions)])[0]
        best = min(zip(actions, logprobs, strict=True), key=lambda pair: (-pair[1], pair[0].key))
        return Plan(action=best[0], strategy=self.name, why=f"most probable of {len(actions)} actions")
