"""The limits of a run: model calls, tool calls, tokens and time. On by default; no model can change them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentkit.protocols import Go, HistoryItem, Spent, Stop, Verdict
from agentkit.types import StopReason


@dataclass(frozen=True, slots=True)
class Budgets:
    """Stops a run before the call that would go beyond a limit."""

    name: str = "budgets"

    def check(self, history: Sequence[HistoryItem], spent: Spent) -> Verdict:
        """Return `Stop(BUDGET)` with a sentence when a limit is used up."""
        limits = (
            (spent.model_calls, spent.max_model_calls, "model calls", "run.max_turns, --max-turns"),
            (spent.tool_calls, spent.max_tool_calls, "tool calls", "run.max_tool_calls"),
            (spent.tokens, spent.max_tokens, "tokens", "run.max_tokens, --max-tokens"),
            (spent.seconds, spent.max_seconds, "seconds", "run.timeout_s, --timeout"),
        )
        for used, limit, unit, setting in limits:
            if limit is not None and used >= limit:
                detail = f"the limit of {limit:g} {unit} is used up ({used:.5g}); raise it with {setting}"
                return Stop(reason=StopReason.BUDGET, detail=detail, detector=self.name)
        return Go()
