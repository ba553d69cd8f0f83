"""What the solver needs to know of each form: where to start, and the log of the loss with its gradients.

The solver works on theta, the logarithms of a law's constants: so all of them stay positive, and nothing is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from agentkit_training.scaling.chinchilla import Chinchilla
from agentkit_training.scaling.data_constrained import DataConstrained
from agentkit_training.scaling.kaplan import Kaplan
from agentkit_training.scaling.law import Array, Law

__all__ = ["FAMILIES", "Data", "Family"]

NEVER = 1e-6  # the share of the loss at which a term starts whose best weight is zero
GRID = tuple(np.arange(0.1, 1.01, 0.05))
KAPLAN_GRID = tuple(np.geomspace(0.02, 0.8, 19))
DECAYS = (1.0, 4.0, 16.0, 64.0)  # repetitions
FAR = 50.0  # in logarithms; keeps wild trial steps finite
ANY = 300.0  # in logarithms; a constant this small or large has lost its meaning, and is still a number


@dataclass(frozen=True)
class Data:
    """Runs as columns of natural logarithms: of N, D, U and the loss."""

    params: Array
    tokens: Array
    unique: Array
    loss: Array


@dataclass(frozen=True)
class Family:
    """One form, ready to be fitted."""

    law: type[Law]
    names: tuple[str, ...]  # of theta, in order
    bounds: dict[str, tuple[float, float]]  # of some constants; beyond them one term can be taken for another
    starts: Callable[[Data], Iterator[Array]]
    log_loss: Callable[[Array, Data], tuple[Array, Array]]  # values, and gradients by theta as columns

    def limits(self) -> tuple[Array, Array]:
        """Return the least and the greatest theta."""
        pairs = [np.log(self.bounds[name]) if name in self.bounds else (-ANY, ANY) for name in self.names]
        low, high = np.array(pairs).T
        return low, high

    def of_theta(self, theta: Array) -> Law:
        """Return the law that a theta stands for."""
        return self.law(**dict(zip(self.names, map(float, np.exp(theta)), strict=True)))


def _chinchilla_starts(data: Data) -> Iterator[Array]:
    """Yield the best E, A and B for each alpha and beta."""
    for alpha in GRID:
        for beta in GRID:
            yield _linear(data, data.tokens, alpha, beta)


def _linear(data: Data, tokens: Array, alpha: float, beta: float) -> Array:
    """Return theta with these exponents: E, A and B are then a linear problem, with errors relative to the loss."""
    n, d = data.params.mean(), tokens.mean()  # centred, so that the columns are of one size
    columns = np.stack([np.ones_like(tokens), np.exp(-alpha * (data.params - n)), np.exp(-beta * (tokens - d))], axis=1)
    weights = _nonnegative(columns / np.exp(data.loss)[:, None])
    e, a, b = np.log(np.maximum(weights, NEVER * np.exp(data.loss.min())))
    return np.array([e, a + alpha * n, b + beta * d, np.log(alpha), np.log(beta)])


def _nonnegative(columns: Array) -> Array:
    """Return the weights, none below zero, that bring the sum of these columns nearest to one."""
    from scipy.optimize import nnls  # noqa: PLC0415  laws can be used without the train extra

    weights: Array = nnls(columns, np.ones(len(columns)))[0]
    return weights


def _chinchilla_log_loss(theta: Array, data: Data) -> tuple[Array, Array]:
    return _three_terms(theta, data.params, data.tokens)


def _three_terms(theta: Array, params: Array, tokens: Array) -> tuple[Array, Array]:
    """Return ln(E + A / N^alpha + B / D^beta) as a log-sum-exp, and its gradients by the first five of theta."""
    (e, a, b), (alpha, beta) = theta[:3], np.exp(theta[3:5])
    terms = np.stack([np.full_like(params, e), a - alpha * params, b - beta * tokens])
    top = terms.max(axis=0)
    value = top + np.log(np.exp(terms - top).sum(axis=0))
    share = np.exp(terms - value)
    by_exponents = -alpha * share[1] * params, -beta * share[2] * tokens
    return value, np.stack([*share, *by_exponents], axis=1)


def _kaplan_starts(data: Data) -> Iterator[Array]:
    """Yield the best N_c and D_c for each pair of exponents: L^(1 / alpha_D) is linear in N_c^r and D_c."""
    n, d, mean = data.params.mean(), data.tokens.mean(), data.loss.mean()
    for alpha_n in KAPLAN_GRID:
        for alpha_d in KAPLAN_GRID:
            ratio = alpha_n / alpha_d
            scale = np.exp(np.clip((mean - data.loss) / alpha_d, -FAR, FAR))
            columns = np.stack([np.exp(-ratio * (data.params - n)) * scale, np.exp(d - data.tokens) * scale], axis=1)
            model, tokens = np.log(np.maximum(_nonnegative(columns), NEVER)) + mean / alpha_d
            yield np.array([n + model / ratio, d + tokens, np.log(alpha_n), np.log(alpha_d)])


def _kaplan_log_loss(theta: Array, data: Data) -> tuple[Array, Array]:
    (n_c, d_c), (alpha_n, alpha_d) = theta[:2], np.exp(theta[2:])
    ratio = alpha_n / alpha_d
    model, tokens = ratio * (n_c - data.params), d_c - data.tokens
    total = np.logaddexp(model, tokens)
    share, other = np.exp(model - total), np.exp(tokens - total)
    by_n = alpha_n * share * (n_c - data.params)
    return alpha_d * total, np.stack([alpha_n * share, alpha_d * other, by_n, alpha_d * total - by_n], axis=1)


def _constrained_starts(data: Data) -> Iterator[Array]:
    """Yield Chinchilla's best for tokens that repetition has discounted in several ways."""
    for tokens_decay in np.log(DECAYS):
        tokens = _saturated(data.tokens, data.unique, tokens_decay)[0]
        for alpha in GRID[::2]:
            for beta in GRID[::2]:
                start = _linear(data, tokens, alpha, beta)
                for params_decay in np.log(DECAYS[1:3]):
                    yield np.array([*start, tokens_decay, params_decay])


