"""What keeps a run from going round in circles, or on for ever: pure functions of its history.

`recorded` writes a finished call into the history, `Loops` and `Budgets` judge it; the same history always gets
the same verdict, so a resumed run is judged like an uninterrupted one. A nudge always comes first, then the loop is
dropped from the conversation and its calls are ruled out, then a person is asked or the run ends. Tools that poll
are never held against anybody.
"""

from __future__ import annotations

from agentkit.guards.budgets import Budgets, working_seconds, working_tokens
from agentkit.guards.canonical import BANNED, REPEATED, call_class, outcome_class, output_digest
from agentkit.guards.degeneration import DegenerationWatch, repeated_suffix
from agentkit.guards.ladder import gravest
from agentkit.guards.loops import DETECTORS, Loops
from agentkit.guards.recorded import banned, nothing, recorded, said, same_call
from agentkit.protocols import Guard

__all__ = [
    "BANNED",
    "DETECTORS",
    "REPEATED",
    "Budgets",
    "DegenerationWatch",
    "Loops",
    "banned",
    "call_class",
    "default_guards",
    "gravest",
    "nothing",
    "outcome_class",
    "output_digest",
    "recorded",
    "repeated_suffix",
    "said",
    "same_call",
    "working_seconds",
    "working_tokens",
]


def default_guards() -> tuple[Guard, ...]:
    """Return the guards that are on in every run, budgets first."""
    return (Budgets(), Loops())
