"""How evenly rows are spread over labels: counts, entropy, and a chi-square test against all being as many."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from scipy.stats import chi2

from agentkit_synthesis.quality.numbers import too_few

__all__ = ["balance"]

LEAST_EXPECTED = 5.0  # of a label: below, chi-square is no longer distributed as its table says


def balance(counts: Mapping[str, int]) -> dict[str, Any]:
    """Return the balance of label -> rows.

    `entropy` is in bits; `evenness` is it divided by the log2 of the number of labels: 1 when all are as many, 0 with one label
    only. `chi_square` is against equal counts, with its degrees of freedom and the probability `p` of one so large by chance.
    """
    total, labels = sum(counts.values()), len(counts)
    told: dict[str, Any] = {"counts": dict(counts), "labels": labels}
    if not total:
        return told
    entropy = -sum(count / total * math.log2(count / total) for count in counts.values() if count)
    told |= {
        "entropy": round(abs(entropy), 6),
        "evenness": round(abs(entropy) / math.log2(labels), 6) if labels > 1 else 0.0,
    }
    if labels < 2:
        return {**told, "chi_square": {"one_label": True}}
    expected = total / labels
    if expected < LEAST_EXPECTED:
        return {**told, "chi_square": too_few(total, math.ceil(LEAST_EXPECTED * labels))}
    statistic = sum((count - expected) ** 2 / expected for count in counts.values())
    chance = float(chi2.sf(statistic, labels - 1))
    return {**told, "chi_square": {"statistic": round(statistic, 6), "freedom": labels - 1, "p": chance}}
