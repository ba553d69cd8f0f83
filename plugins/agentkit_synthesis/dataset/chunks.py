"""Chunks of rows, made here or by spawned workers, given back in order.

The order, and so the bytes, are the same for every number of workers. Only a few chunks are ahead of the one that is
waited for, so that memory does not grow with the number of rows.
"""

from __future__ import annotations

import json
import multiprocessing
from collections import deque
from collections.abc import Generator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from agentkit.errors import AgentkitError, JobError
from agentkit_synthesis.dataset.rows import PAIRS, Rejected, Split, make_row
from agentkit_synthesis.workers import leave_with_parent

__all__ = ["Line", "Outcome", "Recipe", "chunks"]

AHEAD = 2  # chunks a worker that may be under way or waiting


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that a row depends on but for its index."""

    source: str  # module:function
    options: Mapping[str, Any]
    seed: int


@dataclass(frozen=True, slots=True)
class Line:
    """A row as it will stand in the file."""

    split: Split
    family: str
    text: bytes  # JSON with its line feed
    pairs: bytes = b""  # the row's preference pairs, a line each


Outcome = Line | Rejected


def chunks(recipe: Recipe, *, start: int, size: int, workers: int) -> Generator[tuple[int, list[Outcome]]]:
    """Yield (index of the first row, outcomes) from row `start` on, without end; close it to end the workers.

    Args:
        recipe: what to make.
        start: index of the first row.
        size: rows a chunk.
        workers: spawned processes; 1 makes them here.

    Raises:
        JobError: the source failed, or a worker was ended from outside.
    """
    if workers == 1:
        while True:
            yield start, make_chunk(recipe, start, size)
            start += size
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=leave_with_parent)
    waiting: deque[tuple[int, Future[list[Outcome]]]] = deque()
    try:
        while True:
            while len(waiting) < AHEAD * workers:
                waiting.append((start, pool.submit(make_chunk, recipe, start, size)))
                start += size
            first, future = waiting.popleft()
            yield first, future.result()
    except BrokenProcessPool as error:
        raise JobError(
            "a worker ended before its rows were made (out of memory?); resume it, with fewer workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def make_chunk(recipe: Recipe, start: int, size: int) -> list[Outcome]:
    """Return the outcomes of rows `start` to `start + size - 1`; runs in a worker.

    Raises:
        JobError: the source failed; names the row.
    """
    found: list[Outcome] = []
    for index in range(start, start + size):
        try:
            row = make_row(recipe.source, recipe.options, recipe.seed, index)
        except AgentkitError:
            raise
        except Exception as error:  # a source is anybody's code
            told = f"{type(error).__name__}: {error}"
            raise JobError(
                f"{recipe.source}: row {index} of seed {recipe.seed} failed: {told}; mend the source"
            ) from error
        found.append(row if isinstance(row, Rejected) else _line(row))
    return found


def _line(row: Mapping[str, Any]) -> Line:
    pairs = b"".join(_json(pair) for pair in row.get(PAIRS, ())) if row["split"] == "train" else b""
    text = _json({name: value for name, value in row.items() if name != PAIRS})
    return Line(split=row["split"], family=row["family"], text=text, pairs=pairs)


def _json(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, ensure_ascii=False) + "\n").encode()
