"""The loop: walk down to something unknown, try it, have it judged, and take it back up; batches of walks at once.

As in mctx, what makes a method is handed in: who chooses at the root, and who chooses below it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic

from agentkit.protocols import Ending, S
from agentkit_planners.exploring import Explorer, Halted, Tried
from agentkit_planners.mcts.backup import back_up, refresh, settle
from agentkit_planners.mcts.select import NOWHERE, Picker
from agentkit_planners.tree import Edge, Tree

__all__ = ["Search"]

LONGEST = 64  # steps of a walk that goes on to an end
IDLE = 64  # walks in a row that may find nothing new, for each node there is


@dataclass(slots=True)
class Search(Generic[S]):
    """One search, from an opened root to the end of the budget."""

    explorer: Explorer[S]
    root: Picker
    interior: Picker
    batch: int = 1  # walks that are judged together
    settled: Callable[[Tree], bool] | None = None  # whether the rest of the budget cannot change the choice
    _pending: dict[Edge, int] = field(default_factory=dict)
    _idle: int = 0

    def run(self) -> Ending:
        """Search until something ends it, and return that; the tree is the explorer's."""
        explorer, tree, meter = self.explorer, self.explorer.tree, self.explorer.meter
        try:
            while (ending := meter.ending() or self._finished()) is None:
                walks = [self._walk() for _ in range(self._width(meter.room(self.batch)))]
                meter.simulations += len(walks)
                tried = explorer.explore([walk[-1] for walk, new in walks if new])
                self._pending.clear()
                rest = iter(tried)
                for walk, new in walks:
                    self._learn(walk, next(rest) if new else None)
                explorer.save()
        except Halted as halt:
            ending = halt.ending
        explorer.save(force=True)
        tree.memo["ending"] = ending.value
        return ending

    def _width(self, room: int) -> int:
        """Return how many walks may be under way; one where each must see what came of its last step."""
        return room if self.explorer.deterministic and self._valued else 1

    @property
    def _valued(self) -> bool:
        """Whether a walk can end where it meets something new: there is a value to take back up."""
        return self.explorer.tree.root.value is not None

    def _finished(self) -> Ending | None:
        tree, traits = self.explorer.tree, self.explorer.problem.traits
        if tree.reached(traits):
            return Ending.GOAL
        if tree.root.exact is not None:
            return Ending.SOLVED
        if traits.deterministic and (tree.open == 0 or self._idle > IDLE + len(tree.nodes)):
            return Ending.SOLVED if settle(tree, most=traits.most) else Ending.EXHAUSTED
        return Ending.SETTLED if self.settled is not None and self.settled(tree) else None

    def _walk(self) -> tuple[list[Edge], bool]:
        """Return the edges from the root to where a walk ends, and whether the last is still to be tried.

        With values a walk ends at the first state that is new; without, it goes on to an end, for only that says
        anything.
        """
        tree, pending, traits = self.explorer.tree, self._pending, self.explorer.problem.traits
        number, path, passed = 0, list[Edge](), {0}
        while True:
            action = (self.interior if number else self.root)(tree, number, passed, pending)
            if action == NOWHERE:
                refresh(tree, number, most=traits.most, deterministic=traits.deterministic)  # all of it may be proven
                return path, False
            edge = (number, action)
            path.append(edge)
            child = tree.nodes[number].child[action]
            if self.batch > 1:
                pending[edge] = pending.get(edge, 0) + 1
            if child < 0 and self.explorer.deterministic and self._valued:
                return path, pending.get(edge, 1) == 1  # another walk of the batch is about to try it
            if child < 0:
                tried = self.explorer.explore([edge])[0]
                self._idle = 0
                child = tried.child
                if tried.terminal:
                    self._seen(path, tried)
                if child < 0 or tried.terminal or (tried.new and self._valued) or self.explorer.meter.out():
                    return path, False
            if child in passed or len(path) >= (traits.lookahead or LONGEST):
                return path, False
            passed.add(child)
            number = child

    def _learn(self, path: list[Edge], tried: Tried | None) -> None:
        """Take a walk back up; one that found nothing new counts, so that others are taken."""
        if not path:
            self._idle += 1
            return
        self._idle = 0 if tried is not None else self._idle + 1
        if tried is not None:
            self._seen(path, tried)
        traits = self.explorer.problem.traits
        back_up(self.explorer.tree, path, most=traits.most, deterministic=traits.deterministic)

    def _seen(self, path: list[Edge], tried: Tried) -> None:
        """Remember a whole way that ends here."""
        if tried.child >= 0 and tried.terminal:
            self.explorer.tree.whole_way(path, verified=tried.verified)
