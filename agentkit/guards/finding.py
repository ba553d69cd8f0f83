"""What a detector has seen, before anybody decides what to say about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentkit.protocols import HistoryItem


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not getting anywhere, seen `count` times."""

    detector: str
    count: int
    nudge_at: int  # what is seen so often is told to the model
    block_at: int  # and so often, although it was told: the calls are ruled out, or the run ends
    start: int  # where it began, in the recent items
    episode: str  # the same for the same thing, also when it comes back
    what: str  # half a sentence for people and the model: "read_file was called 4 times ..."
    advice: str  # a sentence for the model
    lingers: bool = False  # whether it is remembered for a while after it had stopped
    calls: tuple[str, ...] = ()  # classes of the calls to rule out; none: nothing to rule out


Detector = Callable[[Sequence[HistoryItem]], Finding | None]
"""Reads the recent items of a history, oldest first; pure."""


def places(items: Sequence[HistoryItem]) -> list[int]:
    """Return where the calls stand among the items."""
    return [n for n, item in enumerate(items) if item.kind == "call"]


def tail(items: Sequence[HistoryItem], matches: Callable[[HistoryItem], bool]) -> tuple[int, int]:
    """Return where the unbroken row of matching calls at the end starts, and how many there are."""
    start, count = len(items), 0
    for n in range(len(items) - 1, -1, -1):
        if items[n].kind != "call":
            continue
        if not matches(items[n]):
            break
        start, count = n, count + 1
    return start, count


def classes(items: Sequence[HistoryItem]) -> tuple[str, ...]:
    """Return the classes of the calls among the items, each once, in their order."""
    return tuple(dict.fromkeys(item.key for item in items if item.kind == "call" and item.key))
