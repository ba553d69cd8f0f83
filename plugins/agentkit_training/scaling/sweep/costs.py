"""What cells will cost on this machine: seconds by a probe of real training steps, memory and disk by count."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

from agentkit_training.scaling.sweep.cells import Cell
from agentkit_training.scaling.sweep.training import Trainer

__all__ = ["disk_bytes", "memory_bytes", "seconds"]

PROBED = 3  # sizes
STEPS = 3
START_S = 3.0  # until a worker has imported torch
LIBRARIES = 420_000_000  # bytes of a process that has taken its first step
STATES = 4  # weight, gradient and two moments
FLOAT = 4  # bytes
KEPT = 24  # activations of a layer for the backward pass, each as wide as the model
OVERHEAD = 200_000  # bytes of tables and pictures, and of logs


def seconds(cells: Sequence[Cell], workers: int) -> float:
    """Return how long the cells will take, from the FLOPs a second of the smallest, the middle and the largest size.

    A probe is three steps with one thread, after one that is not counted: well under a second in all.
    """
    if not cells:
        return 0.0
    by_size = sorted({cell.params: cell for cell in cells}.values(), key=lambda cell: cell.params)
    probed = [by_size[round(n)] for n in np.linspace(0, len(by_size) - 1, min(PROBED, len(by_size)))]
    speeds = np.log([_speed(cell) for cell in probed])
    sizes = [math.log(cell.params) for cell in probed]
    each = [cell.flops / math.exp(np.interp(math.log(cell.params), sizes, speeds)) for cell in cells]
    return START_S + max(max(each), sum(each) / workers)


@lru_cache(maxsize=64)
def _speed(cell: Cell) -> float:
    """Return the FLOPs a second of a cell's steps with one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        trainer = Trainer(cell)
        rows = torch.zeros(cell.rows, cell.config.context + 1, dtype=torch.long)
        trainer.step(rows)
        began = time.perf_counter()
        for _ in range(STEPS):
            trainer.step(rows)
        took = (time.perf_counter() - began) / STEPS
    finally:
        torch.set_num_threads(before)
    return cell.flops / cell.steps / took


def memory_bytes(cells: Sequence[Cell], workers: int, text: int) -> int:
    """Return what the workers will hold together at most, when each has the largest cell."""
    return workers * (LIBRARIES + 9 * text + max((_held(cell) for cell in cells), default=0))


def _held(cell: Cell) -> int:
    config, tokens = cell.config, cell.rows * cell.config.context
    return FLOAT * (STATES * cell.params + tokens * (KEPT * config.layers * config.width + 4 * config.vocab))


def disk_bytes(cells: Sequence[Cell], workers: int, text: int) -> int:
    """Return what the folder will hold at most: the text, a checkpoint a worker, results and pictures."""
    return text + OVERHEAD + workers * max((FLOAT * (STATES - 1) * cell.params for cell in cells), default=0)
