"""`python -m agentkit_training.scaling.sweep.worker FOLDER`: what trains the cells of a sweep, one after the other.

A cell is a line of JSON on stdin, what is told of it a line of JSON on stdout. When stdin ends, because the sweep is to stop or
because whoever ran it is gone, the cell in hand is checkpointed and the process ends.
"""

from __future__ import annotations

import json
import sys
import threading
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch

from agentkit.errors import JobError
from agentkit.jobs import write_atomic
from agentkit_training.scaling.sweep.cells import Cell
from agentkit_training.scaling.sweep.training import ids, train

__all__ = ["HELD_OUT", "TRAIN", "main", "result_of"]

TRAIN, HELD_OUT = "train.bin", "held_out.bin"


def result_of(folder: Path, key: str) -> Path:
    """Return the file that a finished cell's loss is in."""
    return folder / f"{key}.json"


def main() -> int:
    """Train what is asked for; return the exit status."""
    torch.set_num_threads(1)  # how many add up a sum changes its last bits
    folder = Path(sys.argv[1])
    text, held_out = (ids((folder / name).read_bytes()) for name in (TRAIN, HELD_OUT))
    asked: SimpleQueue[str] = SimpleQueue()
    stop = threading.Event()
    threading.Thread(target=_listen, args=(asked, stop), daemon=True).start()
    while line := asked.get():
        cell = Cell.from_json(json.loads(line))
        try:
            found = train(
                cell, text, held_out, folder / f"{cell.key}.pt",
                stop=stop.is_set, report=partial(_tell_step, cell.key),
            )  # fmt: skip
            if found is None:
                break
            write_atomic(result_of(folder, cell.key), json.dumps(found))
        except JobError as error:
            _tell(cell=cell.key, error=str(error))
            return 1
        _tell(cell=cell.key, step=cell.steps, done=True)
    return 0


def _listen(asked: SimpleQueue[str], stop: threading.Event) -> None:
    for line in sys.stdin:
        asked.put(line)
    stop.set()
    asked.put("")


def _tell_step(key: str, step: int) -> None:
    _tell(cell=key, step=step)


def _tell(**known: Any) -> None:
    sys.stdout.write(json.dumps(known) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
