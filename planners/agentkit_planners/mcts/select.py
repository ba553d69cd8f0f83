"""Which action a walk takes in a node: PUCT, and the deterministic rule that goes with Gumbel's at the root.

PUCT as in MuZero (mctx, action_selection.py), with Q rescaled to [0, 1] between the least and the greatest of the node
and its visited actions, and with counts of walks that are under way (WU-UCT, arXiv 1810.11755): o for an action, O for all,

    Q~(s,a) + P(a) sqrt(1 + N + O) (1.25 + ln((N + O + 19653) / 19652)) / (1 + n_a + o_a)

What was never visited is taken to be worth what the node is, less a reduction (first play urgency, KataGo):
v_mix - c sqrt(sum of P over visited actions). Never is every action visited once first: with thirty of them the budget
would be gone. Among equals the more probable one is taken, then the one whose key comes first: the order of a node's lists.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

from agentkit_planners.mcts.halving import completed, softmax
from agentkit_planners.tree import UNTRIED, Edge, Node, Tree

__all__ = ["FPU", "NOWHERE", "ROOT_FPU", "Picker", "closed", "gumbel_interior", "puct"]

FPU, ROOT_FPU = 0.2, 0.1
NOWHERE = -1  # every way is closed
_BASE, _INIT = 19652, 1.25

Picker = Callable[[Tree, int, Collection[int], Mapping[Edge, int]], int]
"""(tree, node, nodes on the way here, walks under way by edge) -> action, or NOWHERE."""


def closed(tree: Tree, node: Node, action: int, path: Collection[int]) -> bool:
    """Whether there is nothing to be learnt by taking an action: proven, not to be tried, or back to where we were."""
    below = node.child[action]
    if below >= 0:
        return below in path or tree.nodes[below].exact is not None
    return below != UNTRIED


def puct(tree: Tree, number: int, path: Collection[int], pending: Mapping[Edge, int], *, fpu: float = FPU) -> int:
    """Return the action with the highest upper confidence bound, or NOWHERE."""
    node = tree.nodes[number]
    visits, quality, child, nodes = node.visits, node.quality, node.child, tree.nodes
    mix, seen = node.mixed_value()
    low, high = (node.q, mix) if node.q < mix else (mix, node.q)
    for action, count in enumerate(visits):
        if count:
            known = quality[action]
            if known < low:
                low = known
            elif known > high:
                high = known
    span = high - low or 1.0
    sign, base = (-1.0, high) if node.opponent else (1.0, low)
    unseen = sign * (mix - base) / span - fpu * math.sqrt(seen)
    under_way = sum(pending.get((number, action), 0) for action in range(len(child))) if pending else 0
    total = node.total + under_way
    scale = math.sqrt(1 + total) * (_INIT + math.log((total + _BASE + 1) / _BASE))
    best, chosen = -math.inf, NOWHERE
    for action, prior in enumerate(node.priors):
        below = child[action]
        if below >= 0:
            if below in path or nodes[below].exact is not None:
                continue
        elif below != UNTRIED:
            continue
        count = visits[action]
        known = sign * (quality[action] - base) / span if count else unseen
        if pending:
            count += pending.get((number, action), 0)
        score = known + prior * scale / (1 + count)
        if score > best:
            best, chosen = score, action
    return chosen


def gumbel_interior(
    tree: Tree,
    number: int,
    path: Collection[int],
    pending: Mapping[Edge, int],
    *,
    scale: float = 0.1,
    init: float = 50.0,
) -> int:
    """Return argmax of pi'(a) - n_a / (1 + N), pi' = softmax(logit + sigma(completed Q)) (mctx, Gumbel MuZero)."""
    node = tree.nodes[number]
    counts = [n + pending.get((number, action), 0) for action, n in enumerate(node.visits)]
    logits = [math.log(prior) + bonus for prior, bonus in zip(node.priors, completed(node, scale, init), strict=True)]
    total = sum(counts)
    best, chosen = -math.inf, NOWHERE
    for action, share in enumerate(softmax(logits)):
        score = share - counts[action] / (1 + total)
        if score > best and not closed(tree, node, action, path):
            best, chosen = score, action
    return chosen
