"""How a detector's count becomes a verdict: first a nudge, then, if it was not heeded, a stop."""

from __future__ import annotations

from collections.abc import Sequence

from agentkit.protocols import Go, HistoryItem, Nudge, Stop, Verdict
from agentkit.types import StopReason

WINDOW = 96  # finished steps that guards look back on


def recent(history: Sequence[HistoryItem]) -> list[HistoryItem]:
    """Return the calls and nudges since the user last spoke, at most `WINDOW` of them."""
    found: list[HistoryItem] = []
    for item in reversed(history):
        if item.kind == "user" or len(found) == WINDOW:
            break
        if item.kind == "nudge" or (item.kind == "call" and item.call is not None):
            found.append(item)
    return found[::-1]


def climb(
    detector: str,
    count: int,
    *,
    nudge_at: int,
    stop_at: int,
    episode: Sequence[HistoryItem],
    nudge: str,
    stop: str,
) -> Verdict:
    """Return the verdict for something seen `count` times in the calls and nudges of `episode`.

    One nudge an episode. Nothing is stopped that was not nudged before and called again since.
    """
    if count < nudge_at:
        return Go()
    nudged = next((n for n, item in enumerate(episode) if item.kind == "nudge"), None)
    if nudged is None:
        return Nudge(text=nudge, detector=detector)
    heeded_not = any(item.kind == "call" for item in episode[nudged:])
    if count >= stop_at and heeded_not:
        return Stop(reason=StopReason.LOOP, detail=stop, detector=detector)
    return Go()
