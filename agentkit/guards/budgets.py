"""The limits of a run: model calls, tool calls, changes, tokens and time. On by default; no model can change them.

A tenth of the tokens and of the time (1 to 10 s) is kept back for a last answer, which is one model call more.
Before each model call its prompt and a short reply are weighed against what is left, so that no limit is
passed by the call that finds it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentkit.protocols import Go, HistoryItem, Nudge, Spent, Stop, Verdict
from agentkit.types import StopReason

RESERVE = 0.1  # of tokens and time
RESERVE_S = (1.0, 10.0)  # of time: at least, at most
LEFT = 2  # model calls: the model is told when so many are left
MANY = 8  # model calls: of fewer nothing is told


@dataclass(frozen=True, slots=True)
class Budgets:
    """Stops a run before the call that would go beyond a limit, and says so in time."""

    name: str = "budgets"

    def check(self, history: Sequence[HistoryItem], spent: Spent) -> Verdict:
        """Return `Stop(BUDGET)` with a sentence when a limit is used up, a nudge when it soon will be."""
        tokens, seconds = working_tokens(spent.max_tokens), working_seconds(spent.max_seconds)
        limits = (
            (spent.model_calls, spent.max_model_calls, "model calls", "run.max_turns, --max-turns"),
            (spent.tool_calls, spent.max_tool_calls, "tool calls", "run.max_tool_calls"),
            (spent.effects, spent.max_effects, "calls that change something", "run.max_effects"),
            (spent.tokens + spent.next_tokens, tokens, "tokens", "run.max_tokens, --max-tokens"),
            (spent.seconds, seconds, "seconds", "run.timeout_s, --timeout"),
        )
        for used, limit, unit, setting in limits:
            if limit is not None and used >= limit:
                whole = {"tokens": spent.max_tokens, "seconds": spent.max_seconds}.get(unit, limit)
                detail = f"the limit of {whole:g} {unit} is used up ({used:.5g}); raise it with {setting}"
                return Stop(reason=StopReason.BUDGET, detail=detail, detector=self.name)
        return _soon(history, spent)


def _soon(history: Sequence[HistoryItem], spent: Spent) -> Verdict:
    most = spent.max_model_calls
    if most is None or most < MANY or most - spent.model_calls > LEFT:
        return Go()
    if not history or any(item.detector == "budgets" for item in history):
        return Go()
    return Nudge(text=f"{most - spent.model_calls} replies are left. Finish with what you have.", detector="budgets")


def working_tokens(limit: int | None) -> int | None:
    """Return how many tokens may be used before the last answer."""
    return None if limit is None else limit - int(limit * RESERVE)


def working_seconds(limit: float | None) -> float | None:
    """Return how many seconds may be used before the last answer."""
    if limit is None:
        return None
    least, most = RESERVE_S
    return limit - min(max(limit * RESERVE, least), most, limit / 2)
