"""Levin tree search (Orseau et al. 2018, arXiv 1811.10928) and, where values are trusted, PHS* (2021, arXiv 2103.11505).

    LevinTS: d / pi                    PHS*: (g + h) / pi^(1 + h / g)

d = g is the number of steps, pi the product of their priors, h how many steps are still to go. A value V is read as the
goal's reward of 1 discounted by each step to it: h = log V / log(discount). Without values h is 0, and PHS* is LevinTS.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from agentkit_planners.ordered import OrderedPlanner, Way

__all__ = ["BestFirstPlanner"]


@dataclass(kw_only=True)
class BestFirstPlanner(OrderedPlanner):
    """Probable and short ways first; opens at most d/pi states before it finds a goal d steps deep of probability pi."""

    name: str = "best_first"
    discount: float = 0.95  # in (0, 1): of a value, a step

    def cost(self, way: Way) -> tuple[float, ...]:
        """Return the logarithm of PHS*'s evaluation, that of the state it starts from standing for the one it leads to."""
        left = math.log(way.value) / math.log(self.discount) if 0 < way.value < 1 else 0.0
        return (math.log(way.depth + left) - (1 + left / way.depth) * way.logprob,)
