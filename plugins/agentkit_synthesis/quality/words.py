"""Texts as hashed tokens and n-grams, in numpy: the same in every process, and fast enough for a million rows.

A hash is 64 bits. Among a million different texts two share one with probability 3e-8.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import cast

import numpy as np
from numpy.typing import NDArray

__all__ = ["Hashes", "gram_hashes", "shingles", "text_hash", "token_hashes", "tokens"]

Hashes = NDArray[np.uint64]

_TOKEN = re.compile(r"\w+|[^\w\s]")
_FACTOR = 0x9E3779B97F4A7C15  # odd: multiplication by it is one to one on 64 bits


def tokens(text: str) -> list[str]:
    """Return words, numbers and single signs, in lower case."""
    return _TOKEN.findall(text.lower())


def text_hash(text: str) -> int:
    """Return 64 bits of a text's BLAKE2b."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


_token_hash = lru_cache(maxsize=200_000)(text_hash)


def token_hashes(found: Sequence[str]) -> Hashes:
    """Return a hash for each token."""
    return np.fromiter((_token_hash(token) for token in found), np.uint64, len(found))


def gram_hashes(hashes: Hashes, n: int) -> Hashes:
    """Return a hash for each run of `n` tokens: a polynomial of the tokens' own, modulo 2^64.

    Shape [len - n + 1], empty where there are fewer tokens than `n`.
    """
    count = len(hashes) - n + 1
    if count <= 0:
        return np.empty(0, np.uint64)
    found = np.zeros(count, np.uint64)
    for place in range(n):
        found += hashes[place : place + count] * np.uint64(pow(_FACTOR, place, 1 << 64))
    return found


def shingles(text: str, n: int) -> Hashes:
    """Return the different n-grams of a text, sorted; a shorter text is one shingle, an empty one none."""
    hashes = token_hashes(tokens(text))
    if 0 < len(hashes) < n:
        return cast("Hashes", np.array([text_hash(" ".join(tokens(text)))], np.uint64))
    return np.unique(gram_hashes(hashes, n))
