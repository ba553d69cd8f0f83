"""All detectors of loops as one guard, on in every run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentkit.guards.cycles import cycles
from agentkit.guards.failures import failing, refused, same_error
from agentkit.guards.finding import Detector
from agentkit.guards.ladder import climb, gravest
from agentkit.guards.repeats import insisting, repeats
from agentkit.guards.silence import silence
from agentkit.guards.stagnation import oscillation, stagnation
from agentkit.guards.window import recent
from agentkit.protocols import Go, HistoryItem, Spent, Verdict

DETECTORS: tuple[Detector, ...] = (
    insisting,
    repeats,
    cycles,
    oscillation,
    same_error,
    refused,
    failing,
    silence,
    stagnation,
)


@dataclass(frozen=True, slots=True)
class Loops:
    """Says what the gravest of its detectors has to say; among equals, the first of them."""

    detectors: tuple[Detector, ...] = DETECTORS
    name: str = "loops"

    def check(self, history: Sequence[HistoryItem], spent: Spent) -> Verdict:
        """Return the verdict after the last item of `history`."""
        items = recent(history)
        if not items or items[-1].kind == "nudge":
            return Go()  # nothing has happened since
        return gravest(climb(detect(items), items) for detect in self.detectors)
