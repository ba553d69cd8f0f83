"""Limited discrepancy search (Harvey and Ginsberg 1995): first the way the model likes best, then all that deviate once.

A discrepancy is a rank: taking the third most probable action counts two. Among ways with equally many the deeper is
taken first, so each is followed to its end.
"""

from __future__ import annotations

from dataclasses import dataclass

from agentkit_planners.ordered import OrderedPlanner, Way

__all__ = ["LdsPlanner"]


@dataclass(kw_only=True)
class LdsPlanner(OrderedPlanner):
    """Limited discrepancy search by prior rank: what a goal that is reached or not is best searched with."""

    name: str = "lds"
    valued: bool = False
    lazy: bool = True  # ranks are all it needs, and the first is known before the others

    def cost(self, way: Way) -> tuple[float, ...]:
        """Return the discrepancies; among equals, deeper ways first."""
        return (way.discrepancies, -way.depth)
