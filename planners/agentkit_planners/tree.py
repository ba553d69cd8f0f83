"""What a search knows: states met, ways between them, how often each was tried and how well it went.

A graph, strictly: two ways to one state (by `SearchProblem.key`) lead to one node, and visits are counted on the ways
(KataGo, docs/GraphSearch.md). Everything is plain data; `to_plain` and `from_plain` take it through JSON unchanged.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, MutableSequence, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentkit.protocols import Action, Traits
from agentkit.types import Step, ToolCall

__all__ = ["COMMIT", "DEAD", "DROPPED", "UNTRIED", "Edge", "Node", "Tree"]

UNTRIED = -1  # nobody knows where it leads
COMMIT = -2  # cannot be tried without doing it: the one of its node that is kept
DROPPED = -3  # cannot be tried either, and less probable than the one that is kept
DEAD = -4  # it was tried, and failed

Edge = tuple[int, int]  # (node, action), both by number
Floats = MutableSequence[float]  # arrays, in trees that grow: half of a list's memory
VERSION = 1


@dataclass(slots=True)
class Node:
    """A state that was met. Lists are by action, most probable first; after `wide` was set late, the likeliest first."""

    key: bytes
    state: Any  # None: after a restart; to be found again by taking the steps that led here
    parent: int = -1  # the edge it was first met by
    via: int = -1
    actions: tuple[Action, ...] = ()
    priors: Sequence[float] = ()  # sum to 1 once all are listed
    child: list[int] = field(default_factory=list)  # a node, or one of the codes; with chance only codes, see `chances`
    visits: list[int] = field(default_factory=list)
    reward: Floats = field(default_factory=list)  # of the step itself
    quality: Floats = field(default_factory=list)  # reward and what follows: Q(s, a)
    value: float | None = None  # what an evaluator said of the state when it was met; None: nobody can tell
    q: float = 0.0  # with what was found below it: Q(s)
    total: int = 0  # visits of all actions
    exact: float | None = None  # what is proven
    opponent: bool = False  # somebody moves here who wants the least
    verified: bool = False  # a check said that this end is the goal
    wide: bool = True  # all actions are listed; if not, only the one the model would take by itself
    observation: str = ""

    def mixed_value(self) -> tuple[float, float]:
        """Return v_mix, and the sum of the priors of what was visited.

        v_mix = (U + N * (sum of P Q over what was visited) / (sum of P over it)) / (1 + N), Gumbel MuZero, appendix D:
        the node's own value and what was found below it, each action weighted by its prior. Without a value of its own,
        what was found alone; 0 where nothing was.
        """
        seen = weighted = 0.0
        for prior, visits, quality in zip(self.priors, self.visits, self.quality, strict=True):
            if visits:
                seen += prior
                weighted += prior * quality
        own, weight = (0.0, 0) if self.value is None else (self.value, 1)
        return ((own + self.total * weighted / seen) / (weight + self.total) if seen else own), seen


@dataclass(slots=True)
class Tree:
    """The nodes by number, the root first, and what happened on the way."""

    nodes: list[Node] = field(default_factory=list)
    index: dict[bytes, int] = field(default_factory=dict)
    chances: dict[Edge, dict[int, list[float]]] = field(default_factory=dict)  # (count, sum of rewards) by outcome
    found: dict[int, tuple[float, bool]] = field(
        default_factory=dict
    )  # by root action: best whole way, and whether verified
    effects: dict[str, str] = field(default_factory=dict)  # of tried actions that do more than compute, by key
    open: int = 0  # edges that are untried
    notes: list[str] = field(default_factory=list)  # what went wrong, in words
    memo: dict[str, Any] = field(default_factory=dict)  # what a strategy has to remember

    @property
    def root(self) -> Node:
        """The state that a plan is asked for."""
        return self.nodes[0]

    def add(self, node: Node) -> int:
        """Return the number of a node that was not known."""
        self.nodes.append(node)
        self.index[node.key] = len(self.nodes) - 1
        self.open += len(node.actions)
        return len(self.nodes) - 1

    def note(self, text: str) -> None:
        """Remember what went wrong, once."""
        if text not in self.notes:
            self.notes.append(text)

    def whole_way(self, path: Sequence[Edge], *, verified: bool) -> None:
        """Remember a path to an end, where it is the best of those that begin with its first action."""
        total = sum(self.nodes[number].reward[action] for number, action in path)
        if (total, verified) > self.found.get(path[0][1], (-1.0, False)):
            self.found[path[0][1]] = (total, verified)

    def reached(self, traits: Traits) -> bool:
        """Whether a way was found, and verified, that nothing can beat."""
        if traits.most is None or traits.opponent or not traits.deterministic:
            return False
        return any(verified and total >= traits.most for total, verified in self.found.values())

    def proven_states(self) -> list[tuple[Any, float]]:
        """Return the states whose worth was proven by what was found below them, with that worth.

        Left out are those of an earlier process that nobody has gone to again: only the way there is known.
        """
        found = [node for node in self.nodes if node.actions and node.state is not None]
        return [(node.state, node.exact) for node in found if node.exact is not None]

    def way(self, number: int) -> list[tuple[int, int, int]]:
        """Return how a node was first met: (node, action, node it led to) for each step from the root."""
        steps: list[tuple[int, int, int]] = []
        while number > 0:
            node = self.nodes[number]
            steps.append((node.parent, node.via, number))
            number = node.parent
        return steps[::-1]

    def rerooted(self, edge: int, key: bytes) -> Tree | None:
        """Return what is below a root action as a tree of its own, visits kept; None unless it led to the state `key`.

        Nodes that are reached another way only are left out.
        """
        start = self.index.get(key, -1)
        if start not in self.after((0, edge)):
            return None
        order, numbers = [start], {start: 0}
        for number in order:
            for a in range(len(self.nodes[number].child)):
                for child in self.after((number, a)):
                    if child not in numbers:
                        numbers[child] = len(order)
                        order.append(child)
        tree = Tree(notes=list(self.notes), effects=dict(self.effects))
        for number in order:
            node = self.nodes[number]
            tree.add(_copied(node, [numbers.get(c, c) for c in node.child]))
            for a in range(len(node.child)):
                if (number, a) in self.chances:
                    old = self.chances[number, a]
                    tree.chances[numbers[number], a] = {numbers[c]: list(pair) for c, pair in old.items()}
        tree.open = sum(node.child.count(UNTRIED) for node in tree.nodes)
        tree = _parents_found(tree)
        tree.found = tree._whole_ways()
        return tree

    def _whole_ways(self) -> dict[int, tuple[float, bool]]:
        """Return by root action the best way to an end among those that are known."""
        best: dict[int, tuple[float, bool] | None] = {0: None}  # what leads back to the root is no way on

        def below(number: int) -> tuple[float, bool] | None:
            node = self.nodes[number]
            if not node.actions:
                return (0.0, node.verified)
            if number not in best:
                best[number] = None  # while it is looked into: circles lead nowhere
                ways = [way for action in range(len(node.child)) if (way := through(node, action))]
                best[number] = max(ways, default=None)
            return best[number]

        def through(node: Node, action: int) -> tuple[float, bool] | None:
            end = below(node.child[action]) if node.child[action] >= 0 else None
            return None if end is None else (node.reward[action] + end[0], end[1])

        ways = {action: through(self.root, action) for action in range(len(self.root.child))}
        return {action: way for action, way in ways.items() if way is not None}

    def is_beyond(self, edge: Edge) -> bool:
        """Whether an edge stands for the actions of a node that are not listed yet."""
        node = self.nodes[edge[0]]
        return not node.wide and edge[1] == len(node.child)

    def after(self, edge: Edge) -> list[int]:
        """Return the nodes that an edge has led to."""
        child = self.nodes[edge[0]].child[edge[1]]
        return [child] if child >= 0 else list(self.chances.get(edge, ()))

    def to_plain(self) -> dict[str, Any]:
        """Return the tree as JSON values; states are left out, for they can be reached again."""
        steps = {action.key: _step(action.step) for node in self.nodes for action in node.actions}
        return {
            "version": VERSION,
            "nodes": [_node(node) for node in self.nodes],
            "chances": [[*edge, [[c, *pair] for c, pair in found.items()]] for edge, found in self.chances.items()],
            "found": {str(edge): list(best) for edge, best in self.found.items()},
            "effects": dict(self.effects),
            "steps": steps,
            "notes": list(self.notes),
            "memo": dict(self.memo),
        }

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Tree:
        """Return the tree that `to_plain` made `data` from, without states.

        Raises:
            ValueError: it was written by another version.
        """
        if data.get("version") != VERSION:
            raise ValueError(f"a tree of version {data.get('version')}, not {VERSION}")
        actions = {key: Action(key=key, step=_read_step(step)) for key, step in data["steps"].items()}
        tree = cls(notes=list(data["notes"]), memo=dict(data["memo"]), effects=dict(data["effects"]))
        for plain in data["nodes"]:
            given = {
                **plain,
                "key": bytes.fromhex(plain["key"]),
                "actions": tuple(actions[k] for k in plain["actions"]),
            }
            given |= {name: array("d", plain[name]) for name in ("priors", "reward", "quality")}
            tree.add(Node(state=None, **given))
        tree.chances = {(n, a): {int(c): pair for c, *pair in found} for n, a, found in data["chances"]}
        tree.found = {int(edge): (float(best), bool(verified)) for edge, (best, verified) in data["found"].items()}
        tree.open = sum(node.child.count(UNTRIED) for node in tree.nodes)
        return tree


def _copied(node: Node, child: list[int]) -> Node:
    fields = {name: getattr(node, name) for name in Node.__slots__}
    lists = {name: value[:] for name, value in fields.items() if isinstance(value, list | array)}
    return Node(**{**fields, **lists, "child": child, "parent": -1, "via": -1})


def _parents_found(tree: Tree) -> Tree:
    """Give every node a parent, breadth first, so that every way ends at the root."""
    seen, order = {0}, [0]
    for number in order:
        for a in range(len(tree.nodes[number].child)):
            for child in tree.after((number, a)):
                if child not in seen:
                    seen.add(child)
                    order.append(child)
                    tree.nodes[child].parent, tree.nodes[child].via = number, a
    return tree


def _node(node: Node) -> dict[str, Any]:
    plain = {name: getattr(node, name) for name in Node.__slots__ if name not in ("state", "key", "actions")}
    lists = {name: list(value) for name, value in plain.items() if isinstance(value, list | array)}
    return {"key": node.key.hex(), "actions": [action.key for action in node.actions], **plain, **lists}


def _step(step: Step) -> dict[str, Any]:
    plain = {name: getattr(step, name) for name in Step.__slots__}
    calls = [{"id": call.id, "tool": call.tool, "arguments": dict(call.arguments)} for call in step.calls]
    return {**plain, "calls": calls, "token_ids": list(step.token_ids)}


def _read_step(plain: Mapping[str, Any]) -> Step:
    calls = tuple(ToolCall(**call) for call in plain["calls"])
    return Step(**{**plain, "calls": calls, "token_ids": tuple(plain["token_ids"])})
