"""Cells taught here, or by worker processes, on one thread each; who teaches which makes no difference.

If the process that started them is gone, however it ended, they end too. A cell that was under way is then taught anew.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from agentkit.errors import Cancelled, JobError
from agentkit_synthesis.measure.cells import Cell
from agentkit_synthesis.workers import leave_with_parent

__all__ = ["teach_all"]

POLL_S = 0.2

ShouldStop = Callable[[], bool]
Teach = Callable[[Mapping[str, Any], Cell, ShouldStop], dict[str, Any]]


def teach_all(
    teach: Teach,
    params: Mapping[str, Any],
    cells: Sequence[Cell],
    workers: int,
    *,
    told: Callable[[Cell, dict[str, Any]], None],
    should_stop: ShouldStop,
) -> None:
    """Teach cells; return when all are done, or `should_stop` says so.

    Args:
        teach: (params, cell, should_stop) -> result, a function of a module; it raises `Cancelled` where it is to stop.
        params: what it is given with each cell.
        cells: the ones that go first come first.
        workers: processes; with 1 they are taught in this one.
        told: given each cell that is done, with its result, in whatever order they are.
        should_stop: asked several times a second.

    Raises:
        JobError: a worker was ended from outside.
    """
    if workers == 1:
        with suppress(Cancelled):
            for cell in cells:
                if should_stop():
                    return
                told(cell, teach(params, cell, should_stop))
        return
    if cells:
        _in_parallel(partial(_taught, teach, dict(params)), cells, min(workers, len(cells)), told, should_stop)


def _in_parallel(
    work: Callable[[Cell], tuple[Cell, dict[str, Any]]],
    cells: Sequence[Cell],
    workers: int,
    told: Callable[[Cell, dict[str, Any]], None],
    should_stop: ShouldStop,
) -> None:
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"  # read when a worker imports numpy and torch
    try:
        pool = multiprocessing.get_context("spawn").Pool(workers, leave_with_parent)
        crew = {child.pid for child in multiprocessing.active_children()}
    finally:
        os.environ.pop("OMP_NUM_THREADS") if before is None else os.environ.update(OMP_NUM_THREADS=before)
    with pool:  # its end terminates the workers
        results = pool.imap_unordered(work, cells)
        left = len(cells)
        while left and not should_stop():
            try:
                cell, result = results.next(POLL_S)
            except multiprocessing.TimeoutError:
                if crew - {child.pid for child in multiprocessing.active_children()}:
                    raise JobError("a worker was ended from outside (out of memory?); the same command goes on, with fewer workers") from None  # fmt: skip
                continue
            left -= 1
            told(cell, result)


def _taught(teach: Teach, params: Mapping[str, Any], cell: Cell) -> tuple[Cell, dict[str, Any]]:
    return cell, teach(params, cell, _never)


def _never() -> bool:
    return False
