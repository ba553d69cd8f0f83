"""Search in the order of a cost: the cheapest way not yet taken is taken next, and nothing is valued but its end.

What the cost is makes the method: how often it went against the prior's ranks (`lds`), or how improbable it is for its
length (`best_first`). A state that is met again is opened once; where the new way is cheaper, what lies beyond is too.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from agentkit.errors import PlanningError
from agentkit.protocols import Ending, S
from agentkit_planners.exploring import Explorer, Halted
from agentkit_planners.mcts.backup import refresh
from agentkit_planners.planning import SearchPlanner
from agentkit_planners.tree import COMMIT, DROPPED, UNTRIED, Edge, Tree

__all__ = ["OrderedPlanner", "Way"]


@dataclass(frozen=True, slots=True)
class Way:
    """How an edge would be reached: all that a cost may depend on."""

    depth: int  # steps, this one included
    logprob: float  # of all of them, nats
    discrepancies: int  # sum of the ranks of the actions taken, 0 being the most probable that can be tried
    value: float  # what the state it starts from is thought to be worth; 0 where nobody can tell
    rank: int  # of the last action


Cost = Callable[[Way], tuple[float, ...]]
"""What is cheaper is taken first; among equals, what leaves from the state that was met first."""


@dataclass(kw_only=True)
class OrderedPlanner(SearchPlanner):
    """A search in the order of `cost`."""

    batch: int = 1  # states that are opened together

    def cost(self, way: Way) -> tuple[float, ...]:
        """Return what a way costs; the cheapest is taken next."""
        raise NotImplementedError

    def search(self, explorer: Explorer[S], rng: Random) -> Ending:
        """Take the cheapest edges until one ends at the goal, none is left, or the budget ends.

        Raises:
            PlanningError: somebody plays against us; there is no order for that.
        """
        if explorer.problem.traits.opponent:
            raise PlanningError(f"planner '{self.name}' cannot play against an opponent; use mcts")
        frontier = _Frontier(explorer.tree, self.cost)
        ending: Ending | None = None
        try:
            while (ending := explorer.meter.ending() or self._finished(explorer, frontier)) is None:
                edges = frontier.cheapest(explorer.meter.room(self.batch))
                explorer.meter.simulations += max(1, len(edges))
                beyond = [edge for edge in edges if explorer.tree.is_beyond(edge)]
                for number, _ in beyond:
                    explorer.widen(number)
                    frontier.offer(number)
                for tried in explorer.explore([edge for edge in edges if edge not in beyond]):
                    if tried.child < 0 or tried.child == tried.edge[0]:
                        frontier.offer(tried.edge[0])  # what comes after it moves up
                        continue
                    frontier.reached(tried.edge, tried.child)
                    if tried.terminal:
                        explorer.tree.whole_way(frontier.path(tried.edge), verified=tried.verified)
                explorer.save()
        except Halted as halt:
            ending = halt.ending
        frontier.count(most=explorer.problem.traits.most)
        explorer.save(force=True)
        return ending

    def _finished(self, explorer: Explorer[S], frontier: _Frontier) -> Ending | None:
        if explorer.tree.reached(explorer.problem.traits):
            return Ending.GOAL
        return None if frontier else Ending.EXHAUSTED


class _Frontier:
    """The untried edges by cost, and the cheapest way known to each node."""

    def __init__(self, tree: Tree, cost: Cost) -> None:
        """Take up a tree where an earlier search left it: cheapest ways first, as Dijkstra does."""
        self._tree, self._cost = tree, cost
        self._heap: list[tuple[tuple[float, ...], Edge]] = []
        self._ways: dict[int, tuple[tuple[float, ...], Way, list[Edge]]] = {}
        self._met(0, (0.0,), Way(0, 0.0, 0, tree.root.value or 0.0, 0), [])

    def __bool__(self) -> bool:
        while self._heap and self._stale(self._heap[0][1]):
            heapq.heappop(self._heap)
        return bool(self._heap)

    def cheapest(self, count: int) -> list[Edge]:
        """Return the next edges; fewer if there are fewer."""
        edges: list[Edge] = []
        while len(edges) < count and self:
            edge = heapq.heappop(self._heap)[1]
            if edge not in edges:
                edges.append(edge)
        return edges

    def offer(self, number: int) -> None:
        """Offer a node's untried edges at what they cost now, and those that are not listed yet as one."""
        node = self._tree.nodes[number]
        actions = [action for action, below in enumerate(node.child) if below == UNTRIED]
        for action in actions if node.wide else [*actions, len(node.child)]:
            heapq.heappush(self._heap, (self._cost(self._way((number, action))), (number, action)))

    def path(self, edge: Edge) -> list[Edge]:
        """Return the cheapest known way from the root, `edge` being its end."""
        return [*self._ways[edge[0]][2], edge]

    def reached(self, edge: Edge, child: int) -> None:
        """Note where an edge led; what lies beyond becomes cheaper if this is the cheapest way there."""
        way = self._way(edge)
        self._met(child, self._cost(way), way, self.path(edge))

    def count(self, *, most: float | None) -> None:
        """Count visits on the tree as a search with values would have them: an edge's are those of what is below it."""
        tree = self._tree
        for number in sorted(self._ways, key=lambda number: -len(self._ways[number][2])):
            node = tree.nodes[number]
            for action, below in enumerate(node.child):
                if below >= 0:
                    own = below in self._ways and self._ways[below][2][-1:] == [(number, action)]
                    node.visits[action] = 1 + (tree.nodes[below].total if own else 0)
                elif below != UNTRIED:
                    node.visits[action] = 1
            node.total = sum(node.visits)
            refresh(tree, number, most=most)

    def _stale(self, edge: Edge) -> bool:
        node = self._tree.nodes[edge[0]]
        return node.wide if edge[1] == len(node.child) else node.child[edge[1]] != UNTRIED

    def _way(self, edge: Edge) -> Way:
        node, before = self._tree.nodes[edge[0]], self._ways[edge[0]][1]
        idle = (COMMIT, DROPPED, edge[0])  # what cannot be tried, and what leads nowhere else, has no rank
        rank = sum(below not in idle for below in node.child[: edge[1]])
        return Way(
            before.depth + 1,
            before.logprob + (math.log(node.priors[edge[1]]) if edge[1] < len(node.priors) else 0.0),
            before.discrepancies + rank,
            node.value or 0.0,
            rank,
        )

    def _met(self, number: int, cost: tuple[float, ...], way: Way, path: Sequence[Edge]) -> None:
        """Offer a node's edges, unless a way there was known that costs no more."""
        waiting = [(number, cost, way, path)]
        while waiting:
            number, cost, way, path = waiting.pop()
            if number in self._ways and self._ways[number][0] <= cost:
                continue
            if any(number == start for start, _ in path):
                continue  # back where it came from
            self._ways[number] = (cost, way, list(path))
            node = self._tree.nodes[number]
            self.offer(number)
            for action, below in enumerate(node.child):
                if below >= 0:
                    edge = (number, action)
                    step = self._way(edge)
                    waiting.append((below, self._cost(step), step, [*path, edge]))
