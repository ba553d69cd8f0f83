"""What the jobs of a sweep share: parameters checked, cells trained that are not yet, results gathered.

A finished cell is a file of its own in the job's folder and is never trained again, also where the same folder is given another
grid: what that sets aside is looked through first.
"""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agentkit.errors import InvalidParams, MissingDependency
from agentkit.jobs import JobContext, JobPlan, write_atomic
from agentkit_training.scaling.runs import Run
from agentkit_training.scaling.sweep import costs
from agentkit_training.scaling.sweep.cells import Cell
from agentkit_training.scaling.sweep.crew import train_all
from agentkit_training.scaling.sweep.texts import Text
from agentkit_training.scaling.sweep.worker import HELD_OUT, TRAIN, result_of

__all__ = ["Made", "count", "made_all", "number", "numbers", "plan_for", "runs_csv", "seed_of"]

A_STEP = 1e9  # FLOPs: what a job counts by, so that its rate is in GFLOP a second
MOST_WORKERS = 64


@dataclass(frozen=True)
class Made:
    """A cell that was trained, and its loss on the text held out, with the standard error of measuring it there."""

    cell: Cell
    loss: float
    loss_se: float

    @property
    def run(self) -> Run:
        """What a law is fitted to."""
        cell = self.cell
        return Run(float(cell.params), float(cell.tokens), self.loss, float(cell.unique_tokens))

    def row(self) -> dict[str, Any]:
        """Return it as a row of a table."""
        cell = self.cell
        return {
            "params": cell.params, "tokens": cell.tokens, "loss": self.loss, "loss_se": self.loss_se,
            "unique_tokens": cell.unique_tokens, "flops": cell.flops, "budget": cell.budget,
            "width": cell.config.width, "layers": cell.config.layers, "hidden": cell.config.hidden,
            "batch_tokens": cell.rows * cell.config.context, "steps": cell.steps, "rate": cell.rate, "seed": cell.seed,
        }  # fmt: skip


def plan_for(cells: Sequence[Cell], text: Text, workers: int, config: Mapping[str, Any]) -> JobPlan:
    """Return what training cells would cost; `config` is what there is to the result beside them.

    Raises:
        MissingDependency: what comes after the training needs a library that is not there.
    """
    for library in ("scipy", "matplotlib"):
        if find_spec(library) is None:
            raise MissingDependency(f"a sweep needs {library}: pip install 'agentkit-local[train]'")
    size, crew = len(text.train) + len(text.held_out), min(workers, len(cells))
    return JobPlan(
        config={**config, "text": text.digest, "cells": [cell.key for cell in cells]},
        flops=sum(cell.flops for cell in cells),
        seconds=costs.seconds(cells, crew),
        memory_bytes=costs.memory_bytes(cells, crew, size),
        disk_bytes=costs.disk_bytes(cells, crew, size),
        backend="torch",
        why=f"models so small are fastest with one thread each: {crew} side by side",
    )  # fmt: skip


def made_all(cells: Sequence[Cell], text: Text, workers: int, context: JobContext) -> list[Made] | None:
    """Train the cells that are not done; return all, in the order given, or None if the job is to stop first."""
    folder = context.checkpoint_dir
    write_atomic(folder / TRAIN, text.train)
    write_atomic(folder / HELD_OUT, text.held_out)
    for cell in cells:
        _bring_back(cell, context.run_dir, folder)
    steps = {cell.key: cell.steps if result_of(folder, cell.key).exists() else 0 for cell in cells}
    total = math.ceil(sum(cell.flops for cell in cells) / A_STEP)

    def told(cell: Cell, step: int, finished: bool) -> None:
        steps[cell.key] = step
        spent = sum(one.flops * steps[one.key] / one.steps for one in cells)
        figures: dict[str, Any] = {"cells": sum(steps[one.key] == one.steps for one in cells)}
        if finished:
            made = _read(cell, folder)
            context.event("cell", made.row())
            figures["loss"] = made.loss
        context.step(min(int(spent / A_STEP), total - 1), total, figures, phase="train")

    left = [cell for cell in cells if steps[cell.key] < cell.steps]
    train_all(
        sorted(left, key=lambda cell: (-cell.flops, cell.params)),  # the longest first: workers then end together
        folder, workers, told=told, should_stop=context.should_stop,
    )  # fmt: skip
    if any(not result_of(folder, cell.key).exists() for cell in cells):
        return None
    context.step(total, total, {"cells": len(cells)}, phase="train")
    return [_read(cell, folder) for cell in cells]


def _bring_back(cell: Cell, run_dir: Path, folder: Path) -> None:
    """Copy a cell's result from what an earlier grid in this folder left, if it is there."""
    target = result_of(folder, cell.key)
    for found in run_dir.glob(f"earlier/*/{folder.name}/{target.name}"):
        if not target.exists():
            shutil.copy2(found, target)


def _read(cell: Cell, folder: Path) -> Made:
    return Made(cell, **json.loads(result_of(folder, cell.key).read_text(encoding="utf-8")))


def runs_csv(made: Sequence[Made]) -> str:
    """Return rows that `read_runs` reads; the same cells give the same bytes."""
    rows, text = [one.row() for one in made], io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def numbers(params: Mapping[str, Any], name: str, default: Sequence[float]) -> list[float]:
    """Return a list of positive numbers, in order, each once."""
    given = params.get(name)
    if given is None:
        return list(default)
    if not isinstance(given, (list, tuple)) or not given:
        raise InvalidParams(f"/{name}: {given!r} is not a list of numbers")
    return sorted({number({f"{name}/{n}": value}, f"{name}/{n}") for n, value in enumerate(given)})


def number(params: Mapping[str, Any], name: str, default: float | None = None) -> float:
    """Return a positive, finite number."""
    value = params.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (math.isfinite(value) and value > 0):
        raise InvalidParams(f"/{name}: {value!r} is not a positive, finite number")
    return float(value)


def count(params: Mapping[str, Any], name: str, default: int, most: int) -> int:
    """Return a whole number from 1 on."""
    value = params.get(name, default)
    if type(value) is not int or not 1 <= value <= most:
        raise InvalidParams(f"/{name}: {value!r} is not a whole number from 1 to {most}")
    return value


def seed_of(params: Mapping[str, Any]) -> int:
    """Return the seed that the cells' own are derived from."""
    value = params.get("seed", 0)
    if type(value) is not int or value < 0:
        raise InvalidParams(f"/seed: {value!r} is not a whole number from 0 on")
    return value
