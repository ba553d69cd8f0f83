"""Fit a law to runs, and say how far it can be trusted: intervals, residuals, warnings and a look ahead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from agentkit.errors import MissingDependency, UsageError
from agentkit_training.scaling.doubts import Extrapolation, doubts, look_ahead
from agentkit_training.scaling.families import FAMILIES, Data, Family
from agentkit_training.scaling.law import Array, Law, positive
from agentkit_training.scaling.runs import Run, checked
from agentkit_training.scaling.solver import DELTA, objective, polish, solve

__all__ = ["LEVEL", "Estimate", "Fit", "fit"]

LEVEL = 0.95  # of the intervals
BOOTSTRAP = 100
FEWEST = 20  # samples that intervals are made from
LEAST = 3  # different N and D; with two, any exponent fits


@dataclass(frozen=True)
class Estimate:
    """A constant with its standard error and interval; both are None without a bootstrap."""

    value: float
    standard_error: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Fit:
    """A law fitted to runs. Everything about the runs is in one order, which does not depend on the order they came in."""

    law: Law
    runs: tuple[Run, ...]
    dropped: tuple[Run, ...]  # as outliers
    residuals: tuple[float, ...]  # ln loss - ln L, a run each
    objective: float  # the sum of Huber losses
    delta: float
    seed: int
    samples: tuple[tuple[float, ...], ...]  # the constants of each bootstrap sample
    extrapolation: Extrapolation | None
    warnings: tuple[str, ...]

    def estimates(self) -> dict[str, Estimate]:
        """Return each constant with its standard error and 95 % percentile interval."""
        values = self.law.constants()
        if not self.samples:
            return {name: Estimate(value) for name, value in values.items()}
        errors = np.std(self.samples, axis=0, ddof=1)
        return {
            name: Estimate(value, float(errors[n]), interval([sample[n] for sample in self.samples]))
            for n, (name, value) in enumerate(values.items())
        }

    def covariance(self) -> list[list[float]] | None:
        """Return the covariance of the constants over the bootstrap samples, in the order of `law.constants()`."""
        return np.cov(self.samples, rowvar=False).tolist() if self.samples else None

    def laws(self) -> list[Law]:
        """Return the law of each bootstrap sample."""
        return [type(self.law)(*sample) for sample in self.samples]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the quantiles that leave out as much on either side and hold 95 % of the values."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def fit(
    runs: Sequence[Run],
    *,
    form: str = "chinchilla",
    delta: float = DELTA,
    drop_outliers: int = 0,
    bootstrap: int = BOOTSTRAP,
    seed: int = 0,
) -> Fit:
    """Fit a law by least Huber loss of ln L, with intervals from resampled runs.

    Args:
        runs: at least one more than the form has constants, with three different N and three different D.
        form: `chinchilla`, `kaplan` or `data_constrained`.
        delta: the error in ln L from which on a run counts linearly, not squared.
        drop_outliers: how many runs to leave out, those of the highest loss first: barely trained models are off the law.
        bootstrap: how many samples to refit, at least 20; 0 for no intervals.
        seed: of the bootstrap. The same runs and seed give the same fit, in whichever order the runs come.

    Raises:
        UsageError: a run or an argument is unusable, or the runs are too few or too alike.
        MissingDependency: scipy is not installed.
    """
    family = _family(form)
    positive("delta", delta)
    if bootstrap and bootstrap < FEWEST:
        raise UsageError(f"bootstrap is {bootstrap}; give 0 for no intervals, or at least {FEWEST} samples")
    kept, dropped = _without_outliers(checked(runs), drop_outliers)
    _check_enough(kept, family)
    data = columns(kept)
    thetas = solve(family, data, delta=delta)
    best = thetas[0]
    total = objective(family, data, np.ones(len(kept)), delta)(best)[0]
    ahead = look_ahead(kept, lambda some: _refit(some, family, delta))
    return Fit(
        law=family.of_theta(best),
        runs=tuple(kept),
        dropped=tuple(dropped),
        residuals=tuple((data.loss - family.log_loss(best, data)[0]).tolist()),
        objective=total * delta**2,
        delta=delta,
        seed=seed,
        samples=tuple(_resampled(family, data, thetas, delta, bootstrap, seed)),
        extrapolation=ahead,
        warnings=tuple(doubts(family, best, data, kept, ahead)),
    )


def columns(runs: Sequence[Run]) -> Data:
    """Return the logarithms of the runs' numbers; unique tokens are at most all tokens."""
    unique = [min(run.unique_tokens or run.tokens, run.tokens) for run in runs]
    figures = [[run.params for run in runs], [run.tokens for run in runs], unique, [run.loss for run in runs]]
    return Data(*np.log(np.array(figures, dtype=float)))


def _family(form: str) -> Family:
    if form not in FAMILIES:
        raise UsageError(f"no form '{form}'; there are: {', '.join(FAMILIES)}")
    if find_spec("scipy") is None:
        raise MissingDependency("fitting a scaling law needs scipy: pip install 'agentkit-local[train]'")
    return FAMILIES[form]


def _without_outliers(runs: list[Run], count: int) -> tuple[list[Run], list[Run]]:
    if count < 0:
        raise UsageError(f"drop_outliers is {count}; give how many runs to leave out, 0 for none")
    worst = sorted(runs, key=lambda run: run.loss, reverse=True)[:count]
    return [run for run in runs if run not in worst], worst


def _check_enough(runs: Sequence[Run], family: Family) -> None:
    """Raise `UsageError` where the runs cannot determine the constants."""
    need = len(family.names) + 1
    if len(runs) < need:
        raise UsageError(f"{len(runs)} runs are too few for the {family.law.form} form; it needs at least {need}")
    for name, values in (("params", {run.params for run in runs}), ("tokens", {run.tokens for run in runs})):
        if len(values) < LEAST:
            raise UsageError(f"the runs have {len(values)} different {name}; vary them, at least {LEAST} are needed")
    if family.law.repeats and all((run.unique_tokens or run.tokens) >= run.tokens for run in runs):
        raise UsageError(
            "no run repeats tokens: set unique_tokens below tokens in some runs, or fit the chinchilla form"
        )


def _refit(runs: Sequence[Run], family: Family, delta: float) -> Law | None:
    """Return the law of some of the runs; None where they are too few or too alike."""
    try:
        _check_enough(runs, family)
    except UsageError:
        return None
    return family.of_theta(solve(family, columns(runs), delta=delta)[0])


def _resampled(
    family: Family, data: Data, thetas: Sequence[Array], delta: float, count: int, seed: int
) -> list[tuple[float, ...]]:
    """Return the constants for runs drawn with replacement, each search begun at the optima of all runs."""
    rng, size = np.random.default_rng(seed), len(data.loss)
    begun = [thetas[0], *(theta for theta in thetas[1:] if not np.allclose(theta, thetas[0], atol=0.05))][:2]
    samples = []
    for _ in range(count):
        weights = rng.multinomial(size, np.full(size, 1 / size)).astype(float)
        value = objective(family, data, weights, delta)
        ends = [polish(family, data, start, weights=weights, delta=delta) for start in begun]
        samples.append(tuple(family.of_theta(min(ends, key=lambda theta: value(theta)[0])).constants().values()))
    return samples
