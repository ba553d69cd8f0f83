"""A radix tree over token sequences: which sequence in memory holds the longest beginning of a prompt.

Pure data: knows no llama.cpp. Guarantees: each leaf has exactly one holder (a sequence number), inner nodes none; what a
holder holds is the path from the root to its leaf. Roots are kept apart by a key (the set of adapters), since what was
read under one is wrong under another. After RadixAttention (Zheng et al. 2024, arXiv:2312.07104).
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Cut", "Match", "Radix", "Tokens", "common_length"]

Tokens = NDArray[np.int32]


@dataclass(slots=True, eq=False)
class _Node:
    edge: Tokens
    parent: _Node | None = None
    children: dict[int, _Node] = field(default_factory=dict)
    holder: int | None = None
    used: int = 0
    pins: int = 0
    row: Any = None  # the logits after the last token of the path

    @property
    def depth(self) -> int:
        """How many tokens lead here."""
        depth, node = 0, self
        while node.parent is not None:
            depth, node = depth + len(node.edge), node.parent
        return depth


@dataclass(frozen=True, slots=True)
class Match:
    """The longest beginning that is held: how many tokens, by whom, and the logits after it if they were kept."""

    length: int
    holder: int
    row: Any = None


@dataclass(frozen=True, slots=True)
class Cut:
    """A holder that must let go: keep its first `length` tokens; at 0 it holds nothing and is free."""

    holder: int
    length: int
    tokens: Tokens  # what it held, all of it
    key: Hashable = ()


class Radix:
    """The tree; not thread-safe."""

    def __init__(self) -> None:
        self._roots: dict[Hashable, _Node] = {}
        self._clock = itertools.count(1)

    def match(self, tokens: Sequence[int] | Tokens, key: Hashable = ()) -> Match | None:
        """Return the longest beginning of `tokens` that is held, or None; it counts as used."""
        wanted = np.asarray(tokens, np.int32)
        node, length, partial = self._walk(key, wanted)
        if not length:
            return None
        end = partial or node
        self._touch(end)
        row = node.row if partial is None else None
        return Match(length, _leaf_under(end), row)

    def insert(self, tokens: Sequence[int] | Tokens, holder: int, key: Hashable = ()) -> list[int]:
        """Have `holder` hold `tokens`; return the holders that are no longer needed, which may be `holder` itself."""
        whole = np.asarray(tokens, np.int32)
        if not len(whole):
            return [holder]
        node, length, partial = self._walk(key, whole)
        if partial is not None:
            if length == len(whole):
                self._touch(partial)
                return [holder]
            node = _split(partial, length - (partial.depth - len(partial.edge)))
        if length == len(whole):
            self._touch(node)
            if node.holder is None and not node.children:  # cannot be, but a leaf must have a holder
                node.holder = holder
                return []
            return [holder]
        freed = [] if node.holder is None else [node.holder]
        node.holder = None
        leaf = _Node(whole[length:].copy(), parent=node, holder=holder)
        node.children[int(leaf.edge[0])] = leaf
        self._touch(leaf)
        return freed

    def keep_row(self, tokens: Sequence[int] | Tokens, row: Any, key: Hashable = ()) -> None:
        """Remember `row` as the logits after `tokens`, if those are held."""
        if (node := self._node_at(tokens, key)) is not None:
            node.row = row

    def pin(self, tokens: Sequence[int] | Tokens, key: Hashable = (), by: int = 1) -> bool:
        """Protect the path to `tokens` from eviction (`by` 1), or no longer (-1); whether it is held."""
        node = self._node_at(tokens, key)
        if node is None:
            return False
        node.pins = max(0, node.pins + by)
        return True

    def evict(self, need: int, *, pinned: bool = False, least: int = 0) -> Cut | None:
        """Give up the tail of the leaf that was longest not used, at least `need` tokens where it has them.

        A tail of `least` tokens or fewer is not left standing. Pinned paths go only if `pinned`.
        """
        leaves = [leaf for leaf in self._leaves() if pinned or not leaf.pins]
        if not leaves:
            return None
        leaf = min(leaves, key=lambda leaf: leaf.used)
        assert leaf.holder is not None
        assert leaf.parent is not None
        holder, tokens = leaf.holder, _path(leaf)
        key = self._key_of(leaf)
        left = len(leaf.edge) - need
        if left > least:
            leaf.edge, leaf.row, leaf.pins = leaf.edge[:left], None, 0  # both were of the place that is gone
            return Cut(holder, len(tokens) - need, tokens, key)
        parent = leaf.parent
        del parent.children[int(leaf.edge[0])]
        if parent.parent is None or parent.children:
            return Cut(holder, 0, tokens, key)
        parent.holder = holder  # it was inner, for its row or its pins; now it is the leaf
        return Cut(holder, parent.depth, tokens, key)

    def forget(self, holder: int) -> None:
        """Take out what `holder` holds, as if it had never been there."""
        leaf = next((leaf for leaf in self._leaves() if leaf.holder == holder), None)
        while leaf is not None and leaf.parent is not None and not leaf.children:
            del leaf.parent.children[int(leaf.edge[0])]
            leaf = leaf.parent

    def rows(self) -> list[tuple[int, int]]:
        """Return (last use, size in bytes) of each row that is kept, the oldest first."""
        return sorted((node.used, node.row.nbytes) for node in self._nodes() if node.row is not None)

    def drop_rows(self, until: int) -> None:
        """Forget the rows not used since `until`."""
        for node in self._nodes():
            if node.row is not None and node.used <= until:
                node.row = None

    def holders(self) -> dict[int, Tokens]:
        """Return what each holder holds."""
        return {leaf.holder: _path(leaf) for leaf in self._leaves() if leaf.holder is not None}

    def __len__(self) -> int:
        """How many tokens are held, shared ones counted once."""
        return sum(len(node.edge) for node in self._nodes())

    def clear(self) -> None:
        """Forget everything."""
        self._roots.clear()

    def _walk(self, key: Hashable, tokens: Tokens) -> tuple[_Node, int, _Node | None]:
        """Return the deepest node whose whole path begins `tokens`, the length matched, and the node matched in part."""
        node, at = self._roots.setdefault(key, _Node(np.empty(0, np.int32))), 0
        while at < len(tokens) and (child := node.children.get(int(tokens[at]))) is not None:
            common = common_length(child.edge, tokens[at:])
            at += common
            if common < len(child.edge):
                return node, at, child
            node = child
        return node, at, None

    def _node_at(self, tokens: Sequence[int] | Tokens, key: Hashable) -> _Node | None:
        wanted = np.asarray(tokens, np.int32)
        node, length, partial = self._walk(key, wanted)
        if length < len(wanted) or not length:
            return None
        return node if partial is None else _split(partial, length - (partial.depth - len(partial.edge)))

    def _key_of(self, node: _Node) -> Hashable:
        while node.parent is not None:
            node = node.parent
        return next(key for key, root in self._roots.items() if root is node)

    def _touch(self, node: _Node) -> None:
        now = next(self._clock)
        above: _Node | None = node
        while above is not None:
            above.used, above = now, above.parent

    def _nodes(self) -> Iterator[_Node]:
        stack = list(self._roots.values())
        while stack:
            node = stack.pop()
            stack += node.children.values()
            yield node

    def _leaves(self) -> Iterator[_Node]:
        return (node for node in self._nodes() if not node.children and node.parent is not None)


def _split(node: _Node, at: int) -> _Node:
    """Cut the edge to `node` after `at` tokens; return the new node in between."""
    parent = node.parent
    assert parent is not None
    assert 0 < at < len(node.edge)
    middle = _Node(node.edge[:at].copy(), parent=parent, used=node.used)
    parent.children[int(middle.edge[0])] = middle
    node.edge, node.parent = node.edge[at:].copy(), middle
    middle.children[int(node.edge[0])] = node
    return middle


def _leaf_under(node: _Node) -> int:
    """Return the holder of the latest used leaf under `node`."""
    while node.children:
        node = max(node.children.values(), key=lambda child: child.used)
    assert node.holder is not None
    return node.holder


def _path(node: _Node) -> Tokens:
    edges = []
    above: _Node | None = node
    while above is not None:
        edges.append(above.edge)
        above = above.parent
    return np.concatenate(edges[::-1])


def common_length(one: Tokens, other: Tokens) -> int:
    """Return how many tokens two sequences begin with in common."""
    n = min(len(one), len(other))
    differs = np.flatnonzero(one[:n] != other[:n])
    return int(differs[0]) if differs.size else n
