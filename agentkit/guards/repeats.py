"""The same call with the same outcome, again and again; and calls made although they were ruled out.

Looks at the tail of the history: reordered arguments and volatile output do not hide a repeat. Does not see cycles
(cycles.py) or calls that differ (failures.py, stagnation.py). An overloaded server is not a loop: such failures
are counted by failures.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentkit.guards.canonical import BANNED, BLOCKED, is_infrastructure
from agentkit.guards.finding import Finding, tail
from agentkit.protocols import HistoryItem
from agentkit.types import Effect, Failed

_LOOKS = frozenset({Effect.PURE, Effect.READ})


def repeats(items: Sequence[HistoryItem]) -> Finding | None:
    """Find equal calls in a row: worth a word at the second equal read or the third of others, blocked at the fourth."""
    last = items[-1] if items else None
    if last is None or last.call is None or last.polls:
        return None
    if isinstance(last.outcome, Failed) and (is_infrastructure(last.outcome) or last.outcome.kind == BANNED):
        return None
    start, count = tail(items, lambda item: (item.key, item.outcome_key) == (last.key, last.outcome_key))
    if count < 2:
        return None
    blocked = isinstance(last.outcome, Failed) and last.outcome.kind in BLOCKED
    return Finding(
        detector="repeats",
        count=count,
        nudge_at=2 if last.effect in _LOOKS or blocked else 3,
        block_at=4,
        start=start,
        episode=f"repeats {last.key}",
        what=f"{last.call.tool} was called {count} times in a row with the same arguments, and the result is the same",
        advice="Use that result to answer, or do something else.",
        lingers=True,
        calls=(last.key,),
    )


def insisting(items: Sequence[HistoryItem]) -> Finding | None:
    """Find a call that was ruled out and is made all the same; once is enough."""
    last = items[-1] if items else None
    if last is None or last.call is None or not isinstance(last.outcome, Failed) or last.outcome.kind != BANNED:
        return None
    start = next((n for n in range(len(items) - 1, -1, -1) if last.key in items[n].ban), None)
    if start is None:
        return None
    count = sum(item.key == last.key for item in items[start:])
    return Finding(
        detector=items[start].detector,
        count=count,
        nudge_at=1,
        block_at=1,
        start=start,
        episode=items[start].episode,
        what=f"{last.call.tool} was called again although those calls were ruled out: they had led nowhere",
        advice="Do something else, or answer.",
        lingers=True,
    )
