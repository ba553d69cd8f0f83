"""What keeps a run from going round in circles, or on for ever: pure functions of its history.

Each guard reads the whole history and says `Go`, `Nudge` or `Stop`; the same history always gets the
same verdict, so a resumed run is judged like an uninterrupted one. A nudge always comes before a stop,
once in each episode. Tools that poll are never held against anybody.
"""

from __future__ import annotations

from agentkit.guards.budgets import Budgets
from agentkit.guards.canonical import call_class, outcome_class, output_digest
from agentkit.guards.cycles import Cycles
from agentkit.guards.degeneration import DegenerationWatch, repeated_suffix
from agentkit.guards.errors import FailingTools, RefusedCalls, SameError
from agentkit.guards.repeats import Repeats
from agentkit.guards.stagnation import Stagnation
from agentkit.protocols import Guard

__all__ = [
    "Budgets",
    "Cycles",
    "DegenerationWatch",
    "FailingTools",
    "RefusedCalls",
    "Repeats",
    "SameError",
    "Stagnation",
    "call_class",
    "default_guards",
    "outcome_class",
    "output_digest",
    "repeated_suffix",
]


def default_guards() -> tuple[Guard, ...]:
    """Return the guards that are on in every run, budgets first."""
    return (Budgets(), Repeats(), Cycles(), SameError(), RefusedCalls(), FailingTools(), Stagnation())
