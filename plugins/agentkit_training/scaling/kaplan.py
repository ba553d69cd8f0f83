"""The laws of Kaplan et al. 2020 ("Scaling laws for neural language models")."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agentkit_training.scaling.law import FLOPS_PER_PARAM_TOKEN, Array, Law, positive

__all__ = ["Kaplan"]


@dataclass(frozen=True)
class Kaplan(Law):
    """L(N, D) = ((N_c / N)^(alpha_N / alpha_D) + D_c / D)^alpha_D (their equation 1.5).

    N counts no embeddings, D is the size of the data set, and the loss is that of training to the best point. No loss
    is irreducible: with endless data it is (N_c / N)^alpha_N (equation 1.1), with an endless model (D_c / D)^alpha_D
    (equation 1.2).
    """

    form: ClassVar[str] = "kaplan"

    N_c: float
    D_c: float
    alpha_N: float
    alpha_D: float

    def losses(self, params: Array, tokens: Array, unique_tokens: Array | None = None) -> Array:
        """Return equation 1.5, computed in logarithms; unique tokens have no term in it."""
        model = self.alpha_N / self.alpha_D * (math.log(self.N_c) - np.log(params))
        data = math.log(self.D_c) - np.log(tokens)
        return np.asarray(np.exp(self.alpha_D * np.logaddexp(model, data)))

    def of_params(self, params: float) -> float:
        """Return (N_c / N)^alpha_N, the loss with endless data.

        Raises:
            UsageError: N is not positive and finite.
        """
        return float((self.N_c / positive("params", params)) ** self.alpha_N)

    def of_tokens(self, tokens: float) -> float:
        """Return (D_c / D)^alpha_D, the loss of an endless model.

        Raises:
            UsageError: D is not positive and finite.
        """
        return float((self.D_c / positive("tokens", tokens)) ** self.alpha_D)

    def optimum(self, flops: float, unique_tokens: float | None = None) -> tuple[float, float]:
        """Return where equation 1.5 is lowest on 6ND = C.

        That is N = (r N_c^r C / (6 D_c))^(1 / (1 + r)) with r = alpha_N / alpha_D. It is not the paper's own advice,
        N ~ C^0.73: that comes from its law of training steps, and stops training long before the best point.

        Raises:
            UsageError: `flops` is not positive and finite, or unique tokens are given.
        """
        self.check_unique(unique_tokens)
        ratio = self.alpha_N / self.alpha_D
        product = math.log(positive("flops", flops) / FLOPS_PER_PARAM_TOKEN)
        log_params = (math.log(ratio) + ratio * math.log(self.N_c) + product - math.log(self.D_c)) / (1 + ratio)
        params = math.exp(log_params)
        return params, flops / (FLOPS_PER_PARAM_TOKEN * params)
