"""Pixels in other sizes, and as PNG."""

from __future__ import annotations

from io import BytesIO
from typing import Any, Literal

import numpy as np
from PIL import Image

from agentkit.errors import InvalidParams
from agentkit_vision.contracts import Picture, Pixels

__all__ = ["resized", "thumbnail", "to_png"]


def resized(
    pixels: Pixels,
    size: int,
    *,
    fit: Literal["letterbox", "crop"] = "letterbox",
    fill: tuple[int, int, int] = (255, 255, 255),
) -> Pixels:
    """Return a square of `size` x `size` pixels.

    Args:
        pixels: (height, width, 3) uint8.
        size: at least 1.
        fit: `letterbox` shows all of it, centred between bars; `crop` fills the square with its middle.
        fill: the colour of the bars.

    Raises:
        InvalidParams: these are no such pixels, or no such size.
    """
    image = _image(pixels)
    if size < 1:
        raise InvalidParams(f"/size: {size} is no positive number")
    width, height = image.size
    if fit == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
        return np.array(image.resize((size, size), Image.Resampling.BICUBIC, box=box))
    if fit != "letterbox":
        raise InvalidParams(f"/fit: {fit!r} is neither 'letterbox' nor 'crop'")
    canvas = Image.new("RGB", (size, size), fill)
    longer = max(width, height)
    inner = max(1, round(width * size / longer)), max(1, round(height * size / longer))
    canvas.paste(image.resize(inner, Image.Resampling.BICUBIC), ((size - inner[0]) // 2, (size - inner[1]) // 2))
    return np.array(canvas)


def thumbnail(picture: Picture, side: int) -> bytes:
    """Return a PNG of a picture whose longer side is at most `side` pixels; it is never made larger.

    Raises:
        InvalidParams: `side` is no positive number.
    """
    if side < 1:
        raise InvalidParams(f"/side: {side} is no positive number")
    image = _image(picture.pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return _png(image)


def to_png(pixels: Pixels) -> bytes:
    """Return a PNG of pixels, (height, width, 3) uint8: lossless, and nothing else in it.

    Raises:
        InvalidParams: these are no such pixels.
    """
    return _png(_image(pixels))


def _image(pixels: Pixels) -> Any:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise InvalidParams(f"/pixels: {pixels.shape} of {pixels.dtype} is not (height, width, 3) of uint8")
    return Image.fromarray(np.ascontiguousarray(pixels))


def _png(image: Any) -> bytes:
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
