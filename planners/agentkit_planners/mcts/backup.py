"""What a walk teaches: visits are counted, means are taken anew from the children, and what is proven is passed on.

On a graph a node's value is not a running mean, since its children also learn from other parents' walks; it is computed
anew from edge visits (KataGo, docs/GraphSearch.md):

    Q(n) = (U(n) + sum over a of N(n,a) Q(n,a)) / (1 + sum over a of N(n,a)),     Q(n,a) = r(n,a) + Q(child)

Where nobody can tell what a state is worth, U and the 1 beside it are left out.

Proofs are those of MCTS-Solver (Winands, Björnsson and Saito 2008; OpenSpiel's `outcome`): a node is worth exactly what
its best action is once all are proven, or once one is that nothing can beat. Actions proven to be worse than the best
that is known are left out of the mean, for nobody would take them.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentkit_planners.tree import COMMIT, DEAD, DROPPED, UNTRIED, Edge, Node, Tree

__all__ = ["back_up", "proven", "refresh", "settle"]


def back_up(tree: Tree, path: Sequence[Edge], *, most: float | None, deterministic: bool = True) -> None:
    """Count a walk along `path`, and take all values on it anew, from its end.

    Args:
        tree: is changed.
        path: edges from the root down.
        most: the largest sum of rewards there can be; what reaches it is not looked beyond.
        deterministic: whether proofs hold.
    """
    for number, action in reversed(path):
        node = tree.nodes[number]
        node.visits[action] += 1
        node.total += 1
        refresh(tree, number, most=most, deterministic=deterministic)


def refresh(tree: Tree, number: int, *, most: float | None, deterministic: bool = True) -> None:
    """Take a node's values anew from its children."""
    node, nodes = tree.nodes[number], tree.nodes
    quality, reward, child = node.quality, node.reward, node.child
    total, count, proofs = (0.0, 0, False) if node.value is None else (node.value, 1, False)
    for action, visits in enumerate(node.visits):
        below = child[action]
        if below >= 0:
            quality[action] = reward[action] + nodes[below].q
            proofs = proofs or nodes[below].exact is not None
        elif below == DEAD:
            quality[action], proofs = 0.0, True
        elif not deterministic:
            quality[action] = _expected(tree, (number, action))
        if visits and below != COMMIT and below != DROPPED:
            total += visits * quality[action]
            count += visits
    node.q = total / count if count else 0.0
    if deterministic and proofs:
        _prove(tree, number, most)


def settle(tree: Tree, *, most: float | None) -> bool:
    """Pass proofs on to all parents, not only to those that were on the way; return whether the root is proven.

    Circles stay unproven.
    """
    changed = True
    while changed:
        changed = False
        for number in range(len(tree.nodes) - 1, -1, -1):
            if tree.nodes[number].exact is None:
                refresh(tree, number, most=most)
                changed = changed or tree.nodes[number].exact is not None
    return tree.root.exact is not None


def _expected(tree: Tree, edge: Edge) -> float:
    """Return the mean over what an action has led to: sums over counts, both kept as such."""
    outcomes = tree.chances.get(edge, {})
    count = sum(pair[0] for pair in outcomes.values())
    return sum(pair[1] + pair[0] * tree.nodes[child].q for child, pair in outcomes.items()) / count if count else 0.0


def proven(tree: Tree, node: Node, action: int) -> float | None:
    """Return what an action is proven to be worth, reward and all that follows; None where it is not."""
    below = node.child[action]
    if below == DEAD:
        return 0.0
    exact = tree.nodes[below].exact if below >= 0 else None
    return None if exact is None else node.reward[action] + exact


def _prove(tree: Tree, number: int, most: float | None) -> None:
    """Pass on what is proven, and leave out of the mean what is proven to be worse than the best."""
    node = tree.nodes[number]
    sign = -1.0 if node.opponent else 1.0
    worth = [proven(tree, node, action) for action in range(len(node.child))]
    known = [value for value in worth if value is not None]
    best = max((sign * value for value in known), default=0.0)
    bound = 0.0 if node.opponent else most
    if known and ((node.wide and len(known) == len(worth)) or (bound is not None and best >= sign * bound)):
        node.exact = node.q = sign * best
        return
    visited = [a for a, visits in enumerate(node.visits) if visits and node.child[a] not in (COMMIT, DROPPED, UNTRIED)]
    best = max((sign * node.quality[a] for a in visited), default=0.0)
    kept = [a for a in visited if worth[a] is None or sign * node.quality[a] >= best]
    own, weight = (0.0, 0) if node.value is None else (node.value, 1)
    count = weight + sum(node.visits[a] for a in kept)
    node.q = (own + sum(node.visits[a] * node.quality[a] for a in kept)) / count if count else 0.0
