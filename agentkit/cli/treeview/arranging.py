"""Where each state of a search stands when it is drawn as a tree.

A search is a graph: two ways may lead to one state, and a way may lead back. Each state is drawn once, below the branch by
which it is reached in the fewest steps, those of the chosen way below the chosen way; other branches refer to it. So it
ends on any graph, and a reference always leads to something that is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agentkit.cli.treeview.reading import Branch, Edge, Search

__all__ = ["Arrangement", "arranged"]


@dataclass(slots=True)
class Arrangement:
    """What is drawn of a search, and where."""

    shown: dict[int, tuple[Branch, ...]] = field(default_factory=dict)  # by state, in the order from the root outwards
    left_out: dict[int, tuple[Branch, ...]] = field(default_factory=dict)
    home: dict[int, Edge] = field(default_factory=dict)  # the branch that a state is drawn below; the root has none
    way: frozenset[Edge] = frozenset()  # the chosen one: it is drawn in one line from the root
    referred: set[int] = field(default_factory=set)  # states that a branch leads to which they are not drawn below

    def above(self, number: int, other: int) -> bool:
        """Whether a state is drawn on the way to another, or is the same."""
        while other != number and other in self.home:
            other = self.home[other][0]
        return other == number


def arranged(search: Search, *, depth: int | None = None, width: int | None = None) -> Arrangement:
    """Return what to draw, level by level.

    Args:
        search: is not changed.
        depth: steps from the root that are drawn; beyond them the chosen way alone. None: all.
        width: branches of a state that are drawn; one of the chosen way always is. None: all.
    """
    made = Arrangement(way=frozenset(search.way))
    kept, level, order = _on(search), {0: 0}, [0]
    for number in order:  # grows while it is walked along
        branches = search.states[number].branches
        drawn = _drawn(branches, made.way, width if depth is None or level[number] < depth else 0)
        edges = {branch.edge for branch in drawn}
        made.shown[number] = drawn
        made.left_out[number] = tuple(branch for branch in branches if branch.edge not in edges)
        for branch in drawn:
            for outcome in branch.outcomes:
                if outcome.state in level or kept.get(outcome.state, branch.edge) != branch.edge:
                    made.referred.add(outcome.state)
                else:
                    made.home[outcome.state], level[outcome.state] = branch.edge, level[number] + 1
                    order.append(outcome.state)
    return made


def _drawn(branches: tuple[Branch, ...], way: frozenset[Edge], width: int | None) -> tuple[Branch, ...]:
    """Return the first branches, with that of the way in place of the last if it is not among them."""
    first = branches[:width]
    missing = [branch for branch in branches[len(first) :] if branch.edge in way]
    return (*first[: len(first) - len(missing)], *missing) if first else tuple(missing)


def _on(search: Search) -> Mapping[int, Edge]:
    """Return the states that the chosen way leads through, each with the branch of the way that leads there."""
    found: dict[int, Edge] = {}
    for edge in search.way:
        branch = next(branch for branch in search.states[edge[0]].branches if branch.edge == edge)
        if branch.outcomes:
            found.setdefault(branch.outcomes[0].state, edge)
    return found
