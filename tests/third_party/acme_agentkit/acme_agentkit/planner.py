"""A stranger's planner: takes the last action it is offered, and says so."""

from __future__ import annotations

from random import Random

from agentkit.errors import PlanningError
from agentkit.protocols import Evaluator, Plan, PlanBudget, S, SearchProblem, TreeMemory


class LastPlanner:
    """Takes the last action."""

    name = "acme_last"

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
        """Return the last of the actions that the problem offers."""
        actions = problem.actions(state)
        if not actions:
            raise PlanningError("there is no last action where there is none")
        return Plan(action=actions[-1], strategy=self.name, why="the last shall be first")
