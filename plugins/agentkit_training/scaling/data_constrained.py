"""The law of Muennighoff et al. 2023 ("Scaling data-constrained language models", section 3.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agentkit_training.scaling.chinchilla import Chinchilla
from agentkit_training.scaling.law import FLOPS_PER_PARAM_TOKEN, Array, Law, positive

__all__ = ["DataConstrained", "saturated"]

ZOOMS = 5
POINTS = 201  # a zoom narrows the search a hundredfold


def saturated(base: Array, repeats: Array, decay: float) -> Array:
    """Return base + base R* (1 - exp(-R / R*)): what repeats are worth, in fresh ones (their equation 5)."""
    return np.asarray(base * (1 - decay * np.expm1(-repeats / decay)))


@dataclass(frozen=True)
class DataConstrained(Law):
    """L(N, D, U) = E + A / N'^alpha + B / D'^beta: Chinchilla's, with what repeated tokens are still worth.

    D' = U + U R_D (1 - exp(-(D/U - 1) / R_D)) for D > U. N' discounts parameters alike: with U_N = min(N, what U
    tokens are compute-optimal for), N' = U_N + U_N R_N (1 - exp(-(N/U_N - 1) / R_N)). R_D and R_N are the paper's
    R_D* and R_N*, in repetitions. With U >= D no token is repeated, and only parameters beyond the optimum of D
    are discounted.
    """

    form: ClassVar[str] = "data_constrained"
    repeats: ClassVar[bool] = True

    E: float
    A: float
    B: float
    alpha: float
    beta: float
    R_D: float
    R_N: float

    def fresh(self) -> Chinchilla:
        """Return the law for data that are not repeated."""
        return Chinchilla(self.E, self.A, self.B, self.alpha, self.beta)

    def losses(self, params: Array, tokens: Array, unique_tokens: Array | None = None) -> Array:
        """Return the losses; without unique tokens, all tokens are."""
        unique = tokens if unique_tokens is None else np.minimum(unique_tokens, tokens)
        useful = np.minimum(params, self.params_for(unique))
        effective_params = saturated(useful, params / useful - 1, self.R_N)
        effective_tokens = saturated(unique, tokens / unique - 1, self.R_D)
        return self.fresh().losses(effective_params, effective_tokens)

    def params_for(self, tokens: Array) -> Array:
        """Return the N that so many fresh tokens are compute-optimal for: G (G D)^(beta / alpha)."""
        log_ratio = self.fresh().log_ratio()
        return np.asarray(np.exp(log_ratio + self.beta / self.alpha * (log_ratio + np.log(tokens))))

    def optimum(self, flops: float, unique_tokens: float | None = None) -> tuple[float, float]:
        """Return the best N and D by search over N, to a millionth; Chinchilla's where no tokens are repeated.

        Raises:
            UsageError: `flops` is not positive and finite, or unique tokens are not.
        """
        self.check_unique(unique_tokens)
        product = positive("flops", flops) / FLOPS_PER_PARAM_TOKEN
        params, tokens = self.fresh().optimum(flops)
        if unique_tokens is None or unique_tokens >= tokens:
            return params, tokens
        ends = 0.0, math.log(product), math.log(params)  # one parameter, one token, and the optimum of fresh ones
        low, high = min(ends) - 1, max(ends) + 1
        for _ in range(ZOOMS):
            grid = np.linspace(low, high, POINTS)
            sizes = np.exp(grid)
            best = int(np.argmin(self.losses(sizes, product / sizes, np.float64(unique_tokens))))  # type: ignore[arg-type]
            low, high = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, POINTS - 1)])
        params = math.exp((low + high) / 2)
        return params, product / params
