"""Which strategy suits a task: the planner that people get when they ask for search without saying how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from agentkit.protocols import Ending, Evaluator, Plan, PlanBudget, S, SearchProblem, Traits, TreeMemory
from agentkit.types import Effect
from agentkit_planners.direct import DirectPlanner
from agentkit_planners.exploring import Explorer, Halted
from agentkit_planners.lds import LdsPlanner
from agentkit_planners.mcts.policies import BayesRootPlanner, GumbelPlanner, PuctPlanner
from agentkit_planners.planning import SearchPlanner

__all__ = ["AutoPlanner", "strategy_for"]

CONFIDENT = 0.9  # prior of an action that only looks, and is taken without a search


def strategy_for(traits: Traits) -> tuple[Callable[[], SearchPlanner], str]:
    """Return what makes the planner that suits a kind of task, and why it does."""
    if traits.opponent:
        return GumbelPlanner, "somebody plays against us"
    if traits.lookahead == 1:
        return BayesRootPlanner, "only one step can be looked ahead"
    if traits.graded or not traits.deterministic:
        return PuctPlanner, "there is more and less reward" if traits.graded else "the same step may lead elsewhere"
    return LdsPlanner, "a goal is reached or it is not, and each step leads to one state"


@dataclass(kw_only=True)
class AutoPlanner:
    """Searches where that can pay, by the strategy that suits the task, and takes the model's own choice elsewhere.

    No search where nothing says what is good, where there is one action, or where the model is `confident` of one that
    only looks: a mistake is cheap there, and the next step can mend it. An answer is none of these: it ends the run.
    """

    name: str = "auto"
    confident: float = CONFIDENT
    choose: Callable[[Traits], tuple[Callable[[], SearchPlanner], str]] = field(default=strategy_for)

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
        """Return the plan of the strategy that suits, or the most probable action; see `Planner.plan`."""
        if not problem.traits.checked:
            plan = DirectPlanner().plan(problem, state, evaluator=evaluator, budget=budget, rng=rng)
            why = f"{plan.why}: nothing says what would be better"
            return replace(plan, strategy=f"{self.name}: {plan.strategy}", why=why)
        make, kind = self.choose(problem.traits)
        planner = make()
        planner.name = f"{self.name}: {planner.name}"
        explorer = planner.explorer(problem, evaluator, budget, memory)
        try:
            explorer.begin(state)
        except Halted as halt:
            return planner.planned(explorer, 0, f"nothing could be asked ({halt.ending.value})", halt.ending)
        if easy := self._easy(explorer):
            planner.name = f"{self.name}: direct"
            return planner.planned(explorer, 0, easy, Ending.CHOSEN)
        return planner.plan_with(explorer, rng, because=kind)

    def _easy(self, explorer: Explorer[S]) -> str:
        """Return why there is no need to search, or nothing."""
        root = explorer.tree.root
        if root.wide and len(root.actions) == 1:
            return "there is nothing else that could be done"
        first = root.actions[0]
        looks = first.step.kind == "calls" and explorer.problem.effect(root.state, first) in (Effect.PURE, Effect.READ)
        own = root.priors[0]
        if root.wide:
            own = (own - explorer.mix / len(root.actions)) / (1 - explorer.mix)  # what was mixed in taken out
        if own >= self.confident and looks and not root.total:
            return f"the model is confident ({own:.2f}), and it only looks"
        return ""
