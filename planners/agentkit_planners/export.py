"""What can be learnt from trees: preference pairs, soft targets and values, as plain data.

Pairs come from nodes where one action is known to be better than another: both were tried often enough, the difference is
larger than `theta` and than chance, and the better one ends, by a check, at the goal. Pairs are not taken from means that
were divided by visits again: rarely visited siblings would win (the exporter of AG2's ReasoningAgent does that).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from agentkit_planners.mcts.backup import proven
from agentkit_planners.mcts.halving import completed, softmax
from agentkit_planners.tree import COMMIT, DROPPED, UNTRIED, Node, Tree

__all__ = ["Learnt", "Limits", "Pair", "SoftTarget", "ValueTarget", "learnt", "split_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is kept."""

    visits: int = 2  # of either action; a proof needs none
    theta: float = 0.2  # least difference of worth
    deviations: float = 2.0  # the same in standard errors
    noise: float = 0.25  # variance of one visit's worth
    pairs: int = 32  # a tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """In a node, one action is better than another."""

    node: int
    chosen: int
    rejected: int
    worth: tuple[float, float]
    logprobs: tuple[float, float]  # of the behaviour, nats: a reference model is not needed for what it would say
    smoothing: float  # label smoothing eps of cDPO: at most 0.5, least where the better one was visited much more
    weight: float  # 0.5 + 0.5 KL(pi' || P), capped at 2: how much the search changed the prior's mind (KataGo)


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftTarget:
    """What the search would have the policy be in a node: pi' = softmax(log P + sigma(completed Q)), by action."""

    node: int
    policy: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueTarget:
    """What a state is worth, and the variance of that: 0 where it is proven."""

    node: int
    mean: float
    variance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """All that one tree teaches."""

    pairs: tuple[Pair, ...]
    policies: tuple[SoftTarget, ...]
    values: tuple[ValueTarget, ...]


def learnt(tree: Tree, *, verified: bool, limits: Limits = Limits()) -> Learnt:
    """Return what a tree teaches.

    Args:
        tree: of a search that has ended.
        verified: whether a check said that the way it found leads to the goal; without that there are no pairs.
        limits: what is kept.
    """
    pairs = sorted(_pairs(tree, limits), key=lambda pair: (-pair.weight, pair.node, pair.rejected)) if verified else []
    branching = [n for n, node in enumerate(tree.nodes) if node.total and len(node.actions) > 1]
    return Learnt(
        pairs=tuple(pairs[: limits.pairs]),
        policies=tuple(SoftTarget(node=n, policy=tuple(softmax(_improved(tree.nodes[n])))) for n in branching),
        values=tuple(_values(tree, limits)),
    )


def split_of(task: str, *, held_out: float = 0.1) -> str:
    """Return "test" for a share of tasks and "train" for the others; by task, so that no tree is in both."""
    digest = hashlib.blake2b(task.encode(), digest_size=8).digest()
    return "test" if int.from_bytes(digest, "big") < held_out * 2**64 else "train"


def distinct(rows: Iterable[Mapping[str, object]], keys: Sequence[str]) -> Iterator[Mapping[str, object]]:
    """Yield rows whose values under `keys` were not seen before."""
    seen: set[str] = set()
    for row in rows:
        mark = repr([row[key] for key in keys])
        if mark not in seen:
            seen.add(mark)
            yield row


def _pairs(tree: Tree, limits: Limits) -> Iterator[Pair]:
    """Yield pairs: the best action against the worst, and against the most probable of those that lose."""
    wins = _to_the_goal(tree)
    for number, node in enumerate(tree.nodes):
        if node.opponent:
            continue
        tried = [a for a, below in enumerate(node.child) if below not in (UNTRIED, COMMIT, DROPPED)]
        worth = {a: _worth(tree, node, a) for a in tried}
        good = [a for a in tried if (number, a) in wins]
        if not good:
            continue
        chosen = max(good, key=lambda a: (worth[a], -a))
        lost = [a for a in tried if a != chosen and _clear(tree, node, chosen, a, worth, limits)]
        if not lost:
            continue
        for rejected in dict.fromkeys(
            (min(lost, key=lambda a: (worth[a], a)), min(lost))
        ):  # lists begin with the likely
            yield _pair(number, node, chosen, rejected, worth)


def _pair(number: int, node: Node, chosen: int, rejected: int, worth: Mapping[int, float]) -> Pair:
    wins, losses = max(1, node.visits[chosen]), node.visits[rejected]
    policy = softmax(_improved(node))
    surprise = sum(p * math.log(p / prior) for p, prior in zip(policy, node.priors, strict=True) if p > 0)
    return Pair(
        node=number,
        chosen=chosen,
        rejected=rejected,
        worth=(worth[chosen], worth[rejected]),
        logprobs=(math.log(node.priors[chosen]), math.log(node.priors[rejected])),
        smoothing=min(0.5, 1 - 1 / (1 + losses / wins)),
        weight=min(2.0, 0.5 + 0.5 * max(0.0, surprise)),  # a divergence of nothing may be rounded to less
    )


def _clear(tree: Tree, node: Node, better: int, worse: int, worth: Mapping[int, float], limits: Limits) -> bool:
    """Whether the difference is no accident."""
    gap = worth[better] - worth[worse]
    unproven = [a for a in (better, worse) if proven(tree, node, a) is None]
    if gap < limits.theta or any(node.visits[a] < limits.visits for a in unproven):
        return False
    error = math.sqrt(sum(limits.noise / node.visits[a] for a in unproven))
    return gap > limits.deviations * error


def _worth(tree: Tree, node: Node, action: int) -> float:
    proof = proven(tree, node, action)
    return node.quality[action] if proof is None else proof


def _improved(node: Node) -> list[float]:
    return [math.log(prior) + bonus for prior, bonus in zip(node.priors, completed(node), strict=True)]


def _values(tree: Tree, limits: Limits) -> Iterator[ValueTarget]:
    for number, node in enumerate(tree.nodes):
        if node.exact is not None and node.actions:
            yield ValueTarget(node=number, mean=node.exact, variance=0.0)
        elif node.total >= limits.visits:
            yield ValueTarget(node=number, mean=node.q, variance=limits.noise / node.total)


def _to_the_goal(tree: Tree) -> set[tuple[int, int]]:
    """Return the edges that lie on a way whose end pays: those below which something is proven to be worth something."""
    found = set()
    for number, node in enumerate(tree.nodes):
        for action in range(len(node.child)):
            worth = proven(tree, node, action)
            if worth is not None and worth > 0:
                found.add((number, action))
    return found
