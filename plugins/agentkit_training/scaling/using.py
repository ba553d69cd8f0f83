"""Ask a law, published or fitted, for a loss or for the best use of a budget; a fit answers with intervals."""

from __future__ import annotations

from dataclasses import dataclass

from agentkit_training.scaling.doubts import beyond
from agentkit_training.scaling.fitting import Fit, interval
from agentkit_training.scaling.law import Law

__all__ = ["Allocation", "Prediction", "allocate", "predict"]

Interval = tuple[float, float]


@dataclass(frozen=True)
class Prediction:
    """The loss in nats per token, with its 95 % interval where the law was fitted with a bootstrap.

    The interval is that of the law. It holds nothing of how much single runs scatter about it.
    """

    loss: float
    interval: Interval | None
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Allocation:
    """What to train with a budget: N and D with 6ND = C that have the lowest loss, and that loss."""

    flops: float
    params: float
    tokens: float
    loss: float
    unique_tokens: float | None
    intervals: dict[str, Interval]  # of params, tokens and loss; empty without a bootstrap
    warnings: tuple[str, ...]

    @property
    def tokens_per_param(self) -> float:
        """D / N."""
        return self.tokens / self.params

    @property
    def epochs(self) -> float | None:
        """How often each unique token is read; None where nothing was said about them."""
        return None if self.unique_tokens is None else max(1.0, self.tokens / self.unique_tokens)


def predict(law: Law | Fit, params: float, tokens: float, unique_tokens: float | None = None) -> Prediction:
    """Return the loss of N parameters trained on D tokens, `unique_tokens` of which are different.

    Raises:
        UsageError: a number is not positive and finite, or the law knows no unique tokens.
    """
    if isinstance(law, Law):
        return Prediction(law.predict(params, tokens, unique_tokens), None, ())
    loss = law.law.predict(params, tokens, unique_tokens)
    losses = [sample.predict(params, tokens, unique_tokens) for sample in law.laws()]
    warnings = [
        *beyond("N", params, [run.params for run in law.runs]),
        *beyond("D", tokens, [run.tokens for run in law.runs]),
    ]
    return Prediction(loss, interval(losses) if losses else None, tuple(warnings))


def allocate(flops: float, *, law: Law | Fit, unique_tokens: float | None = None) -> Allocation:
    """Return the compute-optimal N and D for a training budget of C FLOPs.

    In closed form; by search where a data-constrained law has to repeat tokens.

    Raises:
        UsageError: a number is not positive and finite, or the law knows no unique tokens.
    """
    own = law if isinstance(law, Law) else law.law
    params, tokens, loss = _best(own, flops, unique_tokens)
    intervals: dict[str, Interval] = {}
    warnings: list[str] = []
    if isinstance(law, Fit):
        warnings += beyond("C", flops, [run.flops for run in law.runs])
        if law.samples:
            found = zip(*(_best(sample, flops, unique_tokens) for sample in law.laws()), strict=True)
            intervals = dict(zip(("params", "tokens", "loss"), map(interval, found), strict=True))
    return Allocation(flops, params, tokens, loss, unique_tokens, intervals, tuple(warnings))


def _best(law: Law, flops: float, unique_tokens: float | None) -> tuple[float, float, float]:
    params, tokens = law.optimum(flops, unique_tokens)
    return params, tokens, law.predict(params, tokens, unique_tokens)
