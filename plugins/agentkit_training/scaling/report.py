"""What the commands of `agentkit train scaling` print: a table, or one JSON document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agentkit.cli.output import document, pairs, say, table
from agentkit_training.scaling.fitting import Fit
from agentkit_training.scaling.law import Law
from agentkit_training.scaling.published import PUBLISHED, published
from agentkit_training.scaling.saving import load_fit, summary
from agentkit_training.scaling.using import Allocation, Prediction

__all__ = ["found_law", "show_allocations", "show_fit", "show_prediction"]

NO_INTERVAL = "-"


def found_law(name: str) -> Law | Fit:
    """Return a published law by its name, or the fit in a file, which has a suffix.

    Raises:
        UsageError: it is neither.
    """
    if name not in PUBLISHED and Path(name).suffix:
        return load_fit(Path(name))
    return published(name)


def show_fit(fit: Fit, as_json: bool) -> None:
    """Print a fit."""
    if as_json:
        document("train scaling fit", summary(fit))
        return
    rows = [
        {
            "constant": name,
            "value": _figure(item.value),
            "standard_error": _figure(item.standard_error),
            "interval_95": _span(item.interval),
        }
        for name, item in fit.estimates().items()
    ]
    table(rows, ("constant", "value", "standard_error", "interval_95"), empty="no constants")
    worst = max(range(len(fit.runs)), key=lambda n: abs(fit.residuals[n]))
    lines: dict[str, Any] = {
        "runs": f"{len(fit.runs)}, {len(fit.dropped)} dropped",
        "sum of Huber losses": _figure(fit.objective),
        "largest residual": f"{fit.residuals[worst]:+.2%} of the loss, {_place(fit, worst)}",
    }
    if fit.extrapolation is not None:
        ahead = fit.extrapolation
        lines["extrapolation"] = (
            f"to {ahead.factor:.3g} times the compute: {ahead.mean_error:+.2%} in the mean, "
            f"{ahead.largest_error:.2%} at worst, over {ahead.held_out_runs} runs"
        )
    pairs(lines)
    _warn(fit.warnings)


def show_prediction(asked: dict[str, float], found: Prediction, as_json: bool) -> None:
    """Print a prediction, and what it is for."""
    if as_json:
        document("train scaling predict", {**asked, **asdict(found)})
        return
    row = {**{name: _figure(value) for name, value in asked.items()}, "loss": _figure(found.loss, 6)}
    table([{**row, "interval_95": _span(found.interval)}], [*row, "interval_95"], empty="")
    _warn(found.warnings)


def show_allocations(found: Sequence[Allocation], as_json: bool) -> None:
    """Print what each budget is best spent on."""
    if as_json:
        rows = [{**asdict(item), "tokens_per_param": item.tokens_per_param, "epochs": item.epochs} for item in found]
        document("train scaling allocate", rows)
        return
    names = ["flops", "params", "tokens", "tokens_per_param", "loss"]
    names += ["epochs"] if any(item.epochs for item in found) else []
    names += ["params_95"] if any(item.intervals for item in found) else []
    rows = [
        {
            **{name: _figure(getattr(item, name), 6 if name == "loss" else 4) for name in names if name != "params_95"},
            "params_95": _span(item.intervals.get("params")),
        }
        for item in found
    ]
    table(rows, names, empty="no budgets")
    _warn([warning for item in found for warning in item.warnings])


def _place(fit: Fit, number: int) -> str:
    run = fit.runs[number]
    return f"line {run.line}" if run.line is not None else f"N = {run.params:.3g}, D = {run.tokens:.3g}"


def _figure(value: float | None, digits: int = 4) -> str:
    return NO_INTERVAL if value is None else f"{value:.{digits}g}"


def _span(interval: tuple[float, float] | None) -> str:
    return NO_INTERVAL if interval is None else f"{interval[0]:.4g} to {interval[1]:.4g}"


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        say(f"warning: {warning}")
