"""Replies that come to nothing: empty ones, talk without a call or an answer, cut off ones, degenerate ones.

A model that answers ends its run, so only replies that are neither an answer nor a call are seen here.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentkit.guards.finding import Finding
from agentkit.protocols import HistoryItem

_WORDS = {
    "empty": ("said nothing", "Make one call, or answer."),
    "monologue": ("announced what it would do, and made no call", "Make the call, or answer."),
    "cut_off": ("was cut off for want of room, and nothing of it was run", "Make one short call, or answer shortly."),
    "degenerate": ("repeated itself without end", "Make one short call, or answer in one sentence."),
}


def silence(items: Sequence[HistoryItem]) -> Finding | None:
    """Find replies in a row that came to nothing: the first gets a word, the second is the last."""
    start, count = len(items), 0
    for n in range(len(items) - 1, -1, -1):
        if items[n].kind == "call":
            break
        if items[n].kind == "text":
            start, count = n, count + 1
    if not count:
        return None
    kind = next(item.detector for item in reversed(items) if item.kind == "text")
    what, advice = _WORDS.get(kind, _WORDS["empty"])
    return Finding(
        detector=kind or "empty",
        count=count,
        nudge_at=1,
        block_at=2,
        start=start,
        episode="silence",
        lingers=True,
        what=f"the last {count} replies came to nothing: the last one {what}"
        if count > 1
        else f"the last reply {what}",
        advice=advice,
    )
