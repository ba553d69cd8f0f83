"""What a search has spent, and whether it may go on: asked before every batch, so it goes over by one batch at most."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agentkit.protocols import Ending, PlanBudget

__all__ = ["Meter"]

_SMOOTHING = 0.3  # how much the last batch counts in what the next is thought to take


@dataclass(slots=True)
class Meter:
    """Counts, and compares with a budget."""

    budget: PlanBudget
    read_tokens: Callable[[], int]
    clock: Callable[[], float] = time.monotonic
    simulations: int = 0
    calls: int = 0
    tool_calls: int = 0
    earlier_tokens: int = 0  # by a process that this search goes on from
    before: Counter[str] = field(default_factory=Counter)  # by the decisions whose tree this one goes on with
    _began: float | None = None
    _expected: float = 0.0  # seconds that the next batch is thought to take
    _tokens: int = field(init=False)

    def __post_init__(self) -> None:
        self._tokens = self.read_tokens()

    @property
    def tokens(self) -> int:
        """Model tokens that this search has had evaluated."""
        return self.earlier_tokens + self.read_tokens() - self._tokens

    @property
    def spent(self) -> dict[str, int]:
        """All counts by name."""
        return {
            "simulations": self.simulations,
            "calls": self.calls,
            "tool_calls": self.tool_calls,
            "tokens": self.tokens,
        }

    def go_on_from(self, spent: dict[str, int]) -> None:
        """Count what an earlier process has spent on the same decision."""
        self.simulations += spent.get("simulations", 0)
        self.calls += spent.get("calls", 0)
        self.tool_calls += spent.get("tool_calls", 0)
        self.earlier_tokens += spent.get("tokens", 0)

    def charge(self, *spent: Mapping[str, int]) -> None:
        """Take from the budget what the tree that this search goes on with has cost so far."""
        for counts in spent:
            self.before.update({name: counts.get(name, 0) for name in self.spent})

    def ending(self) -> Ending | None:
        """Return why no other batch may begin, or None; a batch is thought to begin with the answer None."""
        budget = self.budget
        if budget.cancel is not None and budget.cancel.is_set():
            return Ending.CANCELLED
        if budget.deadline is not None:
            now = self.clock()
            if self._began is not None:
                took = max(0.0, now - self._began)  # a clock may jump
                self._expected += _SMOOTHING * (took - self._expected) if self._expected else took
            if now + self._expected >= budget.deadline:
                return Ending.DEADLINE
            self._began = now
        for limit, ending in (
            (budget.simulations, Ending.SIMULATIONS),
            (budget.calls, Ending.CALLS),
            (budget.tool_calls, Ending.TOOL_CALLS),
            (budget.tokens, Ending.TOKENS),
        ):
            if limit is not None and self._used(ending.value) >= limit:
                return ending
        return None

    def out(self) -> bool:
        """Whether a batch that is under way has to end now: cancelled, late, or a limit other than simulations reached."""
        return self.ending() not in (None, Ending.SIMULATIONS)

    def room(self, wanted: int) -> int:
        """Return how many of `wanted` nodes may be opened at once, at least 1."""
        budget = self.budget
        limits = {"simulations": budget.simulations, "calls": budget.calls, "tool_calls": budget.tool_calls}
        left = [limit - self._used(name) for name, limit in limits.items() if limit is not None]
        return max(1, min(wanted, *left))

    def _used(self, name: str) -> int:
        return int(getattr(self, name)) + self.before[name]
