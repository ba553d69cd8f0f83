"""Scores, the best k of them, and maximal marginal relevance: plain functions of arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["best_first", "mmr", "scores", "top_k", "unit"]

BLOCK = 8192  # vectors that are made float32 at once
LEAST = 1e-6  # a vector shorter than this has no direction

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]


def unit(vector: Floats) -> Floats | None:
    """Return a vector at length 1; None where it has no direction."""
    length = float(np.linalg.norm(vector))
    return None if length < LEAST else np.asarray(vector / length, np.float32)


def scores(matrix: NDArray[np.floating], slots: Indices, query: Floats) -> Floats:
    """Return the dot product of `query` with each chosen row of a matrix, exactly and in blocks.

    Equal rows get equal scores, wherever they are: a sum is made in the same order for each.

    Args:
        matrix: (m, dim), float16 or float32; may be mapped from disk.
        slots: (n,) rows of it.
        query: (dim,).
    """
    found = np.empty(len(slots), np.float32)
    for start in range(0, len(slots), BLOCK):
        block = np.asarray(matrix[slots[start : start + BLOCK]], np.float32)
        np.einsum("ij,j->i", block, query, out=found[start : start + BLOCK])
    return found


def top_k(values: Floats, k: int) -> Indices:
    """Return the indices of the k largest values, largest first; of equal ones the first comes first."""
    n = len(values)
    if k <= 0 or not n:
        return np.zeros(0, np.int64)
    if k < n:
        least = np.partition(values, n - k)[n - k]
        candidates = np.flatnonzero(values >= least)
    else:
        candidates = np.arange(n)
    return candidates[np.argsort(-values[candidates], kind="stable")[:k]]


def best_first(values: Floats, groups: Indices, k: int) -> Indices:
    """Return the indices of k values: those of a higher group before those of a lower one, and within a group the largest first."""
    found: list[Indices] = []
    for group in np.unique(groups)[::-1]:
        mine = np.flatnonzero(groups == group)
        found.append(mine[top_k(values[mine], k - sum(map(len, found)))])
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def mmr(relevance: Floats, vectors: Floats, k: int, trade_off: float) -> Indices:
    """Return k indices by maximal marginal relevance, in the order in which they are chosen.

    Each next one maximises `trade_off * relevance - (1 - trade_off) * (its largest similarity to those chosen)`
    (Carbonell and Goldstein, SIGIR 1998). With 1 it is the plain ranking; with 0, after the most relevant one,
    whatever is least like the others. Of equal ones the first comes first.

    Args:
        relevance: (n,) similarity to the query.
        vectors: (n, dim) of length 1.
        k: how many; all where there are fewer.
        trade_off: 0 to 1.
    """
    n = len(relevance)
    if k <= 0 or not n:
        return np.zeros(0, np.int64)
    chosen = [int(np.argmax(relevance))]
    free = np.ones(n, bool)
    nearest = np.full(n, -np.inf, np.float32)
    while len(chosen) < min(k, n):
        free[chosen[-1]] = False
        nearest = np.maximum(nearest, np.einsum("ij,j->i", vectors, vectors[chosen[-1]]))
        marginal = trade_off * relevance - (1 - trade_off) * nearest
        chosen.append(int(np.argmax(np.where(free, marginal, -np.inf))))
    return np.array(chosen, np.int64)