def _saturated(whole: Array, base: Array, log_decay: float) -> tuple[Array, Array, Array]:
    """Return ln(base + base R* (1 - exp(-R / R*))) with R = whole / base - 1, and its gradients by ln base and ln R*."""
    decay, repeats = np.exp(log_decay), np.expm1(np.minimum(whole - base, FAR))
    left = np.exp(-repeats / decay)
    worth = 1 - decay * np.expm1(-repeats / decay)
    by_base = 1 - left * (1 + repeats) / worth
    by_decay = (worth - 1 - repeats * left) / worth
    return base + np.log(worth), by_base, by_decay


def _constrained_log_loss(theta: Array, data: Data) -> tuple[Array, Array]:
    (a, b), (alpha, beta) = theta[1:3], np.exp(theta[3:5])
    log_ratio = (np.log(alpha / beta) + a - b) / (alpha + beta)
    optimal = log_ratio + beta / alpha * (log_ratio + data.unique)
    params, by_base, by_params_decay = _saturated(data.params, np.minimum(data.params, optimal), theta[6])
    tokens, _, by_tokens_decay = _saturated(data.tokens, data.unique, theta[5])
    value, by_theta = _three_terms(theta, params, tokens)
    by_params, by_tokens = -alpha * by_theta[:, 1], -beta * by_theta[:, 2]
    # The optimal N moves with theta, through G and through the exponent beta / alpha.
    through = np.where(data.params > optimal, by_params * by_base, 0.0)
    reach, shift = (
        1 / alpha,
        beta / alpha * (log_ratio + data.unique),
    )  # reach: of ln G, (1 + beta/alpha)/(alpha + beta)
    by_theta[:, 1] += through * reach
    by_theta[:, 2] -= through * reach
    by_theta[:, 3] += through * (reach * (1 - alpha * log_ratio) - shift)
    by_theta[:, 4] += through * (reach * (-1 - beta * log_ratio) + shift)
    decays = by_tokens * by_tokens_decay, by_params * by_params_decay
    return value, np.concatenate([by_theta, np.stack(decays, axis=1)], axis=1)


_EXPONENT, _DECAY = (0.01, 2.0), (0.1, 1000.0)
_CHINCHILLA = {"alpha": _EXPONENT, "beta": _EXPONENT}
FAMILIES: dict[str, Family] = {
    "chinchilla": Family(
        law=Chinchilla,
        names=("E", "A", "B", "alpha", "beta"),
        bounds=_CHINCHILLA,
        starts=_chinchilla_starts,
        log_loss=_chinchilla_log_loss,
    ),
    "kaplan": Family(
        law=Kaplan,
        names=("N_c", "D_c", "alpha_N", "alpha_D"),
        bounds={"alpha_N": _EXPONENT, "alpha_D": _EXPONENT},
        starts=_kaplan_starts,
        log_loss=_kaplan_log_loss,
    ),
    "data_constrained": Family(
        law=DataConstrained,
        names=("E", "A", "B", "alpha", "beta", "R_D", "R_N"),
        bounds={**_CHINCHILLA, "R_D": _DECAY, "R_N": _DECAY},
        starts=_constrained_starts,
        log_loss=_constrained_log_loss,
    ),
}
