"""Graphs and tools for the verifier: by relaxation and closure; solvers search.

An edge is a list `[a, b]` or `[a, b, weight]`; roads are two-way, prerequisites go from a to b.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

__all__ = ["GRAPHS"]

Edge = Sequence[Any]


def next_to(edges: Sequence[Edge], node: str) -> list[str]:
    """Return the nodes that share a two-way edge with one, in order."""
    return sorted({b if a == node else a for a, b, *_ in edges if node in (a, b)})


def reach(edges: Sequence[Edge], node: str) -> list[str]:
    """Return all that can be reached over two-way edges, the node itself too, in order."""
    found = {node}
    for _ in edges:
        found |= {end for a, b, *_ in edges if a in found or b in found for end in (a, b)}
    return sorted(found)


def steps_to(edges: Sequence[Edge], start: str, end: str) -> int:
    """Return the fewest two-way edges between two nodes."""
    return int(distance([[a, b, 1] for a, b, *_ in edges], start, end))


def distance(edges: Sequence[Edge], start: str, end: str) -> Any:
    """Return the least sum of weights between two nodes (Bellman-Ford)."""
    far: dict[str, Any] = {start: 0}
    for _ in range(len(edges) + 1):
        for a, b, weight in edges:
            for one, other in ((a, b), (b, a)):
                if one in far and (other not in far or far[one] + weight < far[other]):
                    far[other] = far[one] + weight
    return far[end]


def path_weight(edges: Sequence[Edge], path: Sequence[str]) -> Any:
    """Return the sum of weights along a path of two-way edges."""
    known = {frozenset((a, b)): weight for a, b, weight in edges}
    return sum(known[frozenset(pair)] for pair in pairwise(path))


def needed_by(edges: Sequence[Edge], node: str) -> list[str]:
    """Return what a node needs first, directly, in order."""
    return sorted(a for a, b, *_ in edges if b == node)


def able(tools: Sequence[Mapping[str, Any]], action: str) -> list[str]:
    """Return the names of the tools that do something."""
    return [tool["name"] for tool in tools if tool["does"] == action]


def needs(tools: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    """Return what a tool must be told."""
    return [found for tool in tools if tool["name"] == name for found in tool["needs"]]


def missing(needed: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return what is needed and not known, in the order it is needed."""
    return [one for one in needed if one not in known]


GRAPHS: Mapping[str, Callable[..., Any]] = {
    "able": able, "distance": distance, "missing": missing, "needed_by": needed_by, "needs": needs, "next_to": next_to,
    "path_weight": path_weight, "reach": reach, "steps_to": steps_to,
}  # fmt: skip
