"""What the nodes work with: made once for each run, never checkpointed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentkit.config import Settings
from agentkit.guards import working_seconds
from agentkit.policy import Policy
from agentkit.protocols import CancelFlag, Emit, Engine, Guard, PlanBudget, Planner, Spent, Store
from agentkit.tools import Registry
from agentkit.types import Progress, Usage

Heuristic = Callable[[Progress], float]
"""How likely a run that has come so far is to reach its goal: 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """The parts of the agent that a run uses, and its clock."""

    run_id: str
    engine: Engine
    planner: Planner
    guards: tuple[Guard, ...]
    policy: Policy
    tools: Registry
    store: Store
    settings: Settings
    workspace: Path
    files: Path  # where results too long for the context are put
    emit: Emit
    cancel: CancelFlag
    asks: bool  # a person can answer now, or later through the queue
    attended: bool = False  # a person can answer now
    epoch: int = 0  # of the thread's lease: what the ledger refuses when another process has taken over
    clock: Callable[[], float] = time.monotonic
    graph: Any = None  # the compiled state machine, for sub-runs
    root_id: str = ""  # of a sub-run: the run that it belongs to
    goals: tuple[str, ...] = ()  # of a sub-run: the user's task, the goals in between, and its own
    heuristics: Mapping[str, Heuristic] = field(default_factory=dict)  # by name; used once they have earned it
    mark: list[float] = field(default_factory=list)  # when spent time was last added up
    refused: list[dict[str, Any]] = field(default_factory=list)  # calls made by tools that policy did not allow

    def plan_budget(self, deadline: float | None = None) -> PlanBudget:
        """Return what a search for one step may spend; it has to be over at `deadline` if that comes first."""
        limits = self.settings.planner
        own = None if limits.timeout_s is None else self.clock() + limits.timeout_s
        return PlanBudget(
            simulations=limits.simulations,
            calls=limits.calls,
            tokens=limits.tokens,
            tool_calls=limits.tool_calls,
            deadline=min((moment for moment in (deadline, own) if moment is not None), default=None),
            cancel=self.cancel,
        )

    def limits(self, spent: Mapping[str, Any]) -> Spent:
        """Return what is spent, with this run's limits."""
        run = self.settings.run
        return Spent(
            model_calls=spent.get("model_calls", 0),
            tool_calls=spent.get("tool_calls", 0),
            effects=spent.get("effects", 0),
            tokens=spent.get("tokens", 0),
            seconds=spent.get("seconds", 0.0),
            next_tokens=spent.get("next_tokens", 0),
            max_model_calls=run.max_turns,
            max_tool_calls=run.max_tool_calls,
            max_effects=run.max_effects,
            max_tokens=run.max_tokens,
            max_seconds=run.timeout_s,
        )

    def add_time(self, spent: Mapping[str, Any]) -> dict[str, Any]:
        """Return `spent` with the seconds since the last call added; waiting for people is not counted."""
        now = self.clock()
        seconds = now - self.mark[-1] if self.mark else 0.0
        self.mark[:] = [now]
        return {**spent, "seconds": spent.get("seconds", 0.0) + seconds}

    def deadline(self, spent: Mapping[str, Any], *, last: bool = False) -> float | None:
        """Return when the run's work must be over, on the monotonic clock; `last`: and its last answer, too."""
        whole = self.settings.run.timeout_s
        limit = whole if last else working_seconds(whole)
        if limit is None:
            return None
        since = self.mark[-1] if self.mark else self.clock()  # what came after it is not in `spent` yet
        return since + max(0.0, limit - float(spent.get("seconds", 0.0)))


def add_usage(total: Mapping[str, Any], usage: Usage) -> dict[str, Any]:
    """Return `total` with one model call's usage added, field by field."""
    added = Usage(**total) + usage
    return {name: getattr(added, name) for name in Usage.__dataclass_fields__}


def add_spent(spent: Mapping[str, Any], usage: Usage, model_calls: int) -> dict[str, Any]:
    """Return `spent` with model calls and their tokens added."""
    return {
        **spent,
        "model_calls": spent.get("model_calls", 0) + model_calls,
        "tokens": spent.get("tokens", 0) + usage.prompt + usage.decoded + usage.forced,
        "next_tokens": 0,
    }


def unheard(kind: str, data: Mapping[str, Any]) -> None:
    """Say it to nobody: it is only thought about."""
