"""Distances, diversity, and precision and recall of images in a feature space.

The space is the first principal components of the pixels, scaled to unit variance of all together: there are no weights to
download for it, and it is the same on every machine. It sees shape and colour, not meaning: a network's features would be blind
to other things. Figures of different spaces do not compare.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from agentkit_synthesis.quality.pictures import Pixels

__all__ = ["Features", "Space", "distances", "nearest", "precision_recall", "spread", "vendi"]

Features = NDArray[np.float64]  # [n, components]
COMPONENTS = 64
NEIGHBOURS = 3  # as in Kynkäänniemi et al. 2019


@dataclass(frozen=True, slots=True)
class Space:
    """A feature space fitted to some images."""

    pca: PCA
    scale: float

    @classmethod
    def of(cls, pixels: Pixels) -> Space:
        """Fit it to images [n, height, width, channels]; at least two that differ."""
        flat = pixels.reshape(len(pixels), -1).astype(np.float64)
        components = min(COMPONENTS, len(flat) - 1, flat.shape[1])
        pca = PCA(components, svd_solver="full").fit(flat)
        return cls(pca, float(np.sqrt(pca.explained_variance_.sum())) or 1.0)

    @property
    def explained(self) -> float:
        """The share of the pixels' variance that it keeps."""
        return float(self.pca.explained_variance_ratio_.sum())

    def features(self, pixels: Pixels) -> Features:
        """Return the features of images."""
        return cast("Features", self.pca.transform(pixels.reshape(len(pixels), -1).astype(np.float64)) / self.scale)


def distances(one: Features, other: Features) -> Features:
    """Return Euclidean distances, [len(one), len(other)]."""
    squares = (one**2).sum(1)[:, None] + (other**2).sum(1)[None] - 2 * one @ other.T
    return cast("Features", np.sqrt(np.maximum(squares, 0.0)))


def spread(features: Features) -> float:
    """Return the mean distance of different images."""
    count = len(features)
    return float(distances(features, features).sum() / (count * (count - 1)))


def vendi(features: Features) -> float:
    """Return the effective number of different images: the Vendi score (Friedman and Dieng 2023, arXiv 2210.02410).

    It is exp of the entropy of the eigenvalues of K / n, where K is a Gaussian kernel of bandwidth 1, the root mean squared distance
    from the mean of the images that the space was fitted to: 1 when all are alike, n when nothing is.
    """
    kernel = np.exp(-(distances(features, features) ** 2) / 2)
    values = np.linalg.eigvalsh(kernel / len(features))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


def nearest(of: Features, among: Features) -> Features:
    """Return each image's distance to the nearest among others, [n]."""
    return cast("Features", distances(of, among).min(1))


def precision_recall(real: Features, made: Features, *, neighbours: int = NEIGHBOURS) -> tuple[float, float]:
    """Return how much of what was made looks real, and how much of the real was made (Kynkäänniemi et al. 2019, arXiv 1904.06991).

    A point is inside a set if it is within the distance of some point of the set to that point's third nearest other one. Both
    sets should be as large; each has more than `neighbours` images.
    """
    return _inside(made, real, neighbours), _inside(real, made, neighbours)


def _inside(points: Features, manifold: Features, neighbours: int) -> float:
    own = distances(manifold, manifold)
    np.fill_diagonal(own, np.inf)
    radius = np.partition(own, neighbours - 1, axis=1)[:, neighbours - 1]
    return float((distances(points, manifold) <= radius[None] + 1e-12).any(1).mean())
