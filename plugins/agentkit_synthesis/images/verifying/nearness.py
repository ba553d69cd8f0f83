"""How near an image is to the nearest training image, and when that is too near to be new.

Two distances: of pixels (root of the mean square difference, on images of at most 16 a side, in shares of the full range) and of
the classifier's features (Euclidean, of vectors of length 1). What is too near is learnt from real images: of those held out, one
in a hundred is as near to one that was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Nearest", "Reference", "Vectors", "calibrated", "small"]

SIDE = 16
TOO_NEAR = 0.01  # quantile of the distances of real images held out
AT_ONCE = 256
Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Nearest:
    """For each image its distance to the nearest training image, by pixels and by features, and whether it is a copy."""

    pixels: NDArray[np.float32]
    features: NDArray[np.float32]
    copies: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Reference:
    """What images are compared with.

    Attributes:
        pixels: (N, P) of the training images, as `small` gives them.
        features: (N, F).
        pixel_limit, feature_limit: an image is a copy below either.
    """

    pixels: Vectors
    features: Vectors
    pixel_limit: float
    feature_limit: float

    def nearest(self, pixels: NDArray[np.uint8], features: Vectors) -> Nearest:
        """Return how near images (N, H, W, C) with features (N, F) come."""
        near, seen = _least(small(pixels), self.pixels), _least(features, self.features)
        return Nearest(near, seen, (near < self.pixel_limit) | (seen < self.feature_limit))


def calibrated(
    pixels: NDArray[np.uint8], features: Vectors, held_out: NDArray[np.uint8], held_out_features: Vectors
) -> Reference:
    """Return a reference of training images whose limits come from images held out."""
    flat = small(pixels)
    return Reference(
        flat,
        features,
        float(np.quantile(_least(small(held_out), flat), TOO_NEAR)),
        float(np.quantile(_least(held_out_features, features), TOO_NEAR)),
    )


def small(pixels: NDArray[np.uint8]) -> Vectors:
    """Return images (N, H, W, C) as vectors whose Euclidean distance is the root of the mean square difference, 0 to 1."""
    count, high, _, channels = pixels.shape
    step = max(1, high // SIDE)
    side = high // step
    cut = pixels[:, : side * step, : side * step].astype(np.float32)
    means = cut.reshape(count, side, step, side, step, channels).mean(axis=(2, 4)).reshape(count, -1)
    found: Vectors = means / np.float32(255 * np.sqrt(means.shape[1]))
    return found


def _least(these: Vectors, those: Vectors) -> NDArray[np.float32]:
    """Return for each vector its distance to the nearest of others."""
    squares = (those * those).sum(1)
    found = np.empty(len(these), np.float32)
    for start in range(0, len(these), AT_ONCE):
        part = these[start : start + AT_ONCE]
        # by the binomial formula to find the nearest, then exactly: equal images are at distance 0
        index = (squares[None, :] - 2 * part @ those.T).argmin(axis=1)
        found[start : start + AT_ONCE] = np.linalg.norm(part - those[index], axis=1)
    return found
