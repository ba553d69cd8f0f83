"""What of the test is in train: whole problems, and runs of tokens.

The lengths are the usual ones: 13 tokens, as in GPT-3's report (arXiv 2005.14165, appendix C), and 8, as in PaLM's.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from agentkit_synthesis.quality.numbers import figure
from agentkit_synthesis.quality.words import Hashes, gram_hashes, text_hash, token_hashes, tokens

__all__ = ["LENGTHS", "Leaks", "overlap", "problem_hash"]

LENGTHS = (13, 8)


def problem_hash(problem: str) -> int:
    """Return the hash of a problem, whatever its spaces and capitals."""
    return text_hash(" ".join(tokens(problem)))


class Leaks:
    """Test rows against train rows: the test's n-grams are held, train goes by.

    Args:
        test: texts of the test rows; each n-gram takes 17 bytes.
        length: tokens of an n-gram.
    """

    def __init__(self, test: Sequence[str], length: int) -> None:
        self._length, self._rows = length, len(test)
        grams = [gram_hashes(token_hashes(tokens(text)), length) for text in test]
        self.short = sum(not len(one) for one in grams)
        owners = [np.full(len(one), place, np.int64) for place, one in enumerate(grams)]
        hashes = np.concatenate(grams) if grams else np.empty(0, np.uint64)
        order = np.argsort(hashes, kind="stable")
        self._hashes: Hashes = hashes[order]
        self._owners = np.concatenate(owners)[order] if owners else np.empty(0, np.int64)
        self._seen = np.zeros(len(hashes), bool)

    def pass_by(self, train: Iterable[str]) -> None:
        """Take texts of train rows."""
        grams = [gram_hashes(token_hashes(tokens(text)), self._length) for text in train]
        found = np.unique(np.concatenate(grams)) if grams else np.empty(0, np.uint64)
        left = np.searchsorted(self._hashes, found, "left")
        right = np.searchsorted(self._hashes, found, "right")
        for one, other in zip(left[right > left].tolist(), right[right > left].tolist(), strict=True):
            self._seen[one:other] = True

    def rows(self) -> list[int]:
        """Return the places of test rows that have an n-gram seen in train."""
        found: list[int] = np.unique(self._owners[self._seen]).tolist()
        return found

    def told(self) -> dict[str, Any]:
        """Return how many and what share of the test's rows leak, and how many are too short to."""
        leaked = len(self.rows())
        share = figure(leaked / self._rows if self._rows else 0.0, self._rows)
        return {"rows": leaked, "of": self._rows, "share": share, "too_short": self.short}


def overlap(train: array[int], test: array[int]) -> int:
    """Return how many test rows have a problem that is in train."""
    return int(np.isin(np.frombuffer(test, np.uint64), np.frombuffer(train, np.uint64)).sum()) if test and train else 0
