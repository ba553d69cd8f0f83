"""The law of Hoffmann et al. 2022 ("Training compute-optimal large language models", section 3.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agentkit_training.scaling.law import FLOPS_PER_PARAM_TOKEN, Array, Law, positive

__all__ = ["Chinchilla"]


@dataclass(frozen=True)
class Chinchilla(Law):
    """L(N, D) = E + A / N^alpha + B / D^beta (their equation 2).

    E is the loss in nats per token that no model of the family goes below, A and B scale what a finite model and
    finite data add to it. The loss falls with N and with D, everywhere.
    """

    form: ClassVar[str] = "chinchilla"

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    def losses(self, params: Array, tokens: Array, unique_tokens: Array | None = None) -> Array:
        """Return E + A / N^alpha + B / D^beta; unique tokens have no term in it."""
        return np.asarray(self.E + self.A * params**-self.alpha + self.B * tokens**-self.beta)

    def optimum(self, flops: float, unique_tokens: float | None = None) -> tuple[float, float]:
        """Return N* = G (C/6)^a and D* = (C/6)^b / G, with a = beta / (alpha + beta), b = alpha / (alpha + beta).

        G = (alpha A / (beta B))^(1 / (alpha + beta)) (their equation 4). There alpha A / N^alpha = beta B / D^beta.

        Raises:
            UsageError: `flops` is not positive and finite, or unique tokens are given.
        """
        self.check_unique(unique_tokens)
        product = math.log(positive("flops", flops) / FLOPS_PER_PARAM_TOKEN)
        params = math.exp(self.log_ratio() + product * self.beta / (self.alpha + self.beta))
        return params, flops / (FLOPS_PER_PARAM_TOKEN * params)

    def log_ratio(self) -> float:
        """Return ln G."""
        return math.log(self.alpha * self.A / (self.beta * self.B)) / (self.alpha + self.beta)
