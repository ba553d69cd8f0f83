"""One process of several that train together, started by `parallel`.

The first process writes what happens as JSON lines to the file that the parent reads; all of them stop together, when the file
`.stop` is there or SIGTERM came to any.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from agentkit_training.finetune.parallel import METHODS, STEPS, STOP
from agentkit_training.finetune.training import fit

__all__ = ["main"]


class Told:
    """Passes steps on to the parent, if this is the first process."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / STEPS).open("a") if os.environ.get("RANK", "0") == "0" else None
        self._stop, self._asked = folder / STOP, False
        signal.signal(signal.SIGTERM, self._ask)

    def step(self, step: int, total: int | None = None, metrics: Mapping[str, Any] | None = None) -> None:
        """Write a step down."""
        self.write({"step": step, "total": total, "metrics": dict(metrics or {})})

    def write(self, line: Mapping[str, Any]) -> None:
        """Write a line at once."""
        if self._file is not None:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()

    def should_stop(self) -> bool:
        """Whether somebody asked."""
        return self._asked or self._stop.exists()

    def _ask(self, number: int, frame: object) -> None:
        self._asked = True


def any_of(stops: bool) -> bool:
    """Return whether any process wants to stop."""
    if not distributed.is_initialized():
        return stops
    flag = torch.tensor([float(stops)])
    if torch.cuda.is_available():
        flag = flag.cuda()
    distributed.all_reduce(flag, op=distributed.ReduceOp.MAX)
    return bool(flag.item())


def main(folder: Path) -> None:
    """Train with the parameters that the parent wrote down."""
    asked = json.loads((folder / "params.json").read_text())
    told = Told(folder)
    params = METHODS[asked["method"]].parse(asked["params"])
    figures = fit(params, Path(asked["checkpoints"]), Path(asked["out"]), told, agree=any_of)
    told.write({"figures": figures})
    if distributed.is_initialized():
        distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
