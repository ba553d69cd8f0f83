"""Minimise the sum of Huber(ln L - ln loss), as Hoffmann et al. 2022 do, without their grid of long searches.

For given exponents the rest of a law is a linear problem, so a grid over the exponents alone, each solved by
non-negative least squares, already gives good starts (variable projection); the best few are polished with BFGS and
analytic gradients. The objective is the sum over runs, not the mean: with the mean the usual tolerances stop too early.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from agentkit_training.scaling.families import Data, Family
from agentkit_training.scaling.law import Array

__all__ = ["DELTA", "huber", "objective", "polish", "solve"]

DELTA = 1e-3  # where the Huber loss turns from quadratic to linear, in ln L
POLISHED = 8
STEPS = 500
SMALL = 1e-6  # of the gradient, in units in which the curvature is one
RIDGE = 1e-12  # of the curvature, so that a direction the runs say nothing about stays in place

Objective = Callable[[Array], tuple[float, Array]]


def huber(errors: Array, delta: float = DELTA) -> Array:
    """Return errors^2 / 2 up to delta and delta (|errors| - delta / 2) beyond."""
    size = np.abs(errors)
    return np.where(size <= delta, errors**2 / 2, delta * (size - delta / 2))


def objective(family: Family, data: Data, weights: Array, delta: float) -> Objective:
    """Return the weighted sum of Huber losses by delta^2, and its gradient by theta, as a function of theta."""

    def value(theta: Array) -> tuple[float, Array]:
        with np.errstate(all="ignore"):  # a trial step may be wild; it is then as bad as can be
            logs, gradients = family.log_loss(theta, data)
            errors = (logs - data.loss) / delta
            total = float(weights @ huber(errors, 1.0))
            slope = (weights * np.clip(errors, -1, 1)) @ gradients / delta
        if not (np.isfinite(total) and np.isfinite(slope).all()):
            return 1e300, np.zeros_like(theta)
        return total, slope

    return value


def solve(family: Family, data: Data, *, delta: float = DELTA) -> list[Array]:
    """Return the polished thetas, the best first."""
    weights = np.ones_like(data.loss)
    value = objective(family, data, weights, delta)
    starts = sorted(family.starts(data), key=lambda theta: value(theta)[0])[:POLISHED]
    ends = [polish(family, data, start, weights=weights, delta=delta) for start in starts]
    return sorted(ends, key=lambda theta: value(theta)[0])


def polish(family: Family, data: Data, start: Array, *, weights: Array, delta: float = DELTA) -> Array:
    """Return the minimum that BFGS reaches from `start`; a constant that leaves its bounds is held there."""
    low, high = family.limits()
    theta, free = np.clip(start, low, high), np.full(start.shape, True)
    while free.any():
        theta = _descend(family, data, theta, free, weights, delta)
        outside = (theta < low) | (theta > high)
        if not outside.any():
            break
        theta, free = np.clip(theta, low, high), free & ~outside
    return theta


def _descend(family: Family, data: Data, start: Array, free: NDArray[np.bool_], weights: Array, delta: float) -> Array:
    """Return the minimum from `start` over the free constants, by BFGS in coordinates that fit the curvature there."""
    from scipy.optimize import minimize  # noqa: PLC0415  laws can be used without the train extra

    value = objective(family, data, weights, delta)
    root = np.zeros((start.size, int(free.sum())))
    root[free] = _whitening(family, data, start, free, weights, delta)

    def whitened(step: Array) -> tuple[float, Array]:
        total, slope = value(start + root @ step)
        return total, root.T @ slope

    options = {"gtol": SMALL, "maxiter": STEPS}
    found = minimize(whitened, np.zeros(root.shape[1]), jac=True, method="BFGS", options=options)
    return np.asarray(start + root @ found.x)


def _whitening(
    family: Family, data: Data, theta: Array, free: NDArray[np.bool_], weights: Array, delta: float
) -> Array:
    """Return a matrix in whose coordinates the curvature at theta is about one in every direction (Gauss-Newton)."""
    logs, gradients = family.log_loss(theta, data)
    errors = np.abs(logs - data.loss) / delta
    scaled = gradients[:, free] * np.sqrt(weights / np.maximum(errors, 1.0))[:, None] / delta
    sizes, axes = np.linalg.eigh(scaled.T @ scaled)
    return np.asarray(axes / np.sqrt(np.maximum(sizes, RIDGE * max(float(sizes[-1]), 1.0))))
