"""What a person is asked about a call, and what was decided: the row in the store, or whoever is at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agentkit.protocols import Store

__all__ = ["ApprovalRequest", "Approve", "decision_about"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest:
    """A call that a person must decide about; the decision binds to these very arguments."""

    id: str
    tool: str
    arguments: Mapping[str, Any]
    effect: str
    why: str
    once: bool = False  # the answer holds for this call alone: a destination is in doubt
    foreseen: str = ""  # what the tool's dry run says it would do


Approve = Callable[[ApprovalRequest], bool]


def decision_about(pending: Mapping[str, Any], store: Store, approve: Approve | None) -> str | None:
    """Return how the approval that a run waits for was decided, asking `approve`; None while it is still open."""
    row = store.approval(pending["id"])
    if row is not None and row["state"] != "pending":
        return str(row["state"])
    if approve is None:
        return None
    known = {key: pending[key] for key in ("id", "tool", "arguments", "effect", "why", "once")}
    request = ApprovalRequest(**known, foreseen=pending.get("foreseen", ""))
    decision = "approved" if approve(request) else "denied"
    if store.resolve_approval(request.id, decision, "user"):
        return decision
    row = store.approval(pending["id"])
    return str(row["state"]) if row is not None else "denied"  # somebody else was quicker, or time was
