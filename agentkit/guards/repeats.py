"""The same call with the same outcome, again and again.

Looks at the tail of the history: reordered arguments and volatile output do not hide a repeat. Does
not see cycles (cycles.py) or calls that differ (errors.py, stagnation.py). An overloaded server is
not a loop: such failures are counted by errors.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentkit.guards.canonical import call_class, is_infrastructure, outcome_class
from agentkit.guards.ladder import climb, recent
from agentkit.protocols import Go, HistoryItem, Spent, Verdict
from agentkit.types import Effect, Failed


@dataclass(frozen=True, slots=True)
class Repeats:
    """Nudges at the second equal read or the third equal other call, stops at the fourth."""

    name: str = "repeats"
    nudge_at_read: int = 2
    nudge_at: int = 3
    stop_at: int = 4

    def check(self, history: Sequence[HistoryItem], spent: Spent) -> Verdict:
        """Return the verdict on the last call."""
        items = recent(history)
        last = next((item for item in reversed(items) if item.kind == "call"), None)
        if last is None or last.call is None or last.polls:
            return Go()
        if isinstance(last.outcome, Failed) and is_infrastructure(last.outcome):
            return Go()
        call, outcome = call_class(last.call), outcome_class(last)
        start, count = len(items), 0
        for n in range(len(items) - 1, -1, -1):
            item = items[n]
            if item.call is None:
                continue
            if call_class(item.call) != call or outcome_class(item) != outcome:
                break
            start, count = n, count + 1
        reads = last.effect in {Effect.PURE, Effect.READ}
        return climb(
            self.name,
            count,
            nudge_at=self.nudge_at_read if reads else self.nudge_at,
            stop_at=self.stop_at,
            episode=items[start:],
            nudge=f"{last.call.tool} was called {count} times with the same arguments, and the result is the same. "
            "Use that result to answer, or do something else.",
            stop=f"{last.call.tool} was called {count} times in a row with the same arguments and the same outcome",
        )
