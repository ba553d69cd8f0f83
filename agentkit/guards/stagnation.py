"""Many different calls, and nothing new from any of them; and changes that only undo each other.

What is progress stands in progress.py. `oscillation` sees what tools say stands somewhere (`Done.state`): a file
edited to and fro has the same content again and again, though every call differs.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentkit.guards.canonical import REPEATED
from agentkit.guards.finding import Finding, classes
from agentkit.protocols import HistoryItem
from agentkit.types import Failed

NUDGE_AT, STOP_AT = 12, 20  # calls
RETURNS, TOO_MANY_RETURNS = 2, 3


def stagnation(items: Sequence[HistoryItem]) -> Finding | None:
    """Find calls without progress: worth a word after twelve, and twenty are too many."""
    stall, start = 0.0, 0
    for n, item in enumerate(items):
        if item.kind != "call" or item.polls or (isinstance(item.outcome, Failed) and item.outcome.kind == REPEATED):
            continue
        if item.cost == 0.0:
            stall, start = 0.0, n + 1
        stall += item.cost
    if stall < 1.0:
        return None
    calls = sum(item.kind == "call" for item in items[start:])
    return Finding(
        detector="stagnation",
        count=int(stall),
        nudge_at=NUDGE_AT,
        block_at=STOP_AT,
        start=start,
        episode="stagnation",
        what=f"the last {calls} calls brought nothing new",
        advice="Answer with what you have, or try something quite different.",
    )


def oscillation(items: Sequence[HistoryItem]) -> Finding | None:
    """Find a state that was left and came back: worth a word the second time, blocked the third.

    Trying something, learning from it and taking it back is work: between the two something new was told.
    """
    stood: dict[str, int] = {}  # state -> where it stood last
    returns, start, now = 0, len(items), ""
    for n, item in enumerate(items):
        if not item.state or item.state == now:
            continue
        before, now = stood.get(item.state), item.state
        stood[item.state] = n
        if before is None:
            continue
        if any(other.kind == "call" and not other.state and other.cost == 0.0 for other in items[before:n]):
            returns, start = 0, len(items)
            continue
        returns, start = returns + 1, min(start, before)
    if not returns or not items[-1].state:
        return None
    changes = [item for item in items[start:] if item.state]
    names = ", ".join(dict.fromkeys(item.call.tool for item in changes if item.call is not None))
    return Finding(
        detector="oscillation",
        count=returns,
        nudge_at=RETURNS,
        block_at=TOO_MANY_RETURNS,
        start=start,
        episode="oscillation",
        what=f"what {names} changed was changed back {returns} times",
        advice="Decide which of the two it shall be, or look for another cause.",
        lingers=True,
        calls=classes(changes),
    )
