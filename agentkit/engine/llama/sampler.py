"""Choosing a token from logits: pure numpy, and the same seed draws the same tokens.

The mask comes first, the rest after it, in llama.cpp's order: repeat penalty, top-k, top-p, min-p, temperature.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import UsageError
from agentkit.protocols import Sampling, TokenLogprob

__all__ = ["Sampler", "log_softmax", "token_logprob"]

Floats = NDArray[np.float32]
_PENALTY_WINDOW = 64


class Sampler:
    """Draws tokens by one `Sampling`; owns the random state of one request."""

    def __init__(self, sampling: Sampling) -> None:
        """Check the numbers.

        Raises:
            UsageError: one is out of range.
        """
        if not 0 <= sampling.temperature < inf or not 0 < sampling.top_p <= 1 or not 0 <= sampling.min_p < 1:
            raise UsageError(f"{sampling}: temperature >= 0, 0 < top_p <= 1 and 0 <= min_p < 1 are needed")
        if sampling.top_k < 0 or not 0 < sampling.repeat_penalty < inf or sampling.seed < 0:
            raise UsageError(f"{sampling}: top_k >= 0, repeat_penalty > 0 and seed >= 0 are needed")
        self._sampling = sampling
        self._rng = np.random.default_rng(sampling.seed)

    @property
    def is_greedy(self) -> bool:
        """Whether nothing is drawn, so that rounding in the last digits changes nothing but a tie."""
        return self._sampling.temperature == 0

    @property
    def is_argmax(self) -> bool:
        """Whether the greatest raw logit simply wins."""
        return self._sampling.temperature == 0 and self._sampling.repeat_penalty == 1

    def weights(self, logits: Floats, allowed: NDArray[np.intp], recent: Sequence[int]) -> Floats:
        """Return what `draw` compares for each of `allowed`: penalised logits."""
        values = logits[allowed].astype(np.float32)
        if self._sampling.repeat_penalty != 1 and recent:
            seen = np.isin(allowed, np.asarray(recent[-_PENALTY_WINDOW:]))
            penalty = self._sampling.repeat_penalty
            values[seen] = np.where(values[seen] > 0, values[seen] / penalty, values[seen] * penalty)
        return values

    def draw(self, values: Floats) -> int:
        """Return the index of the value drawn; at temperature 0 the greatest."""
        if self._sampling.temperature == 0 or len(values) == 1:
            return int(np.argmax(values))
        kept = np.arange(len(values))
        if 0 < self._sampling.top_k < len(values):
            kept = np.argpartition(-values, self._sampling.top_k - 1)[: self._sampling.top_k]
        chances = _softmax(values[kept])
        if self._sampling.top_p < 1:
            nucleus = _nucleus(chances, self._sampling.top_p)
            kept, chances = kept[nucleus], chances[nucleus]
        if self._sampling.min_p > 0:
            kept = kept[chances >= self._sampling.min_p * chances.max()]
        sums = np.cumsum(_softmax(values[kept] / self._sampling.temperature))
        drawn = int(np.searchsorted(sums, self._rng.random(), side="right"))
        return int(kept[min(drawn, len(kept) - 1)])


def log_softmax(logits: Floats) -> NDArray[np.float64]:
    """Return log-probabilities in nats."""
    values = logits.astype(np.float64)
    values -= values.max()
    return np.asarray(values - np.log(np.exp(values).sum()))


def token_logprob(logits: Floats, token: int, alternatives: int) -> TokenLogprob:
    """Return `token` with its raw log-probability and the best `alternatives`."""
    logprobs = log_softmax(logits)
    best = np.argsort(-logprobs, kind="stable")[:alternatives] if alternatives else ()
    return TokenLogprob(
        token=token,
        logprob=float(logprobs[token]),
        top=tuple((int(other), float(logprobs[other])) for other in best),
    )


def _nucleus(chances: NDArray[np.float64], top_p: float) -> NDArray[np.intp]:
    """Return the fewest most probable indices whose chances sum to `top_p`."""
    worth_sorting = np.flatnonzero(chances >= (1 - top_p) / len(chances))  # the others sum to less than 1 - top_p
    order = worth_sorting[np.argsort(-chances[worth_sorting], kind="stable")]
    return order[: int(np.searchsorted(np.cumsum(chances[order]), top_p)) + 1]


def _softmax(values: Floats) -> NDArray[np.float64]:
    shifted = np.exp(values.astype(np.float64) - float(values.max()))
    return np.asarray(shifted / shifted.sum())
