"""The tool seam: what a tool is, and what it is handed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentkit.protocols.engine import CancelFlag, Engine
from agentkit.protocols.store import Store
from agentkit.types import CONFINED, Confinement, Outcome, Pending, ToolSpec

Emit = Callable[[str, Mapping[str, Any]], None]  # event type, payload


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """What a tool is handed besides its arguments."""

    run_id: str
    effect_id: str  # the same after a crash and a resume: an idempotency key
    workspace: Path  # the root that file tools stay inside
    cancel: CancelFlag
    deadline: float | None  # `time.monotonic()` seconds
    emit: Emit  # for `tool_progress`
    call: Callable[[str, Mapping[str, Any]], Outcome]  # a nested call: passes policy and ledger
    child: Callable[[int], AbstractContextManager[None]] | None = None  # held while a process of that pid runs
    engine: Engine | None = None
    store: Store | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)  # the plugin's settings section
    delegate: Callable[[str, CancelFlag], Outcome] | None = None  # do a goal in a sub-run; None: it cannot be done here
    confine: Confinement = CONFINED  # for processes that it starts
    results: Sequence[str] = ()  # earlier results of the conversation, for `$N`; from result 1
    waiting: Pending | None = None  # what this very call said before, where the framework makes it again


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool with its code. Made by `agentkit.tool`, or from a LangChain tool."""

    spec: ToolSpec
    run: Callable[[Mapping[str, Any], ToolContext], Outcome]  # arguments have been validated
    validate: Callable[[Mapping[str, Any]], Mapping[str, Any]]  # raises ValueError with the mend
    predict: Callable[[Mapping[str, Any], ToolContext], Outcome] | None = None  # a dry run
    undo: Callable[[Mapping[str, Any], ToolContext], Outcome] | None = None
    reconcile: Callable[[str, ToolContext], Outcome | None] | None = None  # by effect id
    settings: Mapping[str, Any] = field(default_factory=dict)  # its plugin's section; set by whoever loads the plugin

    @property
    def name(self) -> str:
        """The name the model calls it by."""
        return self.spec.name
