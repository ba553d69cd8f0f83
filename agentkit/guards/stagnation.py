"""Many different calls, and nothing new from any of them.

A call is progress when it changes something in a way not done before, or brings text that earlier
outputs did not hold. A new call that succeeds but says nothing new counts half: going through a list
with "ok" after each item looks like that too. What the model says about its progress does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from agentkit.guards.canonical import call_class, masked, outcome_class
from agentkit.guards.ladder import climb, recent
from agentkit.protocols import Go, HistoryItem, Spent, Verdict
from agentkit.types import Done, Effect

_CHANGES = frozenset({Effect.WRITE, Effect.IRREVERSIBLE})
_SHINGLE = 3  # words
_NOVEL = 0.10  # share of an output that must be new
_LOOKED_AT = 4_000  # characters
_CUT = 400  # characters: texts this long may have been shortened, so that only their digest tells


@dataclass(frozen=True, slots=True)
class Stagnation:
    """Nudges after 12 calls without progress, stops after 20."""

    name: str = "stagnation"
    nudge_at: int = 12
    stop_at: int = 20

    def check(self, history: Sequence[HistoryItem], spent: Spent) -> Verdict:
        """Return the verdict on the calls since the last progress."""
        items = recent(history)
        if len(items) < self.nudge_at:
            return Go()
        known, stall, start = _Known(), 0.0, 0
        for n, item in enumerate(items):
            if item.call is None or item.polls:
                continue
            cost = known.cost(item)
            if cost == 0.0:
                stall, start = 0.0, n + 1
            stall += cost
        return climb(
            self.name,
            int(stall),
            nudge_at=self.nudge_at,
            stop_at=self.stop_at,
            episode=items[start:],
            nudge="The last calls brought nothing new. Answer with what you have, or try something quite different.",
            stop=f"{len(items[start:])} calls brought nothing new",
        )


@dataclass(slots=True)
class _Known:
    """What the run has done and read so far."""

    calls: set[str] = field(default_factory=set)
    outcomes: set[str] = field(default_factory=set)
    shingles: set[str] = field(default_factory=set)

    def cost(self, item: HistoryItem) -> float:
        """Return 0 for progress, else what the call adds to the stall; remembers it."""
        assert item.call is not None  # the caller looked
        text = item.outcome.text if item.outcome is not None else ""
        call, outcome, pieces = call_class(item.call), outcome_class(item), _shingles(text)
        new_call = call not in self.calls
        new_text = len(pieces - self.shingles) >= max(1.0, _NOVEL * len(pieces))
        new_text = new_text or (len(text) >= _CUT and outcome not in self.outcomes)
        self.calls.add(call)
        self.outcomes.add(outcome)
        self.shingles |= pieces
        worked = isinstance(item.outcome, Done) or item.failure_is_data
        if worked and (new_text or (new_call and item.effect in _CHANGES)):
            return 0.0
        return 0.5 if worked and new_call else 1.0


@lru_cache(maxsize=512)
def _shingles(text: str) -> frozenset[str]:
    words = masked(text[:_LOOKED_AT]).split()
    if len(words) < _SHINGLE:
        return frozenset({" ".join(words)} if words else ())
    return frozenset(" ".join(words[n : n + _SHINGLE]) for n in range(len(words) - _SHINGLE + 1))
