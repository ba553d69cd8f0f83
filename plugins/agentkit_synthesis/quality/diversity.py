"""How different the texts of a sample are from each other."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from agentkit_synthesis.quality.duplicates import SHINGLE, jaccard
from agentkit_synthesis.quality.numbers import FEWEST, figure, histogram, quantiles
from agentkit_synthesis.quality.words import gram_hashes, shingles, token_hashes, tokens

__all__ = ["distinct", "diversity", "lengths", "self_similarity"]

PAIRS = 2_000
ZIPPED = 2_000_000  # characters


def distinct(texts: Sequence[list[str]], n: int) -> float:
    """Return the share of n-grams that are different (Li et al. 2016, arXiv 1510.03055); 0 where there is none.

    It falls as texts are added: compare samples of the same size only.
    """
    grams = [gram_hashes(token_hashes(text), n) for text in texts]
    found = np.concatenate(grams) if grams else np.empty(0, np.uint64)
    return len(np.unique(found)) / len(found) if len(found) else 0.0


def self_similarity(texts: Sequence[str], *, seed: int, pairs: int = PAIRS) -> float:
    """Return the mean Jaccard similarity of the 5-grams of random pairs of different rows, 0 to 1."""
    rng = np.random.default_rng(seed)
    one = rng.integers(len(texts), size=pairs)
    other = (one + rng.integers(1, len(texts), size=pairs)) % len(texts)
    sets = {place: shingles(texts[place], SHINGLE) for place in np.unique(np.concatenate([one, other])).tolist()}
    found = [jaccard(sets[a], sets[b]) for a, b in zip(one.tolist(), other.tolist(), strict=True)]
    return float(np.mean(found))


def diversity(texts: Sequence[str], *, seed: int) -> dict[str, Any]:
    """Return the diversity of a sample of texts, with its size.

    `compression` is how many times smaller zlib makes them, all one after the other: templates compress well (Shaib et al.
    2024, arXiv 2403.00553).
    """
    split = [tokens(text) for text in texts]
    count = len(texts)
    vocabulary = Counter(token for one in split for token in one)
    joined = "\n".join(texts)[:ZIPPED].encode("utf-8", "surrogatepass")
    alike = self_similarity(texts, seed=seed) if count >= FEWEST else 0.0
    return {
        "rows": count,
        "tokens": sum(vocabulary.values()),
        "vocabulary": len(vocabulary),
        **{f"distinct_{n}": figure(distinct(split, n), count) for n in (1, 2, 3)},
        "self_similarity": figure(alike, count),
        "compression": figure(len(joined) / len(zlib.compress(joined)) if joined else 0.0, count),
    }


def lengths(counts: Counter[int]) -> dict[str, Any]:
    """Return the distribution of lengths in tokens, of all rows."""
    return {"quantiles": quantiles(counts), "histogram": histogram(counts)}
