"""The tree of the decision that is being made, in the store, so that a search survives its process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentkit.graph.context import RunContext


@dataclass(frozen=True, slots=True)
class KeptTree:
    """The tree of one turn of a run."""

    context: RunContext
    turn: int

    def load(self) -> Mapping[str, Any] | None:
        """Return what was saved last for this turn; else what the tree before has below the step that was taken."""
        kept = self.context.store.trees(self.context.run_id, since=self.turn - 1)
        found = {tree["turn"]: tree for tree in kept}
        return found.get(self.turn) or found.get(self.turn - 1)

    def save(self, tree: Mapping[str, Any]) -> None:
        """Keep the tree in place of what was saved before."""
        self.context.store.save_tree(self.context.run_id, self.turn, tree)
