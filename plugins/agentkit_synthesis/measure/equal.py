"""Labels saved at equal accuracy: how many real labels alone do what some with synthetic data do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BOOTSTRAP", "labels_needed", "labels_saved"]

BOOTSTRAP = 2_000
FEWEST = 3  # seeds

Numbers = NDArray[np.float64]


def labels_needed(counts: Sequence[float], accuracies: Sequence[float], target: float) -> float:
    """Return how many labels a learning curve needs to reach an accuracy.

    The curve is made never to fall (the best so far), and is linear in the logarithm of the labels between its points. A target that
    its first point reaches needs no more than that point's labels; one that it never reaches needs infinitely many.

    Args:
        counts: labels, ascending, from 1.
        accuracies: at each.
        target: the accuracy to reach.
    """
    best = np.maximum.accumulate(np.asarray(accuracies, float))
    place = int(np.searchsorted(best, target - 1e-12))
    if place == len(best):
        return math.inf
    if place == 0:
        return float(counts[0])
    low, high = best[place - 1], best[place]
    share = (target - low) / (high - low)
    return float(math.exp((1 - share) * math.log(counts[place - 1]) + share * math.log(counts[place])))


def labels_saved(
    counts: Sequence[int], curve: Numbers, labels: int, reached: Numbers, *, seed: int = 0, samples: int = BOOTSTRAP
) -> dict[str, Any]:
    """Return how many real labels are saved where `labels` of them are helped by something else.

    The interval is the 95 % percentile one of bootstrap samples of the seeds, each drawn for curve and help together. It
    knows of the choice of labels and of the students' chance, not of which real images are held out. Where it ends beyond all the
    real labels, only that many can be said to be saved: `at_least`; below the curve's first point, `at_most` that point's.

    Args:
        counts: real labels at each point of the curve, ascending.
        curve: accuracy of real labels alone, [points, seeds].
        labels: real labels that were helped.
        reached: accuracy with help, [seeds].
        seed: of the samples.
        samples: how many.
    """
    seeds, most = curve.shape[1], counts[-1]
    told: dict[str, Any] = {"labels": labels, "accuracy": round(float(reached.mean()), 6), "seeds": seeds, "of": most}
    needed = labels_needed(counts, curve.mean(1).tolist(), float(reached.mean()))
    told |= {"needed": _told(needed), "saved": _told(needed - labels if math.isfinite(needed) else most - labels)}
    told |= {"at_least": math.isinf(needed), "at_most": float(reached.mean()) < float(curve[0].mean())}
    if seeds < FEWEST:
        return {**told, "interval": None, "too_few": seeds, "wanted": FEWEST}
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(samples):
        chosen = rng.integers(seeds, size=seeds)
        one = labels_needed(counts, curve[:, chosen].mean(1).tolist(), float(reached[chosen].mean()))
        drawn.append(min(one, float(most) + 0.5) - labels)  # beyond the last point all are alike
    low, high = np.quantile(drawn, [0.025, 0.975])
    capped = [min(float(end), float(most - labels)) for end in (low, high)]
    return {**told, "interval": [_told(end) for end in capped], "ends_beyond": bool(high > most - labels)}


def _told(count: float) -> float | None:
    return round(count, 1) if math.isfinite(count) else None
