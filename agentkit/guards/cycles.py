"""A short sequence of calls, with the same outcomes, gone through again and again.

Sees periods of 2 to 8 calls; one call alone is repeats.py. A round in which an argument or an outcome
differs is not the same round: edit-and-test with new edits is work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentkit.guards.canonical import call_class, outcome_class
from agentkit.guards.ladder import climb, recent
from agentkit.protocols import Go, HistoryItem, Spent, Verdict


@dataclass(frozen=True, slots=True)
class Cycles:
    """Nudges after the third equal round, stops after the fourth."""

    name: str = "cycles"
    longest: int = 8
    nudge_at: int = 3
    stop_at: int = 4

    def check(self, history: Sequence[HistoryItem], spent: Spent) -> Verdict:
        """Return the verdict on the rounds that the history ends with."""
        items = recent(history)
        places = [n for n, item in enumerate(items) if item.kind == "call"][-self.longest * (self.stop_at + 1) :]
        calls = [items[n] for n in places]
        symbols = [(call_class(item.call), outcome_class(item)) for item in calls if item.call is not None]
        for period in range(2, self.longest + 1):
            laps = _laps(symbols, period)
            if laps < self.nudge_at:
                continue
            round_ = calls[-period:]
            if all(item.polls for item in round_) or len(set(symbols[-period:])) == 1:
                continue
            names = ", ".join(item.call.tool for item in round_ if item.call is not None)
            return climb(
                self.name,
                laps,
                nudge_at=self.nudge_at,
                stop_at=self.stop_at,
                episode=items[places[-period * laps] :],
                nudge=f"The same {period} calls ({names}) were made {laps} times with the same results. "
                "Use those results to answer, or do something else.",
                stop=f"the same {period} calls ({names}) went round {laps} times with the same outcomes",
            )
        return Go()


def _laps(symbols: Sequence[tuple[str, str]], period: int) -> int:
    """Return how many whole rounds of `period` symbols the sequence ends with."""
    if len(symbols) < period:
        return 0
    same = 0
    while same + period < len(symbols) and symbols[-1 - same] == symbols[-1 - same - period]:
        same += 1
    return 1 + same // period
