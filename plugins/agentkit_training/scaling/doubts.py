"""Reasons not to believe a fit: constants at a bound, runs too much alike, and how it does on larger runs than it saw."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from agentkit_training.scaling.families import Data, Family
from agentkit_training.scaling.law import Array, Law
from agentkit_training.scaling.runs import Run

__all__ = ["Extrapolation", "beyond", "doubts", "look_ahead"]

LARGEST = 1.5  # runs within this factor of the largest budget are of the largest budget
DECADE = 10.0
UNMOVED = 1e-4  # the change of ln L with ln of a constant, below which the runs say nothing about it
EDGE = 1e-3  # of ln; so near a bound is at it


@dataclass(frozen=True)
class Extrapolation:
    """How a fit to the smaller budgets predicts the runs of the largest."""

    fitted_runs: int
    held_out_runs: int
    factor: float  # the largest budget by the largest that was fitted
    mean_error: float  # of the predicted loss, relative, with its sign
    largest_error: float  # in size, relative


def look_ahead(runs: Sequence[Run], refit: Callable[[Sequence[Run]], Law | None]) -> Extrapolation | None:
    """Fit the runs without those of the largest budget and predict these; None where too few are left."""
    most = max(run.flops for run in runs)
    small = [run for run in runs if run.flops < most / LARGEST]
    large = [run for run in runs if run.flops >= most / LARGEST]
    law = refit(small)
    if law is None:
        return None
    unique = [run.unique_tokens if law.repeats else None for run in large]
    predicted = [law.predict(run.params, run.tokens, some) for run, some in zip(large, unique, strict=True)]
    errors = [guess / run.loss - 1 for guess, run in zip(predicted, large, strict=True)]
    return Extrapolation(
        fitted_runs=len(small),
        held_out_runs=len(large),
        factor=most / max(run.flops for run in small),
        mean_error=sum(errors) / len(errors),
        largest_error=max(map(abs, errors)),
    )


def doubts(family: Family, theta: Array, data: Data, runs: Sequence[Run], ahead: Extrapolation | None) -> Iterator[str]:
    """Yield what somebody who uses the fit should know."""
    yield from _at_bounds(family, theta, data)
    for name, logs in (("N", data.params), ("D", data.tokens)):
        factor = math.exp(float(logs.max() - logs.min()))
        if factor < DECADE:
            yield f"{name} spans a factor of {factor:.1f}, less than a decade: its exponent is hardly determined"
    repeated = int(np.sum(data.unique < data.tokens))
    if repeated and not family.law.repeats:
        yield f"{repeated} runs repeat tokens, which the {family.law.form} form takes for fresh ones"
    if ahead is None:
        yield "no extrapolation check: without the runs of the largest budget too few are left to fit"


def _at_bounds(family: Family, theta: Array, data: Data) -> Iterator[str]:
    moved = np.abs(family.log_loss(theta, data)[1]).max(axis=0)
    for name, value, effect, low, high in zip(family.names, theta, moved, *family.limits(), strict=True):
        if value - low < EDGE:
            yield f"{name} is at its lower bound, {math.exp(low):.3g}: the runs do not determine it"
        elif high - value < EDGE:
            yield f"{name} is at its upper bound, {math.exp(high):.3g}: the runs do not determine it"
        elif effect < UNMOVED:
            yield f"{name} is at its bound, with no effect on any run's loss: the runs do not determine it"


def beyond(name: str, value: float, seen: Sequence[float]) -> Iterator[str]:
    """Yield a warning where `value` is more than an order of magnitude outside what was seen."""
    low, high = min(seen), max(seen)
    factor = max(value / high, low / value)
    if factor > DECADE:
        yield f"{name} = {value:.3g} is {factor:.3g} times outside what was fitted ({low:.3g} to {high:.3g})"
