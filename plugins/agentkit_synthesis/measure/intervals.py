"""Means over seeds with their intervals, and differences of pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import t

__all__ = ["FEWEST", "difference", "mean"]

FEWEST = 3  # seeds, for an interval


def mean(values: Sequence[float]) -> dict[str, Any]:
    """Return the mean of values with its 95 % interval by Student's t; none from fewer than three.

    Values that are all the same have no interval either: they say nothing of how much others would differ.
    """
    count = len(values)
    middle = float(np.mean(values))
    told: dict[str, Any] = {"mean": round(middle, 6), "seeds": count, "each": [round(value, 6) for value in values]}
    if count < FEWEST:
        return {**told, "interval": None, "too_few": count, "wanted": FEWEST}
    if len(set(values)) == 1:
        return {**told, "interval": None, "alike": True}
    half = float(t.ppf(0.975, count - 1)) * float(np.std(values, ddof=1)) / math.sqrt(count)
    return {**told, "interval": [round(middle - half, 6), round(middle + half, 6)]}


def difference(one: Sequence[float], other: Sequence[float]) -> dict[str, Any]:
    """Return the mean of `one` - `other` over pairs of the same seed, with its interval.

    Args:
        one, other: values of the same seeds, in the same order.
    """
    return mean([a - b for a, b in zip(one, other, strict=True)])
