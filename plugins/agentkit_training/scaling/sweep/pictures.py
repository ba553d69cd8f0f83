"""Pictures of what was trained: losses along budgets of counted compute, and along a doubling of parameters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agentkit_training.scaling.chinchilla import Chinchilla
from agentkit_training.scaling.law import Law
from agentkit_training.scaling.plots import HEIGHT, WIDTH
from agentkit_training.scaling.sweep.making import Made

__all__ = ["plot_budgets", "plot_doubling"]

if TYPE_CHECKING:
    from agentkit_training.scaling.sweep.doubling import Doubled

DPI = 100


def plot_budgets(law: Law, made: Sequence[Made], path: Path) -> None:
    """Draw measured losses against N, a colour a budget, with the law through the same N and D and a star at its best.

    Between two sizes of a budget the tokens are interpolated; their product with N is not quite constant, as FLOPs are counted.
    """
    from matplotlib import colormaps  # noqa: PLC0415  of the train extra, and slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.subplots()
    budgets = sorted({one.cell.budget or one.cell.flops for one in made})
    for place, budget in zip(np.linspace(0, 0.85, len(budgets)), budgets, strict=True):
        group = sorted(
            (one for one in made if (one.cell.budget or one.cell.flops) == budget), key=lambda one: one.cell.params
        )
        colour = colormaps["viridis"](place)
        sizes = np.array([one.cell.params for one in group], dtype=float)
        fine = np.geomspace(sizes[0], sizes[-1], 121)
        tokens = np.exp(np.interp(np.log(fine), np.log(sizes), np.log([one.cell.tokens for one in group])))
        losses = law.losses(fine, tokens)
        axes.plot(fine, losses, color=colour, linewidth=1.2)
        axes.plot(sizes, [one.loss for one in group], "o", color=colour, markersize=4.5, label=f"{budget:.2g} FLOPs")
        best = int(np.argmin(losses))
        axes.plot(fine[best], losses[best], "*", color=colour, markersize=11)
    axes.set(
        xscale="log",
        xlabel="parameters N, head included",
        ylabel="held-out loss, nats per token",
        title="equal compute",
    )
    axes.legend(fontsize="small", frameon=False)
    figure.savefig(path, format="png", dpi=DPI)


def plot_doubling(rows: Sequence[Doubled], law: Chinchilla, tokens: float, path: Path) -> None:
    """Draw measured and predicted loss against N at the same tokens, with the floor that N alone does not go below."""
    from matplotlib.figure import Figure  # noqa: PLC0415  of the train extra, and slow to import

    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.subplots()
    sizes = [row.params for row in rows]
    fine = np.geomspace(sizes[0], sizes[-1], 121)
    axes.plot(fine, law.losses(fine, np.full_like(fine, tokens)), color="tab:blue", label="predicted")
    spans = [row.interval for row in rows if row.interval is not None]
    if len(spans) == len(rows):
        axes.fill_between(sizes, [low for low, _ in spans], [high for _, high in spans], color="tab:blue", alpha=0.15)
    axes.plot(sizes, [row.loss for row in rows], "o", color="black", markersize=5, label="measured")
    axes.axhline(law.E + law.B * tokens**-law.beta, color="0.4", linestyle="--", linewidth=1, label="E + B / D^beta")
    axes.axhline(law.E, color="0.7", linestyle=":", linewidth=1, label="E")
    axes.set(xscale="log", xlabel="parameters N, head included", ylabel="held-out loss, nats per token")
    axes.set_xticks(sizes, [f"{size / 1e3:.3g} K" for size in sizes])
    axes.minorticks_off()
    axes.set_title(f"N doubled at D = {tokens:.3g} tokens")
    axes.secondary_yaxis("right", functions=(np.exp, _log)).set_ylabel("perplexity")
    axes.legend(fontsize="small", frameon=False)
    figure.savefig(path, format="png", dpi=DPI)


def _log(values: Any) -> Any:
    """Return the logarithm; matplotlib asks for that of an empty axis as well, which ends at 0."""
    return np.log(np.maximum(values, 1e-9))
