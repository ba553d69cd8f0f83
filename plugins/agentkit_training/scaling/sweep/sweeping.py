"""The job `sweep`: small Llamas over budgets and sizes, and the law that fits them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agentkit.errors import UsageError
from agentkit.jobs import Job, JobContext, JobPlan, write_atomic
from agentkit_training.scaling.fitting import Fit, fit
from agentkit_training.scaling.plots import plot_fit
from agentkit_training.scaling.saving import save_fit, summary
from agentkit_training.scaling.sweep.cells import Cell, cell_for, check_text
from agentkit_training.scaling.sweep.making import (
    MOST_WORKERS,
    Made,
    count,
    made_all,
    numbers,
    plan_for,
    runs_csv,
    seed_of,
)
from agentkit_training.scaling.sweep.pictures import plot_budgets
from agentkit_training.scaling.sweep.shapes import SMALLEST
from agentkit_training.scaling.sweep.texts import Text, read_text

__all__ = ["BUDGETS", "FIT", "ISOFLOP", "RUNS", "SWEEP", "cells_of", "sizes_about"]

BUDGETS = (1e11, 3e11, 1e12)  # FLOPs
SIZES = 5
LEAST, MOST = 0.3, 4.0  # of the size in the middle
MIDDLE = 0.1  # parameters / square root of the budget: about the best of these Llamas on this text
RUNS, FIT, ISOFLOP, FITTED = "runs.csv", "fit.json", "isoflop.png", "fit.png"
TOY = "these are models of bytes with {least:,} to {most:,} parameters: the exponents say nothing of language models at large"


def sizes_about(budget: float, sizes: int = SIZES) -> list[float]:
    """Return sizes spread evenly, in their logarithm, about the best one of a budget of FLOPs."""
    middle = MIDDLE * math.sqrt(budget)
    least = max(LEAST * middle, SMALLEST)
    return [float(size) for size in np.geomspace(least, max(MOST * middle, 4 * least), sizes)]


def plan(params: Mapping[str, Any]) -> JobPlan:
    """Return what a sweep would train and cost; probes this machine for a moment.

    Params: `budgets` (FLOPs; a decade in three by default), `sizes` (parameters, for each budget; by default five about the
    best of it), `text` (a file, or None for Python's docstrings), `workers`, `seed`.

    Raises:
        InvalidParams: a value is off, a budget is less than one step, or the text is too short.
        MissingDependency: the extra `train` is not installed.
    """
    text = read_text(params.get("text"))
    cells = cells_of(params, text)
    return plan_for(cells, text, count(params, "workers", 1, MOST_WORKERS), {})


def run(params: Mapping[str, Any], context: JobContext) -> Mapping[str, Any]:
    """Train every cell that is not done, write runs.csv, fit the law and draw it; return the figures."""
    text = read_text(params.get("text"))
    cells = cells_of(params, text)
    made = made_all(cells, text, count(params, "workers", 1, MOST_WORKERS), context)
    if made is None:
        return {}
    write_atomic(context.artifact_dir / RUNS, runs_csv(made))
    figures: dict[str, Any] = {
        "cells": len(made),
        "flops": sum(cell.flops for cell in cells),
        "runs": [one.row() for one in made],
    }
    context.warn(TOY.format(least=min(cell.params for cell in cells), most=max(cell.params for cell in cells)))
    try:
        found = fit([one.run for one in made], seed=seed_of(params))
    except UsageError as error:
        context.warn(f"no law is fitted: {error}")
        return figures
    return {**figures, **_fitted(found, made, context)}


def cells_of(params: Mapping[str, Any], text: Text) -> list[Cell]:
    """Return the cells, by budget and size; sizes that come to the same shape are one."""
    seed, given = seed_of(params), numbers(params, "sizes", ())
    cells = {
        cell.key: cell
        for budget in numbers(params, "budgets", BUDGETS)
        for size in (given or sizes_about(budget))
        for cell in [cell_for(size, text, seed=seed, budget=budget)]
    }
    check_text(text, list(cells.values()))
    return list(cells.values())


def _fitted(found: Fit, made: Sequence[Made], context: JobContext) -> dict[str, Any]:
    """Write what was fitted, draw it, and return it without the runs."""
    save_fit(found, context.artifact_dir / FIT)
    plot_fit(found, context.artifact_dir / FITTED)
    plot_budgets(found.law, made, context.artifact_dir / ISOFLOP)
    for warning in found.warnings:
        context.warn(warning)
    whole = summary(found)
    return {name: whole[name] for name in ("form", "constants", "level", "objective", "bootstrap", "extrapolation")}


SWEEP = Job(name="scaling-sweep", home="agentkit_training.scaling.sweep.sweeping:SWEEP", plan=plan, run=run)
