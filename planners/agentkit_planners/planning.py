"""What all searching planners share: a root, a search, a choice, and the reason for it in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from agentkit.protocols import Ending, Evaluator, Plan, PlanBudget, S, SearchProblem, TreeMemory
from agentkit_planners.exploring import MIX, Explorer, Halted
from agentkit_planners.mcts.backup import proven
from agentkit_planners.posterior import Calibration, best_action
from agentkit_planners.spending import Meter
from agentkit_planners.tree import COMMIT

__all__ = ["SearchPlanner"]


@dataclass(kw_only=True)
class SearchPlanner:
    """A planner but for the search itself."""

    name: str = ""
    mix: float = MIX
    valued: bool = True  # whether it asks what states are worth
    lazy: bool = False  # whether states are opened with what the model would do by itself, the rest once it is wanted
    calibration: Calibration = field(default_factory=Calibration)

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
        """Search as far as the budget goes, and return the best action that is known; see `Planner.plan`."""
        explorer = self.explorer(problem, evaluator, budget, memory)
        try:
            explorer.begin(state)
        except Halted as halt:
            return self.planned(explorer, 0, f"nothing could be asked ({halt.ending.value})", halt.ending)
        return self.plan_with(explorer, rng)

    def explorer(
        self, problem: SearchProblem[S], evaluator: Evaluator[S], budget: PlanBudget, memory: TreeMemory | None
    ) -> Explorer[S]:
        """Return what this planner grows its tree with."""
        meter = Meter(budget, evaluator.tokens)
        return Explorer(problem, evaluator, meter, memory=memory, mix=self.mix, valued=self.valued, lazy=self.lazy)

    def plan_with(self, explorer: Explorer[S], rng: Random, *, because: str = "") -> Plan:
        """Return the plan of a search by an explorer whose root is opened; `because` says why this planner was taken."""
        root = explorer.tree.root
        if root.wide and len(root.actions) == 1:
            return self.planned(explorer, 0, "there is nothing else that could be done", Ending.CHOSEN)
        ending = self.search(explorer, rng)
        if self.valued:
            explorer.teach()
        action, why = self.choose(explorer)
        reasons = [why, *filter(None, [because]), _ended(ending, explorer)]
        return self.planned(explorer, action, "; ".join(reasons), ending)

    def search(self, explorer: Explorer[S], rng: Random) -> Ending:
        """Grow the explorer's tree from its opened root until something ends the search; return that."""
        raise NotImplementedError

    def choose(self, explorer: Explorer[S]) -> tuple[int, str]:
        """Return the root action to take, and why."""
        tree, traits = explorer.tree, explorer.problem.traits
        ways = tree.found if traits.deterministic and not traits.opponent else {}
        if tree.reached(traits):
            return max(ways, key=lambda action: (*ways[action], -action)), "a way to the goal was verified"
        worth = [proven(tree, tree.root, action) for action in range(len(tree.root.actions))]
        least = {action: total for action, (total, _) in ways.items()}
        action, mean = best_action(tree.root, self.calibration, worth, least)
        if least.get(action, -1.0) >= mean:
            return action, f"the best whole way found begins with it, and is worth {mean:.3g}"
        if tree.root.child[action] == COMMIT:
            return action, "nothing that could be tried is as promising, and this can only be done for real"
        if worth[action] is not None:
            return action, f"it is proven to be worth {mean:.3g}"
        visits = tree.root.visits[action]
        return action, f"worth {mean:.3g} by its prior and {visits} visit{'s' * (visits != 1)}"

    def planned(self, explorer: Explorer[Any], action: int, why: str, ending: Ending) -> Plan:
        """Return the plan to take a root action."""
        tree = explorer.tree
        plain = {**tree.to_plain(), "strategy": self.name, "chosen": action, "why": why, "ending": ending.value}
        return Plan(
            action=tree.root.actions[action],
            strategy=self.name,
            why=why,
            ending=ending,
            verified=tree.found.get(action, (0.0, False))[1],
            spent=explorer.meter.spent,
            tree={**plain, "spent": explorer.meter.spent, "before": dict(explorer.meter.before)},
        )


def _ended(ending: Ending, explorer: Explorer[Any]) -> str:
    spent = explorer.meter.spent
    counts = f"{spent['simulations']} simulations, {spent['calls']} model calls, {spent['tool_calls']} steps tried"
    return f"the search ended by {ending.value} after {counts}"
