"""Pictures of a law: how it fits its runs, and the loss along budgets of equal compute (IsoFLOP)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from agentkit.errors import MissingDependency, UsageError
from agentkit_training.scaling.fitting import Fit, columns
from agentkit_training.scaling.law import FLOPS_PER_PARAM_TOKEN, Law
from agentkit_training.scaling.runs import Run
from agentkit_training.scaling.using import allocate

__all__ = ["budgets_of", "plot_fit", "plot_isoflop"]

SAME = 1.25  # budgets closer than this factor are drawn as one
MOST = 8  # curves; with more budgets, as many spread evenly over their range
SPAN = 16.0  # a curve goes from the optimum by this factor to either side
WIDTH, HEIGHT, DPI = 6.4, 4.8, 120


def plot_fit(fit: Fit, path: Path) -> None:
    """Draw predicted against measured loss, and residuals against compute, as a PNG.

    Raises:
        MissingDependency: matplotlib is not installed.
        UsageError: `path` cannot be written.
    """
    figure = _figure(2)
    left, right = figure.subplots(1, 2)
    logs = columns(fit.runs).loss
    flops, measured = [run.flops for run in fit.runs], np.exp(logs)
    predicted = np.exp(logs - np.array(fit.residuals))
    ends = [min(measured.min(), predicted.min()), max(measured.max(), predicted.max())]
    left.plot(ends, ends, color="0.6", linewidth=1)
    left.scatter(predicted, measured, c=np.log10(flops), s=14)
    left.set(xlabel="predicted loss", ylabel="measured loss", title=_title(fit))
    right.axhline(0, color="0.6", linewidth=1)
    right.scatter(flops, 100 * np.array(fit.residuals), c=np.log10(flops), s=14)
    right.set(xscale="log", xlabel="training FLOPs, 6ND", ylabel="ln measured - ln predicted, %", title="residuals")
    _save(figure, path)


def plot_isoflop(
    law: Law | Fit,
    budgets: Sequence[float],
    path: Path,
    *,
    unique_tokens: float | None = None,
    marked: tuple[float, float] | None = None,
) -> None:
    """Draw the loss along each budget against N with its optimum, and the runs of a fit, as a PNG.

    Args:
        law: what is drawn.
        budgets: of FLOPs; a curve each.
        path: where the picture goes.
        unique_tokens: for the curves; without, no token is repeated on them.
        marked: an N and its loss, to be marked with a cross.

    Raises:
        MissingDependency: matplotlib is not installed.
        UsageError: `path` cannot be written, or the law has no use for `unique_tokens`.
    """
    from matplotlib import colormaps  # noqa: PLC0415  of the train extra, and slow to import

    figure = _figure(1)
    axes = figure.subplots()
    own, runs = (law, ()) if isinstance(law, Law) else (law.law, law.runs)
    scale = np.log([*budgets, *(run.flops for run in runs)])
    low, span = scale.min(), max(float(np.ptp(scale)), 1e-9)
    for flops in budgets:
        best = allocate(flops, law=own, unique_tokens=unique_tokens)
        colour = colormaps["viridis"](0.9 * (np.log(flops) - low) / span)
        sizes = best.params * np.geomspace(1 / SPAN, SPAN, 121)
        unique = None if unique_tokens is None else np.full_like(sizes, unique_tokens)
        losses = own.losses(sizes, flops / (FLOPS_PER_PARAM_TOKEN * sizes), unique)
        axes.plot(sizes, losses, color=colour, linewidth=1.2, label=f"{flops:.2g} FLOPs")
        axes.plot([best.params], [best.loss], marker="*", markersize=11, color=colour, linestyle="none")
    for run in runs:
        colour = colormaps["viridis"](0.9 * (np.log(run.flops) - low) / span)
        axes.plot([run.params], [run.loss], marker="o", markersize=3.5, color=colour, linestyle="none")
    if marked is not None:
        axes.plot(*marked, marker="x", markersize=9, color="black", linestyle="none")
    repeats = "" if not own.repeats else f", {unique_tokens:.3g} unique tokens" if unique_tokens else ", no repeats"
    title = f"{own.form}: equal compute{repeats}"
    axes.set(xscale="log", xlabel="parameters N", ylabel="loss, nats per token", title=title)
    axes.legend(fontsize="small", frameon=False)
    _save(figure, path)


def budgets_of(runs: Sequence[Run]) -> list[float]:
    """Return the budgets that runs were made with, at most eight."""
    groups: list[list[float]] = []
    for flops in sorted(run.flops for run in runs):
        if groups and flops < SAME * groups[-1][-1]:
            groups[-1].append(flops)
        else:
            groups.append([flops])
    middles = [float(np.exp(np.mean(np.log(group)))) for group in groups]
    return middles if len(middles) <= MOST else [float(flops) for flops in np.geomspace(middles[0], middles[-1], MOST)]


def _title(fit: Fit) -> str:
    return f"{fit.law.form}, {len(fit.runs)} runs"


def _figure(panels: int) -> Any:
    if find_spec("matplotlib") is None:
        raise MissingDependency("plots need matplotlib: pip install 'agentkit-local[train]'")
    from matplotlib.figure import Figure  # noqa: PLC0415  of the train extra, and slow to import

    return Figure(figsize=(WIDTH * panels, HEIGHT), layout="constrained")


def _save(figure: Any, path: Path) -> None:
    try:
        figure.savefig(path, format="png", dpi=DPI)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror}); name another file") from error
