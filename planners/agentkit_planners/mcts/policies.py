"""Ways of filling the arguments of the search: PUCT, Gumbel with sequential halving, and Bayes at the root."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random

from agentkit.protocols import Ending, S
from agentkit_planners.exploring import Explorer
from agentkit_planners.mcts.backup import proven
from agentkit_planners.mcts.halving import completed, considered_visits, score_considered
from agentkit_planners.mcts.search import Search
from agentkit_planners.mcts.select import FPU, NOWHERE, ROOT_FPU, Picker, closed, gumbel_interior, puct
from agentkit_planners.planning import SearchPlanner
from agentkit_planners.posterior import best_action, gradients, posterior
from agentkit_planners.tree import Edge, Tree

__all__ = ["BayesRootPlanner", "GumbelPlanner", "PuctPlanner"]

CONSIDERED = 16  # actions at the root, as in mctx


@dataclass(kw_only=True)
class PuctPlanner(SearchPlanner):
    """Monte Carlo tree search with PUCT everywhere; the calibrated posterior chooses at the end."""

    name: str = "mcts"
    batch: int = 1

    def search(self, explorer: Explorer[S], rng: Random) -> Ending:
        """Walk until the budget ends."""
        return Search(explorer, self.root(explorer, rng), self.interior(), batch=self.batch, settled=self.settled).run()

    def root(self, explorer: Explorer[S], rng: Random) -> Picker:
        """Return who chooses at the root."""
        return partial(puct, fpu=ROOT_FPU)

    def interior(self) -> Picker:
        """Return who chooses below it."""
        return partial(puct, fpu=FPU)

    def settled(self, tree: Tree) -> bool:
        """Whether the choice cannot change any more; here nothing says so."""
        return False


@dataclass(kw_only=True)
class GumbelPlanner(PuctPlanner):
    """Gumbel's noise and sequential halving at the root, the deterministic rule of mctx below it.

    `noise` is 0 when a choice is wanted and 1 when trees are wanted that explore. With `calibrated`, survivors are those
    with the highest posterior mean; without it, those of mctx: the highest g + logit + sigma(Q).
    """

    name: str = "gumbel"
    noise: float = 0.0
    scale: float = 0.1
    init: float = 50.0
    considered: int = CONSIDERED
    calibrated: bool = True

    def root(self, explorer: Explorer[S], rng: Random) -> Picker:
        """Return the schedule, over as many simulations as the budget has."""
        tree, budget = explorer.tree, explorer.meter.budget
        draws = [self.noise * -math.log(-math.log(rng.uniform(1e-12, 1 - 1e-12))) for _ in tree.root.actions]
        draws = tree.memo.setdefault("gumbel", draws)
        count = min([n for n in (budget.simulations, budget.calls, budget.tool_calls) if n is not None])
        return partial(self._scheduled, gumbel=draws, count=count)

    def interior(self) -> Picker:
        """Return the rule of Gumbel MuZero for inner nodes."""
        return partial(gumbel_interior, scale=self.scale, init=self.init)

    def choose(self, explorer: Explorer[S]) -> tuple[int, str]:
        """Return the last one standing, as mctx does; with `calibrated`, what every planner would choose."""
        tree = explorer.tree
        if self.calibrated or not tree.root.total:
            return super().choose(explorer)
        visits = tree.root.visits
        scores = self.scores(tree, max(visits), visits, tree.memo["gumbel"])
        best = max(range(len(scores)), key=lambda action: (scores[action], -action))
        return best, f"the last one standing, with {visits[best]} visits"

    def scores(self, tree: Tree, considered: int, visits: list[int], gumbel: list[float]) -> list[float]:
        """Return what ranks the actions that were visited `considered` times."""
        root = tree.root
        if self.calibrated:
            means = [mean + draw for (mean, _), draw in zip(posterior(root, self.calibration), gumbel, strict=True)]
            return [mean if count == considered else -math.inf for mean, count in zip(means, visits, strict=True)]
        logits = [math.log(prior) for prior in root.priors]
        return score_considered(visits, considered, gumbel, logits, completed(root, self.scale, self.init))

    def _scheduled(
        self,
        tree: Tree,
        number: int,
        path: Collection[int],
        pending: Mapping[Edge, int],
        *,
        gumbel: list[float],
        count: int,
    ) -> int:
        root = tree.root
        visits = [n + pending.get((0, action), 0) for action, n in enumerate(root.visits)]
        ways = [action for action in range(len(visits)) if not closed(tree, root, action, path)]
        if not ways:
            return NOWHERE
        table = considered_visits(min(self.considered, len(visits)), count)
        done = sum(visits)
        considered = table[done] if done < len(table) else max(visits)
        scores = self.scores(tree, considered, visits, gumbel)
        best = max(ways, key=lambda action: (scores[action], -action))
        if scores[best] > -math.inf:
            return best
        return min(ways, key=lambda action: (visits[action], action))  # those of this phase are closed


@dataclass(kw_only=True)
class BayesRootPlanner(GumbelPlanner):
    """At the root, the visit that is worth most: knowledge gradient in short searches, sequential halving in long ones.

    The knowledge gradient (Frazier, Powell and Dayanik 2008) is by how much one more visit is expected to raise the best
    posterior mean. It has lower simple regret than upper confidence bounds, which visit the best so far again and again
    where there is little noise. From two simulations an action on, halving is as good. PUCT below the root.
    """

    name: str = "bayes_root"

    def root(self, explorer: Explorer[S], rng: Random) -> Picker:
        """Return the knowledge gradient or the schedule, by the size of the budget."""
        budget = explorer.meter.budget
        count = min([n for n in (budget.simulations, budget.calls, budget.tool_calls) if n is not None])
        if count >= 2 * len(explorer.tree.root.actions):
            return super().root(explorer, rng)
        return self._most_informative

    def interior(self) -> Picker:
        """Return PUCT."""
        return partial(puct, fpu=FPU)

    def settled(self, tree: Tree) -> bool:
        """Whether the best mean is above every other's bound, three standard deviations of both away."""
        means = posterior(tree.root, self.calibration)
        worth = [proven(tree, tree.root, action) for action in range(len(means))]
        best, mean = best_action(tree.root, self.calibration, worth)
        if tree.root.visits[best] == 0:
            return False
        return all(
            mean - other > 3 * math.hypot(means[best][1], spread)
            for a, (other, spread) in enumerate(means)
            if a != best
        )

    def _most_informative(self, tree: Tree, number: int, path: Collection[int], pending: Mapping[Edge, int]) -> int:
        root = tree.root
        gains = gradients(root, self.calibration, [pending.get((0, a), 0) for a in range(len(root.actions))])
        ways = [action for action in range(len(gains)) if not closed(tree, root, action, path)]
        return max(ways, key=lambda action: (gains[action], -action), default=NOWHERE)
