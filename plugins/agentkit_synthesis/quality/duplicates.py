"""Rows that stand there twice: exactly, by 64-bit hashes of all rows; nearly, by MinHash on some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasketch import MinHash, MinHashLSH
from numpy.typing import NDArray

from agentkit_synthesis.quality.words import Hashes, shingles

__all__ = [
    "PERMUTATIONS",
    "SHINGLE",
    "Near",
    "exact_duplicates",
    "jaccard",
    "near_duplicates",
    "signature",
]

SHINGLE = 5  # tokens
PERMUTATIONS = 128
TRIED = 32  # candidates of a row that are compared
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Near:
    """Near-duplicates among the rows looked at.

    Attributes:
        redundant: for each row, whether one before it is nearly the same.
        pairs: the first few, as places of the earlier and the later row and their Jaccard similarity.
    """

    redundant: NDArray[np.bool_]
    pairs: tuple[tuple[int, int, float], ...]


def exact_duplicates(hashes: Hashes) -> NDArray[np.bool_]:
    """Return for each row whether one before it has the same hash; their sum is rows minus different rows."""
    found = np.ones(len(hashes), bool)
    found[np.unique(hashes, return_index=True)[1]] = False
    return found


def signature(hashes: Hashes) -> MinHash:
    """Return the MinHash of a set of 64-bit hashes.

    The share of places in which two signatures agree estimates the sets' Jaccard similarity J with the standard error
    sqrt(J (1 - J) / PERMUTATIONS), at most 0.045 (Broder 1997).
    """
    made = MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=int)
    made.update_batch((hashes >> np.uint64(32)).tolist())
    return made


def jaccard(one: Hashes, other: Hashes) -> float:
    """Return the Jaccard similarity of two sorted sets of hashes; of two empty ones 0."""
    both = len(np.intersect1d(one, other, assume_unique=True))
    union = len(one) + len(other) - both
    return both / union if union else 0.0


def near_duplicates(texts: Sequence[str], *, threshold: float, apart: Sequence[Any] | None = None) -> Near:
    """Find rows that nearly repeat an earlier one: Jaccard similarity of their 5-grams of tokens of at least `threshold`.

    MinHash with locality-sensitive hashing proposes, the exact similarity decides: none is found that is none, and a pair well
    above the threshold is missed with small probability only. Texts that are equal count as near-duplicates, too.
    """
    index = MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS)
    sets = [shingles(text, SHINGLE) for text in texts]
    redundant = np.zeros(len(texts), bool)
    pairs: list[tuple[int, int, float]] = []
    for place, found in enumerate(sets):
        if not len(found):
            continue
        made = signature(found)
        for other in sorted(index.query(made))[:TRIED]:
            alike = jaccard(sets[other], found)
            if alike >= threshold:
                redundant[place] = True
                pairs += [(other, place, round(alike, 4))] if len(pairs) < SHOWN else []
                break
        else:
            index.insert(place, made)
    return Near(redundant, tuple(pairs))
