"""Cells divided among worker processes, each with one thread.

A worker takes the next cell when it has finished one. If this process is gone, however it ended, its workers checkpoint and end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from agentkit.errors import JobError
from agentkit_training.scaling.sweep.cells import Cell

__all__ = ["train_all"]

POLL_S = 0.2
PATIENCE_S = 60.0  # for a worker to write its checkpoint

Told = SimpleQueue[dict[str, Any] | None]
Worker = subprocess.Popen[str]


def train_all(
    cells: Sequence[Cell],
    folder: Path,
    workers: int,
    *,
    told: Callable[[Cell, int, bool], None],
    should_stop: Callable[[], bool],
) -> None:
    """Train cells into `folder`, in which the text is; return when all are done or `should_stop` says so.

    Args:
        cells: the ones that go first come first.
        folder: results and checkpoints.
        workers: processes.
        told: given a cell, its steps done, and whether it is finished.
        should_stop: asked several times a second.

    Raises:
        JobError: a cell failed, or a worker ended by itself.
    """
    by_key = {cell.key: cell for cell in cells}
    waiting, messages = deque(cells), Told()
    crew = [_hire(folder) for _ in range(min(workers, len(cells)))]
    drivers = [threading.Thread(target=_drive, args=(worker, waiting, messages), daemon=True) for worker in crew]
    for driver in drivers:
        driver.start()
    try:
        left = len(crew)
        while left and not should_stop():
            try:
                message = messages.get(timeout=POLL_S)
            except Empty:
                continue
            if message is None:
                left -= 1
            elif "error" in message:
                raise JobError(message["error"])
            else:
                told(by_key[message["cell"]], message["step"], message.get("done", False))
    finally:
        waiting.clear()
        _dismiss(crew)
        for driver in drivers:
            driver.join()


def _hire(folder: Path) -> Worker:
    return subprocess.Popen(
        [sys.executable, "-m", "agentkit_training.scaling.sweep.worker", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,  # Ctrl-C is for the sweep, which then lets its workers finish their step
    )


def _dismiss(crew: Sequence[Worker]) -> None:
    """End the workers' stdin, at which they checkpoint, and wait for them."""
    for worker in crew:
        assert worker.stdin is not None
        with suppress(OSError):
            worker.stdin.close()
    for worker in crew:
        try:
            worker.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


def _drive(worker: Worker, waiting: deque[Cell], messages: Told) -> None:
    """Give a worker one cell after the other, and pass on what it says."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    with worker.stdout, suppress(IndexError):  # nothing is waiting any more
        while True:
            cell = waiting.popleft()
            with suppress(OSError, ValueError):  # it is gone, which its stdout says, or it was dismissed
                worker.stdin.write(json.dumps(cell.to_json()) + "\n")
                worker.stdin.flush()
            finished = False
            for line in worker.stdout:
                message = json.loads(line)
                messages.put(message)
                if finished := bool(message.get("done") or message.get("error")):
                    break
            if not finished:
                messages.put(
                    {"error": f"{cell.key}: its worker ended with status {worker.wait()}; run the sweep again"}
                )
                break
    messages.put(None)
