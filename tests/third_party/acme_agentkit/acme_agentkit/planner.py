"""A stranger's planner: takes the last action it is offered, and says so."""

from __future__ import annotations

from random import Random

from agentkit.protocols import Evaluator, Plan, PlanBudget, S, SearchProblem


class LastPlanner:
    """Takes the last action."""

    name = "acme_last"

    def plan(
        self, problem: SearchProblem[S], state: S, *, evaluator: Evaluator[S], budget: PlanBudget, rng: Random
    ) -> Plan:
        """Return the last of the actions that the problem offers."""
        return Plan(action=problem.actions(state)[-1], strategy=self.name, why="the last shall be first")
