"""The store seam: where runs, events, effects and approvals are kept."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectRow:
    """One entry of the effects ledger."""

    effect_id: str
    run_id: str
    tool: str
    args_digest: str
    state: Literal["intent", "done", "unknown"]
    attempt: int
    result: str = ""  # JSON of the outcome, when done
    step_path: str = ""  # where in the run: turn/index, after the id of the tool that makes the call
    lease_epoch: int = 0  # of the conversation, when it was intended; 0: not checked


@runtime_checkable
class Store(Protocol):
    """Where runs, events, effects and approvals are kept; one object a process, thread-safe."""

    def start_run(self, run_id: str, thread_id: str, row: Mapping[str, Any]) -> None:
        """Insert the run before its id is given to anybody."""
        ...

    def end_run(self, run_id: str, row: Mapping[str, Any]) -> None:
        """Write how it ended."""
        ...

    def recovered(self, run_id: str) -> int:
        """Count that a run which did not end by itself is taken up once more; return how often that was."""
        ...

    def run(self, run_id: str) -> Mapping[str, Any] | None:
        """Return one run's row."""
        ...

    def runs(self, *, limit: int = 50, thread_id: str | None = None) -> list[Mapping[str, Any]]:
        """Return runs, newest first."""
        ...

    def threads(self, *, limit: int = 50) -> list[Mapping[str, Any]]:
        """Return threads with their first words and last use, newest first."""
        ...

    def next_seq(self, run_id: str) -> int:
        """Return the sequence number after the run's last persisted event."""
        ...

    def append_event(self, run_id: str, seq: int, event: Mapping[str, Any]) -> None:
        """Persist one event."""
        ...

    def events(self, run_id: str) -> list[Mapping[str, Any]]:
        """Return a run's events in order."""
        ...

    def intend(self, row: EffectRow) -> EffectRow:
        """Durably write INTENT before an effect; return the row that is there already, if any."""
        ...

    def complete(self, effect_id: str, result: str) -> None:
        """Durably write DONE with the result."""
        ...

    def mark_unknown(self, effect_id: str) -> None:
        """Write that nobody knows whether the effect took place."""
        ...

    def effects(self, run_id: str, *, state: str | None = None) -> list[EffectRow]:
        """Return a run's ledger in the order of intent; `state`: only those in it."""
        ...

    def lease(self, thread_id: str, run_id: str) -> AbstractContextManager[int]:
        """Hold a conversation while inside; gives its epoch. Raises UsageError when another run is at work in it."""
        ...

    def add_child(self, run_id: str, pid: int) -> None:
        """Write down a process that the run started, leader of a group of its own."""
        ...

    def remove_child(self, run_id: str, pid: int) -> None:
        """Forget a process that has ended."""
        ...

    def reap(self, run_id: str) -> list[int]:
        """End the groups of processes that the run left behind on this machine; return their pids."""
        ...

    def request_approval(self, row: Mapping[str, Any]) -> str:
        """Insert a pending approval; return its id."""
        ...

    def approval(self, approval_id: str) -> Mapping[str, Any] | None:
        """Return one approval's row, or None; one that is past its time is `expired`."""
        ...

    def approvals(self, *, state: str | None = None) -> list[Mapping[str, Any]]:
        """Return approvals, newest first."""
        ...

    def resolve_approval(self, approval_id: str, state: str, by: str) -> bool:
        """Move a pending approval to `approved`, `denied`, `expired` or `cancelled`, once."""
        ...

    def save_tree(self, run_id: str, turn: int, tree: Mapping[str, Any]) -> None:
        """Keep a search tree."""
        ...

    def trees(self, run_id: str, *, since: int = 0) -> list[Mapping[str, Any]]:
        """Return a run's search trees by turn, each with its `turn`, the first of turn `since`."""
        ...

    def save_learned(self, name: str, data: Mapping[str, Any]) -> None:
        """Keep what was learned over many runs, in place of what was kept under that name before."""
        ...

    def learned(self, name: str) -> Mapping[str, Any] | None:
        """Return what was kept under a name, None if nothing was."""
        ...

    def close(self) -> None:
        """Close it; idempotent."""
        ...
