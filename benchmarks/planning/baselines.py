"""What people do instead of searching: sample whole ways and keep the best, or keep the best few of each length."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from agentkit.protocols import Ending, S
from agentkit_planners.exploring import Explorer, Halted
from agentkit_planners.mcts.backup import back_up
from agentkit_planners.planning import SearchPlanner
from agentkit_planners.tree import Edge

__all__ = ["BeamPlanner", "BestOfNPlanner"]


@dataclass(kw_only=True)
class BestOfNPlanner(SearchPlanner):
    """Best of N: ways sampled from the prior to their end, the same check on each. States met before cost nothing."""

    name: str = "best_of_n"
    longest: int = 40

    def search(self, explorer: Explorer[S], rng: Random) -> Ending:
        """Sample until the goal is reached or the budget ends."""
        idle = 0
        try:
            while (ending := explorer.meter.ending()) is None:
                if explorer.tree.reached(explorer.problem.traits):
                    return Ending.GOAL
                before = len(explorer.tree.nodes)
                explorer.meter.simulations += 1
                self._one(explorer, rng)
                idle = 0 if len(explorer.tree.nodes) > before else idle + 1
                if explorer.deterministic and idle > 1_000:
                    return Ending.EXHAUSTED
        except Halted as halt:
            return halt.ending
        return ending

    def _one(self, explorer: Explorer[S], rng: Random) -> None:
        tree, number, path = explorer.tree, 0, list[Edge]()
        traits = explorer.problem.traits
        while len(path) < self.longest and explorer.meter.ending() in (None, Ending.SIMULATIONS):
            node = tree.nodes[number]
            action = rng.choices(range(len(node.actions)), node.priors)[0]
            path.append((number, action))
            if explorer.deterministic and node.child[action] >= 0:
                number = node.child[action]
                ends = not tree.nodes[number].actions
            else:
                tried = explorer.explore([(number, action)])[0]
                if tried.child < 0:
                    break
                number, ends = tried.child, tried.terminal
                if ends:
                    tree.whole_way(path, verified=tried.verified)
            if ends or (traits.lookahead is not None and len(path) >= traits.lookahead):
                break
        back_up(tree, path, most=traits.most, deterministic=explorer.deterministic)


@dataclass(kw_only=True)
class BeamPlanner(SearchPlanner):
    """Breadth first with a beam, as the Tree of Thoughts: of all next states the `width` best by value, or else by prior."""

    name: str = "beam"
    width: int = 5

    def search(self, explorer: Explorer[S], rng: Random) -> Ending:
        """Go level by level until the goal is reached, nothing is left, or the budget ends."""
        tree = explorer.tree
        beam: list[tuple[float, int, list[Edge]]] = [(1.0, 0, [])]
        seen = {0}
        try:
            while beam:
                reached: list[tuple[float, int, list[Edge]]] = []
                for share, number, path in beam:
                    node = tree.nodes[number]
                    for action, prior in enumerate(node.priors[: self.width]):
                        if (ending := explorer.meter.ending()) is not None:
                            return ending
                        explorer.meter.simulations += 1
                        tried = explorer.explore([(number, action)])[0]
                        way = [*path, (number, action)]
                        if tried.terminal:
                            tree.whole_way(way, verified=tried.verified)
                        back_up(tree, way, most=explorer.problem.traits.most, deterministic=explorer.deterministic)
                        if tree.reached(explorer.problem.traits):
                            return Ending.GOAL
                        if tried.child >= 0 and not tried.terminal and tried.child not in seen:
                            seen.add(tried.child)
                            reached.append((tree.nodes[tried.child].value or share * prior, tried.child, way))
                beam = sorted(reached, key=lambda one: (-one[0], one[1]))[: self.width]
        except Halted as halt:
            return halt.ending
        return Ending.EXHAUSTED
