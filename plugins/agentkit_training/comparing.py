"""How two models with one vocabulary differ on a text: perplexity, divergence, agreement, and how fast each reads.

The text is read in windows. As in llama.cpp's `llama-perplexity`, the second half of each is scored and the first is
context. Per token scored, in nats:

    NLL = -ln q(next),     KL(p || q) = sum of p ln(p / q),     p of the model compared with, q of the other

Perplexity is exp(mean NLL). Sums are kept, never means, so that a comparison goes on where it was interrupted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import InvalidParams
from agentkit_training.gguf_reader import GgufModel

__all__ = ["Sums", "compared", "windows"]

LEAST = 8  # tokens of a window


@dataclass(slots=True)
class Sums:
    """What was added up so far."""

    windows: int = 0
    tokens: int = 0  # scored
    read: int = 0  # by each model
    nll_base: float = 0.0
    nll: float = 0.0
    kl: float = 0.0
    kl_squared: float = 0.0
    agreed: int = 0  # tokens whose most probable one is the same
    seconds_base: float = 0.0
    seconds: float = 0.0

    def to_plain(self) -> dict[str, Any]:
        """Return the sums as JSON values."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Sums:
        """Return what `to_plain` wrote."""
        return cls(**plain)

    def metrics(self) -> dict[str, float]:
        """Return the figures; `kl_stderr` is the standard error of the mean over tokens, taken as independent."""
        count = max(1, self.tokens)
        mean = self.kl / count
        variance = max(0.0, self.kl_squared / count - mean**2)
        return {
            "perplexity_before": math.exp(self.nll_base / count),
            "perplexity": math.exp(self.nll / count),
            "kl": max(0.0, mean),  # rounding
            "kl_stderr": math.sqrt(variance / count),
            "top_1": self.agreed / count,
            "tokens": self.tokens,
            "tokens_per_s_before": self.read / self.seconds_base if self.seconds_base else 0.0,
            "tokens_per_s": self.read / self.seconds if self.seconds else 0.0,
        }


def windows(tokens: Sequence[int], length: int) -> list[Sequence[int]]:
    """Return a text's windows; the last, if it is shorter than half of one, is left out, unless it is the only one.

    Raises:
        InvalidParams: there are too few tokens for one.
    """
    if len(tokens) < LEAST:
        raise InvalidParams(f"/text: {len(tokens)} tokens, and at least {LEAST} are needed; give a longer text")
    found = [tokens[start : start + length] for start in range(0, len(tokens), length)]
    return found if len(found) == 1 or len(found[-1]) >= max(LEAST, length // 2) else found[:-1]


def compared(base: GgufModel, other: GgufModel, texts: Sequence[Sequence[int]], sums: Sums) -> Iterator[Sums]:
    """Compare window by window, from the one after those that `sums` holds; yields the sums after each.

    Raises:
        InvalidParams: the models have different vocabularies.
    """
    if base.width != other.width:
        raise InvalidParams(f"the models have {base.width} and {other.width} tokens; compare models of one vocabulary")
    for text in texts[sums.windows :]:
        tokens = [*base.begin, *text]
        first = len(tokens) // 2
        moments = [time.perf_counter()]
        rows = []
        for model in (base, other):
            rows.append(model.logits(tokens)[first:-1])
            moments.append(time.perf_counter())
        sums.seconds_base += moments[1] - moments[0]
        sums.seconds += moments[2] - moments[1]
        _add(sums, _log_softmax(rows[0]), _log_softmax(rows[1]), np.asarray(tokens[first + 1 :]))
        sums.windows, sums.read = sums.windows + 1, sums.read + len(tokens)
        yield sums


def _add(sums: Sums, p: NDArray[np.float64], q: NDArray[np.float64], following: NDArray[np.int64]) -> None:
    rows = np.arange(len(following))
    divergence = (np.exp(p) * (p - q)).sum(axis=1)
    sums.tokens += len(following)
    sums.nll_base -= float(p[rows, following].sum())
    sums.nll -= float(q[rows, following].sum())
    sums.kl += float(divergence.sum())
    sums.kl_squared += float((divergence**2).sum())
    sums.agreed += int((p.argmax(axis=1) == q.argmax(axis=1)).sum())


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
