"""Figures that may not be given: from too few rows there is none, and the report says so instead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["FEWEST", "figure", "histogram", "quantiles", "sampled", "too_few"]

FEWEST = 20  # rows that a share or a mean is given for


def too_few(count: int, wanted: int = FEWEST) -> dict[str, Any]:
    """Return what stands in the place of a figure: how many there were, and how many it takes."""
    return {"too_few": count, "wanted": wanted}


def figure(value: float, count: int, wanted: int = FEWEST) -> float | dict[str, Any]:
    """Return a figure of `count` rows, or that they are too few."""
    return round(float(value), 6) if count >= wanted else too_few(count, wanted)


def quantiles(counts: Mapping[int, int]) -> dict[str, float]:
    """Return least, quartiles, mean and most of whole numbers given as value -> how often; exact."""
    if not counts:
        return {}
    values = np.array(sorted(counts))
    often = np.array([counts[value] for value in values.tolist()])
    places = np.cumsum(often)
    found = {name: float(values[np.searchsorted(places, share * places[-1])]) for name, share in (("p25", 0.25), ("median", 0.5), ("p75", 0.75), ("p95", 0.95))}  # fmt: skip
    mean = float((values * often).sum() / places[-1])
    return {"least": float(values[0]), **found, "mean": round(mean, 2), "most": float(values[-1])}


def histogram(counts: Mapping[int, int], bins: int = 20) -> list[dict[str, Any]]:
    """Return value -> how often as at most `bins` bars of equal width, each with its first and last value."""
    if not counts:
        return []
    least, most = min(counts), max(counts)
    width = -(-(most - least + 1) // bins)
    bars: Counter[int] = Counter()
    for value, often in counts.items():
        bars[(value - least) // width] += often
    return [{"from": least + n * width, "to": least + (n + 1) * width - 1, "count": bars[n]} for n in range((most - least) // width + 1)]  # fmt: skip


def sampled(rng: np.random.Generator, kept: list[Any], item: Any, seen: int, most: int) -> None:
    """Keep an item in a sample of at most `most` of all seen so far, each with the same chance (Vitter's algorithm R).

    Args:
        rng: chance.
        kept: the sample; changed.
        item: the one seen now.
        seen: how many were seen before it.
        most: the sample's size.
    """
    if len(kept) < most:
        kept.append(item)
    elif most and (place := int(rng.integers(seen + 1))) < most:
        kept[place] = item
