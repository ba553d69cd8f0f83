"""Pixels of any mode that Pillow knows, as 8-bit sRGB without alpha.

Two steps, so that a large picture can be made smaller between them: `flat` (8 bits, no alpha, no palette), and
`in_srgb` (the colours of the picture's own profile become those of sRGB).
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageCms, features

__all__ = ["flat", "in_srgb"]

_SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # of ICC -> the mode that holds it
_PHOTOMETRIC, _BITS = 262, 258  # TIFF tags
_WHITE_IS_ZERO = 0
_AT_ONCE = 1_000_000  # numbers


def flat(image: Any) -> tuple[Any, list[str]]:
    """Return a decoded image in mode L, RGB or CMYK, and notes of what was done to it.

    Transparent parts become white. 16 bits are scaled by their full range; 32-bit and floating-point values, which
    have no fixed range, by theirs, unless they are in 0 to 1 (floats) or 0 to 65,535 (whole numbers).
    """
    mode = image.mode
    if mode.startswith("I;16"):
        return _of_16_bits(image)
    if mode in ("I", "F"):
        return _of_any_range(image)
    if mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        return ImageCms.profileToProfile(image, lab, ImageCms.createProfile("sRGB"), outputMode="RGB"), []
    if image.has_transparency_data:
        return _on_white(image)
    if mode in ("L", "RGB", "CMYK"):
        return image, []
    return image.convert("L" if mode == "1" else "RGB"), []


def uninverted(image: Any) -> Any:
    """Return a CMYK image of a JPEG as its file has it.

    Pillow takes every CMYK JPEG for one of Adobe's, which store the amount of paper instead of that of ink; libjpeg
    advises to do so only where the file has Adobe's marker.
    """
    return ImageChops.invert(image)


def in_srgb(image: Any, profile: bytes | None) -> tuple[Any, list[str]]:
    """Return an image of mode L, RGB or CMYK as RGB, with the colours of its ICC profile turned into those of sRGB."""
    if not profile:
        note = ["CMYK without a colour profile, so the colours are approximate"] if image.mode == "CMYK" else []
        return image.convert("RGB"), note
    try:
        return _converted(image, profile)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image.convert("RGB"), ["its colour profile could not be used"]


def _converted(image: Any, profile: bytes) -> tuple[Any, list[str]]:
    if not features.check("littlecms2"):
        return image.convert("RGB"), ["its colour profile was not used: this Pillow has no LittleCMS"]
    own = ImageCms.ImageCmsProfile(BytesIO(profile))
    mode = _SPACES.get(own.profile.xcolor_space.strip(), "")
    if mode == "RGB" and image.mode == "L":
        image = image.convert("RGB")
    if mode != image.mode:
        return image.convert("RGB"), ["its colour profile is for other colours, and was not used"]
    if mode == "RGB" and ImageCms.getProfileDescription(own).startswith("sRGB"):
        return image, []
    turned = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    return turned, ["colours converted from its own profile to sRGB"]


def _on_white(image: Any) -> tuple[Any, list[str]]:
    grey = image.mode in ("1", "L", "LA", "La")
    mode = "L" if grey else "RGB"
    key = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(key, tuple) and max(key) > 255:
        image.info["transparency"] = tuple(value >> 8 for value in key)  # of 16 bits, as the pixels were
    whole = image.convert("LA" if grey else "RGBA")
    alpha = whole.getchannel("A")
    if alpha.getextrema()[0] == 255:
        return whole.convert(mode), []
    canvas = Image.new(mode, whole.size, 255 if grey else (255, 255, 255))
    canvas.paste(whole.convert(mode), mask=alpha)
    return canvas, ["transparent parts shown on white"]


def _of_16_bits(image: Any) -> tuple[Any, list[str]]:
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    bits = next(iter(tags.get(_BITS, ())), 16)
    full = (1 << bits) - 1 if 8 < bits <= 16 else 65_535
    grey = _by_rows(values, lambda rows: (np.minimum(rows.astype(np.uint32), full) * 255 + full // 2) // full)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        grey = 255 - grey
    transparent = image.info.get("transparency")
    if isinstance(transparent, int) and bool((hidden := values == transparent).any()):
        grey[hidden] = 255
        return Image.fromarray(grey), ["transparent parts shown on white"]
    return Image.fromarray(grey), []


def _of_any_range(image: Any) -> tuple[Any, list[str]]:
    values = np.asarray(image)
    finite = values if values.dtype.kind == "i" else values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    usual = 65_535.0 if image.mode == "I" else 1.0
    if low >= 0 and high <= usual:
        return Image.fromarray(_stretched(values, 0.0, usual)), []
    note = f"brightness stretched from its range, {low:g} to {high:g}"
    return Image.fromarray(_stretched(values, low, high)), [note]


def _stretched(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Return 8-bit grey in which `low` is black and `high` is white; infinities are clipped, NaN is black."""
    span = high - low or 1.0

    def stretch(rows: NDArray[Any]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):  # some NaN complain about being looked at
            scaled = (rows.astype(np.float64) - low) / span
        return np.clip(np.nan_to_num(scaled, nan=0.0, posinf=1.0, neginf=0.0), 0, 1) * 255 + 0.5

    return _by_rows(values, stretch)


def _by_rows(values: NDArray[Any], function: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[np.uint8]:
    """Return what a function makes of an image, as 8 bits; some rows at a time, as its numbers are wide."""
    made = np.empty(values.shape, np.uint8)
    step = max(1, _AT_ONCE // values.shape[1])
    for start in range(0, len(values), step):
        made[start : start + step] = function(values[start : start + step])
    return made
