"""Sequential halving with Gumbel noise (Danihelka et al. 2022, "Policy improvement by planning with Gumbel"; mctx).

Some actions are considered, all equally often; the worse half is given up; and so on. Pure functions of counts and values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from agentkit_planners.tree import Node

__all__ = ["completed", "considered_visits", "score_considered", "sigma", "softmax"]

_LOW = -1e9


@lru_cache(maxsize=64)
def considered_visits(actions: int, simulations: int) -> tuple[int, ...]:
    """Return for each simulation how often the action that it visits was visited before (mctx, seq_halving.py).

    Args:
        actions: how many are considered at first, at least 0.
        simulations: how many there will be.
    """
    if actions <= 1:
        return tuple(range(simulations))
    rounds = math.ceil(math.log2(actions))
    visits, left = [0] * actions, actions
    sequence: list[int] = []
    while len(sequence) < simulations:
        for _ in range(max(1, simulations // (rounds * left))):
            sequence.extend(visits[:left])
            for action in range(left):
                visits[action] += 1
        left = max(2, left // 2)
    return tuple(sequence[:simulations])


def score_considered(
    visits: Sequence[int], considered: int, gumbel: Sequence[float], logits: Sequence[float], bonus: Sequence[float]
) -> list[float]:
    """Return g + logit + sigma(q) of the actions visited `considered` times, minus infinity of the others."""
    top = max(logits)
    return [
        max(_LOW, g + logit - top + extra) if count == considered else -math.inf
        for count, g, logit, extra in zip(visits, gumbel, logits, bonus, strict=True)
    ]


def completed(node: Node, scale: float = 0.1, init: float = 50.0) -> list[float]:
    """Return sigma of Q, the mixed value standing for what was not visited; rescaled to [0, 1] between least and greatest.

    `qtransform_completed_by_mix_value` of mctx: (init + max n) * scale * Q~.
    """
    mix, _ = node.mixed_value()
    sign = -1.0 if node.opponent else 1.0
    values = [sign * (quality if visits else mix) for visits, quality in zip(node.visits, node.quality, strict=True)]
    low, high = min(values), max(values)
    factor = sigma(max(node.visits), scale, init) / max(high - low, 1e-8)
    return [factor * (value - low) for value in values]


def sigma(most_visits: int, scale: float = 0.1, init: float = 50.0) -> float:
    """Return what a difference of Q is multiplied with beside log-probabilities."""
    return (init + most_visits) * scale


def softmax(logits: Sequence[float]) -> list[float]:
    """Return probabilities that are proportional to exp(logits)."""
    top = max(logits)
    weights = [math.exp(logit - top) for logit in logits]
    total = sum(weights)
    return [weight / total for weight in weights]
