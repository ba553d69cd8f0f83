"""One student of a measurement, its key, and its result: a file of its own, so that it is never taught twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from agentkit.jobs import write_atomic

__all__ = ["Cell", "read_result", "write_result"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One student.

    Attributes:
        kind: what it learns.
        student: who learns: cnn, svm or llama.
        arm: what from.
        share: of the real labels, 0 to 1; 0 without real ones, and for traces.
        seed: of its weights, its order, and its choice of labels.
        steps: of the optimiser.
    """

    kind: Literal["images", "traces"]
    student: str
    arm: str
    share: float = 0.0
    seed: int
    steps: int

    @property
    def key(self) -> str:
        """A name for its file."""
        told = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:20]


def read_result(folder: Path, cell: Cell) -> dict[str, Any] | None:
    """Return what a cell came to, or None if it is not done, or its file is torn."""
    try:
        found: dict[str, Any] = json.loads((folder / f"{cell.key}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def write_result(folder: Path, cell: Cell, result: Mapping[str, Any]) -> None:
    """Keep what a cell came to."""
    write_atomic(folder / f"{cell.key}.json", json.dumps({**asdict(cell), **result}) + "\n")
