"""Silhouettes of things that people buy, as masks over [-1, 1] x [-1, 1], x to the right and y down, drawn for 10 to 30 pixels.

Each is made of a few bold parts, none thinner than an eighth of the whole, so that the smallest of them is still told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["SILHOUETTES", "Figure", "Grid", "Mask"]

Mask = NDArray[np.bool_]
Grid = NDArray[np.floating]
Figure = Callable[[Grid, Grid], Mask]  # which points belong to it; x and y broadcast

Point = tuple[float, float]


def _polygon(x: Grid, y: Grid, corners: Sequence[Point]) -> Mask:
    """Return the points within a polygon: those from which a ray to the right crosses its edges an odd number of times."""
    inside = np.zeros(np.broadcast_shapes(x.shape, y.shape), bool)
    for (x0, y0), (x1, y1) in zip(corners, (*corners[1:], corners[0]), strict=True):
        if y0 != y1:
            crosses = (y0 > y) != (y1 > y)
            inside ^= crosses & (x < x0 + (y - y0) * ((x1 - x0) / (y1 - y0)))
    return inside


def _block(x: Grid, y: Grid, left: float, top: float, right: float, bottom: float) -> Mask:
    return np.asarray((x >= left) & (x <= right) & (y >= top) & (y <= bottom))


def _round(x: Grid, y: Grid, middle: Point, wide: float, high: float) -> Mask:
    return np.asarray(((x - middle[0]) / wide) ** 2 + ((y - middle[1]) / high) ** 2 <= 1)


def _hoop(x: Grid, y: Grid, middle: Point, outer: float, inner: float) -> Mask:
    return _round(x, y, middle, outer, outer) & ~_round(x, y, middle, inner, inner)


def _shoe(x: Grid, y: Grid) -> Mask:
    leather = [(-0.92, -0.75), (-0.2, -0.75), (-0.08, -0.2), (0.5, 0.02), (0.88, 0.2), (0.98, 0.5), (-0.92, 0.5)]
    return _polygon(x, y, leather) | _block(x, y, -0.92, 0.4, -0.35, 0.78) | _block(x, y, 0.0, 0.4, 0.98, 0.66)


def _bag(x: Grid, y: Grid) -> Mask:
    body = _polygon(x, y, [(-0.86, -0.1), (0.86, -0.1), (0.97, 0.9), (-0.97, 0.9)])
    return body | (_hoop(x, y, (0.0, -0.3), 0.58, 0.34) & (y < 0))


def _hat(x: Grid, y: Grid) -> Mask:
    crown = _polygon(x, y, [(-0.52, 0.5), (-0.46, -0.62), (-0.15, -0.72), (0.0, -0.6), (0.15, -0.72), (0.46, -0.62), (0.52, 0.5)])  # fmt: skip
    return crown | _round(x, y, (0.0, 0.46), 0.99, 0.27)


def _mug(x: Grid, y: Grid) -> Mask:
    return _block(x, y, -0.88, -0.78, 0.34, 0.78) | (_hoop(x, y, (0.38, 0.0), 0.57, 0.3) & (x > 0.3))


def _shirt(x: Grid, y: Grid) -> Mask:
    half = [(0.0, -0.8), (0.5, -0.8), (0.99, -0.25), (0.72, 0.1), (0.5, -0.1), (0.5, 0.9), (0.0, 0.9)]
    return _polygon(np.abs(x), y, half) & ~_round(x, y, (0.0, -0.85), 0.25, 0.3)


def _bottle(x: Grid, y: Grid) -> Mask:
    half = [(0.0, -0.98), (0.19, -0.98), (0.19, -0.42), (0.44, -0.1), (0.44, 0.98), (0.0, 0.98)]
    return _polygon(np.abs(x), y, half)


def _lamp(x: Grid, y: Grid) -> Mask:
    shade = _polygon(x, y, [(-0.4, -0.95), (0.4, -0.95), (0.85, 0.12), (-0.85, 0.12)])
    return shade | _block(x, y, -0.13, 0.0, 0.13, 0.8) | _block(x, y, -0.5, 0.7, 0.5, 0.95)


def _chair(x: Grid, y: Grid) -> Mask:
    back, seat, leg = (-0.68, -0.96, -0.36, 0.96), (-0.68, -0.06, 0.7, 0.32), (0.38, 0.0, 0.7, 0.96)
    return _block(x, y, *back) | _block(x, y, *seat) | _block(x, y, *leg)


SILHOUETTES: Mapping[str, Figure] = {
    "shoe": _shoe, "bag": _bag, "hat": _hat, "mug": _mug, "shirt": _shirt, "bottle": _bottle, "lamp": _lamp, "chair": _chair,
}  # fmt: skip
