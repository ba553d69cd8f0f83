"""Plain augmentation, which synthetic images are measured against: small shifts, turns and scalings of the real ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["SCALING", "SHIFT", "TURN", "augmented"]

SHIFT = 0.125  # of the side, each way: a pixel of 8
TURN = 15.0  # degrees, each way
SCALING = 0.1  # each way


def augmented(images: Tensor, chance: torch.Generator) -> Tensor:
    """Return images [n, channels, height, width] shifted, turned and scaled, each by its own random amount.

    What comes in from outside is the nearest edge, as a background goes on.
    """
    count = len(images)
    drawn = 2 * torch.rand(4, count, generator=chance) - 1
    angle, scale = drawn[0] * math.radians(TURN), 1 + drawn[1] * SCALING
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    moved = 2 * SHIFT * drawn[2:]  # the sides go from -1 to 1
    matrix = torch.stack([torch.stack([cos, -sin, moved[0]], 1), torch.stack([sin, cos, moved[1]], 1)], 1)
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
