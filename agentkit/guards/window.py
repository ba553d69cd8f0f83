"""How far guards look back."""

from __future__ import annotations

from collections.abc import Sequence

from agentkit.protocols import HistoryItem

WINDOW = 96  # finished steps


def recent(history: Sequence[HistoryItem]) -> list[HistoryItem]:
    """Return what happened since the user last spoke, at most `WINDOW` items of it, oldest first."""
    found: list[HistoryItem] = []
    for item in reversed(history):
        if item.kind == "user" or len(found) == WINDOW:
            break
        if item.kind != "call" or item.call is not None:
            found.append(item)
    return found[::-1]
