"""Outcomes of tools as plain data: for checkpoints, the ledger, and the pipes of workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentkit.types import Done, Failed, Outcome, Pending

_KINDS: dict[str, type[Done] | type[Failed] | type[Pending]] = {"done": Done, "failed": Failed, "pending": Pending}


def to_dict(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as plain data; `from_dict` is the inverse."""
    fields = {name: getattr(outcome, name) for name in type(outcome).__dataclass_fields__}
    return {"outcome": type(outcome).__name__.lower(), **fields}


def from_dict(data: Mapping[str, Any]) -> Outcome:
    """Return the outcome that `to_dict` wrote."""
    fields = {key: value for key, value in data.items() if key != "outcome"}
    if "artifacts" in fields:
        fields["artifacts"] = tuple(fields["artifacts"])
    return _KINDS[data["outcome"]](**fields)
