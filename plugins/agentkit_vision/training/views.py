"""What a picture goes through before a model that is trained sees it, so that it knows pictures as people have them.

Shifts, turns and stretches so small that places and sizes keep their names; light, colour of the light, blur, noise, and pictures
without colour. A batch is a function of the seed and the number of the step.
"""

from __future__ import annotations

import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

__all__ = ["views"]

SHIFT, STRETCH, TURN = 0.06, 0.06, 0.1  # of a side; of the size; radians
LEAST_SIDE = 0.6  # of the side, that a blurred picture is shrunk to
NOISE, GAIN, LIGHT = 0.07, 0.15, 0.25  # standard deviation; of a channel; brightness and contrast
COMPRESSED, BLURRED, NOISY, LIT, SHADED = 0.15, 0.25, 0.3, 0.6, 0.2  # shares of the pictures
QUALITY = (10, 60)  # of JPEG
LUMA = (0.299, 0.587, 0.114)


def views(pixels: NDArray[np.uint8], rng: np.random.Generator, *, grey: NDArray[np.bool_] | None = None) -> Tensor:
    """Return changed pictures, (B, side, side, 3) float32 from 0 to 1.

    Args:
        pixels: (B, side, side, 3).
        rng: where chance comes from.
        grey: (B,), which of them lose their colour.
    """
    count, side = len(pixels), pixels.shape[1]
    x = torch.from_numpy(_compressed(pixels, rng)).permute(0, 3, 1, 2).float() / 255
    x = _moved(x, rng)
    if grey is not None and grey.any():
        luma = (x * torch.tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
        x = torch.where(torch.from_numpy(grey)[:, None, None, None], luma.expand_as(x), x)
    chosen = rng.random(count)
    for n in np.flatnonzero(chosen < BLURRED).tolist():
        small = max(8, round(side * rng.uniform(LEAST_SIDE, 1)))
        shrunk = functional.interpolate(x[n : n + 1], size=(small, small), mode="bilinear", antialias=True)
        x[n] = functional.interpolate(shrunk, size=(side, side), mode="bilinear")[0]
    x = _lit(x, rng)
    strength = np.where(rng.random(count) < NOISY, rng.uniform(0, NOISE, count), 0.0)
    noise = rng.standard_normal(tuple(x.shape), np.float32) * strength[:, None, None, None].astype(np.float32)
    return (x + torch.from_numpy(noise)).clamp(0, 1).permute(0, 2, 3, 1).contiguous()


def _compressed(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return pictures of which some went through JPEG."""
    pixels = pixels.copy()
    for n in np.flatnonzero(rng.random(len(pixels)) < COMPRESSED).tolist():
        file = io.BytesIO()
        Image.fromarray(pixels[n]).save(file, "JPEG", quality=int(rng.integers(*QUALITY)))
        pixels[n] = np.asarray(Image.open(file).convert("RGB"))
    return pixels


def _moved(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Return pictures shifted, stretched and turned a little; what comes in at the edges is what was there."""
    count = len(x)
    angle = rng.uniform(-TURN, TURN, count)
    wide, high = (1 + rng.uniform(-STRETCH, STRETCH, count) for _ in range(2))
    across, down = (2 * rng.uniform(-SHIFT, SHIFT, count) for _ in range(2))
    turned = np.array(
        [[wide * np.cos(angle), -high * np.sin(angle), across], [wide * np.sin(angle), high * np.cos(angle), down]]
    )
    matrix = torch.from_numpy(turned.transpose(2, 0, 1).astype(np.float32))
    grid = functional.affine_grid(matrix, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _lit(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Return pictures in another light: brightness, contrast, the light's colour, and shade that falls across."""
    count, side = len(x), x.shape[-1]

    def some(values: NDArray[np.floating], share: float, otherwise: float = 1.0) -> Tensor:
        kept = np.where(rng.random(count) < share, values, otherwise).astype(np.float32)
        return torch.from_numpy(kept)[:, None, None, None]

    contrast = some(rng.uniform(1 - LIGHT, 1 + LIGHT, count), LIT)
    light = some(rng.uniform(-LIGHT, LIGHT, count) * 0.6, LIT, 0.0)
    gain = torch.from_numpy(rng.uniform(1 - GAIN, 1 + GAIN, (count, 3, 1, 1)).astype(np.float32))
    x = ((x - 0.5) * contrast + 0.5 + light) * gain
    angle = rng.uniform(0, 2 * np.pi, count)
    ramp = torch.linspace(-0.5, 0.5, side)
    along = torch.from_numpy(np.stack([np.cos(angle), np.sin(angle)]).astype(np.float32))
    slope = along[0][:, None, None] * ramp[None, None, :] + along[1][:, None, None] * ramp[None, :, None]
    return x + some(rng.uniform(0, 0.35, count), SHADED, 0.0) * slope[:, None]
