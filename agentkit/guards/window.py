"""How far guards look back."""

from __future__ import annotations

from collections.abc import Sequence

from agentkit.guards.canonical import BANNED, REPEATED
from agentkit.protocols import HistoryItem
from agentkit.types import Failed

WINDOW = 96  # finished steps


def recent(history: Sequence[HistoryItem]) -> list[HistoryItem]:
    """Return what happened since the user last spoke, at most `WINDOW` items of it, oldest first.

    Of many equal calls in one step that were not made one stands for all: a storm must not push out what came before.
    """
    found: list[HistoryItem] = []
    for item in reversed(history):
        if item.kind == "user" or len(found) == WINDOW:
            break
        if found and _not_made(item) and _not_made(found[-1]) and item.key == found[-1].key:
            continue
        if item.kind != "call" or item.call is not None:
            found.append(item)
    return found[::-1]


def _not_made(item: HistoryItem) -> bool:
    return isinstance(item.outcome, Failed) and item.outcome.kind in {BANNED, REPEATED}
