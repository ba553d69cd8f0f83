"""A linear head on embeddings: Fisher's discriminant between what was good and what was bad.

    w = (S + l I)^-1 (m_good - m_bad),    value(x) = sigmoid(w . (x - (m_good + m_bad) / 2))

with S the pooled covariance and l a share of its mean variance (Fisher 1936; shrinkage as Friedman 1989). The threshold lies
between both means, so that neither kind counts more for being met more often.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 200  # examples of each kind that are kept, the newest
LEAST = 4  # of each kind, before it says anything
SHRINKAGE = 0.5  # l, as a share of the mean variance

Vectors = NDArray[np.float32]


@dataclass(slots=True)
class Head:
    """Learns from examples, and keeps them."""

    good: list[Vectors] = field(default_factory=list)
    bad: list[Vectors] = field(default_factory=list)
    _found: tuple[Vectors, Vectors] | None = None  # w, and the middle

    def learn(self, vectors: Sequence[Sequence[float]], good: Sequence[bool]) -> None:
        """Add examples.

        Args:
            vectors: of one length.
            good: whether each is.
        """
        for vector, is_good in zip(vectors, good, strict=True):
            (self.good if is_good else self.bad).append(np.asarray(vector, np.float32))
        self.good, self.bad = self.good[-MOST:], self.bad[-MOST:]
        self._found = None

    def values(self, vectors: Sequence[Sequence[float]]) -> list[float]:
        """Return a value in [0, 1] for each; one half before there are `LEAST` examples of each kind."""
        if min(len(self.good), len(self.bad)) < LEAST:
            return [0.5] * len(vectors)
        direction, middle = self._fitted()
        rows = np.asarray(vectors, np.float32).reshape(len(vectors), -1)
        scores = np.clip((rows - middle) @ direction, -30, 30)
        return [float(value) for value in 1.0 / (1.0 + np.exp(-scores))]

    def to_plain(self) -> dict[str, Any]:
        """Return the examples as JSON values, in half precision."""
        width = len((self.good or self.bad)[0]) if self.good or self.bad else 0
        return {"width": width, "good": _packed(self.good), "bad": _packed(self.bad)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Head:
        """Return the head that `to_plain` made `plain` from."""
        width = int(plain["width"])
        return cls(_unpacked(plain["good"], width), _unpacked(plain["bad"], width))

    def _fitted(self) -> tuple[Vectors, Vectors]:
        if self._found is None:
            good, bad = np.stack(self.good).astype(np.float64), np.stack(self.bad).astype(np.float64)
            spread = (np.cov(good, rowvar=False, bias=True) + np.cov(bad, rowvar=False, bias=True)) / 2
            spread = np.atleast_2d(spread)
            spread += (SHRINKAGE * np.trace(spread) / len(spread) + 1e-9) * np.eye(len(spread))
            direction = np.linalg.solve(spread, good.mean(0) - bad.mean(0))
            self._found = direction.astype(np.float32), ((good.mean(0) + bad.mean(0)) / 2).astype(np.float32)
        return self._found


def _packed(vectors: Sequence[Vectors]) -> str:
    data = np.stack(vectors).astype("<f2").tobytes() if vectors else b""
    return base64.b64encode(data).decode("ascii")


def _unpacked(text: str, width: int) -> list[Vectors]:
    rows = np.frombuffer(base64.b64decode(text), "<f2").astype(np.float32).reshape(-1, max(1, width))
    return list(rows)
