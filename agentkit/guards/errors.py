"""Failing in the same way, or at everything.

`SameError`: one tool, one cause, whatever the arguments. `RefusedCalls`: tools that do not exist, and
arguments that do not fit. `FailingTools`: nothing works any more, whichever tool. A successful change
forgives earlier failures (edit, then test again); tools whose failure is information are left alone; an
overloaded or unreachable server gets more patience, for waiting may help.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentkit.guards.canonical import REFUSALS, error_fingerprint, is_infrastructure
from agentkit.guards.ladder import climb, recent
from agentkit.protocols import Go, HistoryItem, Spent, Verdict
from agentkit.types import Done, Effect, Failed

_CHANGES = frozenset({Effect.WRITE, Effect.IRREVERSIBLE})


@dataclass(frozen=True, slots=True)
class SameError:
    """Nudges at the third equal error of a tool, stops at the fifth; twice that for infrastructure."""

    name: str = "same_error"
    nudge_at: int = 3
    stop_at: int = 5

    def check(self, history: Sequence[HistoryItem], spent: Spent) -> Verdict:
        """Return the verdict on the last error."""
        items = recent(history)
        last = _last_call(items)
        if last is None or last.call is None or last.polls or last.failure_is_data:
            return Go()
        if not isinstance(last.outcome, Failed) or last.outcome.kind in REFUSALS:
            return Go()
        tool, cause = last.call.tool, error_fingerprint(last.outcome)
        start, count = len(items), 0
        for n in range(len(items) - 1, -1, -1):
            item = items[n]
            if item.call is None:
                continue
            if isinstance(item.outcome, Done) and (item.call.tool == tool or item.effect in _CHANGES):
                break
            if item.call.tool != tool:
                continue
            if not isinstance(item.outcome, Failed) or error_fingerprint(item.outcome) != cause:
                break
            start, count = n, count + 1
        patience = 2 if is_infrastructure(last.outcome) else 1
        return climb(
            self.name,
            count,
            nudge_at=self.nudge_at * patience,
            stop_at=self.stop_at * patience,
            episode=items[start:],
            nudge=f"{tool} failed {count} times in the same way: {_short(last.outcome)}. "
            "Change what causes it, use another tool, or say that it cannot be done.",
            stop=f"{tool} failed {count} times in the same way: {_short(last.outcome)}",
        )


@dataclass(frozen=True, slots=True)
class RefusedCalls:
    """Nudges at the third call in a row that cannot be made at all, stops at the fourth."""

    name: str = "refused_calls"
    nudge_at: int = 3
    stop_at: int = 4

    def check(self, history: Sequence[HistoryItem], spent: Spent) -> Verdict:
        """Return the verdict on the unbroken row of refusals that the history ends with."""
        items = recent(history)
        start, count = _tail(items, lambda item: isinstance(item.outcome, Failed) and item.outcome.kind in REFUSALS)
        last = _last_call(items)
        why = _short(last.outcome) if last is not None and isinstance(last.outcome, Failed) else ""
        return climb(
            self.name,
            count,
            nudge_at=self.nudge_at,
            stop_at=self.stop_at,
            episode=items[start:],
            nudge=f"{count} calls in a row could not be made: {why}. Use only the tools and arguments listed.",
            stop=f"{count} calls in a row named no tool there is, or arguments that do not fit: {why}",
        )


@dataclass(frozen=True, slots=True)
class FailingTools:
    """Nudges when the last eight calls all failed, stops at twelve."""

    name: str = "failing_tools"
    nudge_at: int = 8
    stop_at: int = 12

    def check(self, history: Sequence[HistoryItem], spent: Spent) -> Verdict:
        """Return the verdict on the unbroken row of failures that the history ends with."""
        items = [item for item in recent(history) if not item.polls]
        start, count = _tail(items, lambda item: isinstance(item.outcome, Failed) and not item.failure_is_data)
        return climb(
            self.name,
            count,
            nudge_at=self.nudge_at,
            stop_at=self.stop_at,
            episode=items[start:],
            nudge=f"The last {count} calls all failed. Say what is in the way, or try something quite different.",
            stop=f"the last {count} calls all failed, whichever the tool",
        )


def _last_call(items: Sequence[HistoryItem]) -> HistoryItem | None:
    return next((item for item in reversed(items) if item.kind == "call"), None)


def _tail(items: Sequence[HistoryItem], matches: Callable[[HistoryItem], bool]) -> tuple[int, int]:
    """Return where the unbroken row of matching calls at the end starts, and how many there are."""
    start, count = len(items), 0
    for n in range(len(items) - 1, -1, -1):
        if items[n].call is None:
            continue
        if not matches(items[n]):
            break
        start, count = n, count + 1
    return start, count


def _short(outcome: Failed) -> str:
    return " ".join(outcome.text.split())[:120].rstrip(".")
