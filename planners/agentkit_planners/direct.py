"""The planner that does not look ahead: it takes the action the model likes best."""

from __future__ import annotations

from random import Random

from agentkit.errors import PlanningError
from agentkit.protocols import Evaluator, Plan, PlanBudget, S, SearchProblem, TreeMemory

__all__ = ["DirectPlanner"]


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
        memory: TreeMemory | None = None,
    ) -> Plan:
        """Return the model's own choice, or the action with the highest prior."""
        own = problem.likeliest(state, aloud=True)
        if own is not None:
            return Plan(action=own, strategy=self.name, why="the model's own choice")
        actions = problem.actions(state)
        if not actions:
            raise PlanningError("there is nothing that could be done next: no action; offer a tool, or allow an answer")
        if len(actions) == 1:
            return Plan(action=actions[0], strategy=self.name, why="there is nothing else that could be done")
        logprobs = evaluator.priors([(state, actions)])[0]
        best = min(zip(actions, logprobs, strict=True), key=lambda pair: (-pair[1], pair[0].key))
        return Plan(action=best[0], strategy=self.name, why=f"most probable of {len(actions)} actions")
