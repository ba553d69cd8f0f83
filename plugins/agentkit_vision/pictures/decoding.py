"""Bytes to upright 8-bit sRGB pixels, by Pillow and nothing that Pillow would start.

The format is found by the first bytes and its one decoder is called; no other plugin of Pillow's is ever asked, so
Ghostscript is not started. The size is read from the header, and refused before anything is decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from agentkit.errors import InvalidParams, UnsupportedPart
from agentkit_vision.contracts import Pixels
from agentkit_vision.pictures.colours import flat, in_srgb, uninverted
from agentkit_vision.pictures.limits import Limits
from agentkit_vision.pictures.magic import FORMATS, HEAD_BYTES, Kind, kind_of
from agentkit_vision.pictures.quiet import keep_quiet

__all__ = ["Decoded", "decode"]

_DECODERS: Mapping[str, Callable[..., Any]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.jpeg_factory,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}
_ORIENTATION = 0x0112  # EXIF: which way the camera was held
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_GAP = 2  # JPEG is decoded at no less than twice the size that is kept, and the rest is filtered


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decoded:
    """What a file shows; the fields are those of `Picture`."""

    pixels: Pixels
    format: str
    size: tuple[int, int]
    frames: int
    notes: tuple[str, ...]


def decode(data: bytes, name: str, limits: Limits) -> Decoded:
    """Decode the first frame of a picture.

    Args:
        data: the whole file.
        name: what people know it by, for messages.
        limits: `max_pixels` and `max_side` hold.

    Raises:
        InvalidParams: it is no picture, a damaged one, or one of too many pixels.
        UnsupportedPart: it is a picture of a format that is not taken.
    """
    kind = kind_of(data[:HEAD_BYTES])
    if not kind.format:
        raise _not_taken(kind, name, bool(data))
    keep_quiet()
    try:
        with _DECODERS[kind.format](BytesIO(data), "") as image:
            return _decoded(image, kind.format, name, limits)
    except (InvalidParams, UnsupportedPart):
        raise
    except Image.DecompressionBombError as error:
        raise _too_many(name, "", limits) from error
    except MemoryError as error:
        raise InvalidParams(f"'{name}' takes more memory than there is; make the picture smaller") from error
    except Exception as error:  # on a damaged file, Pillow's decoders raise nearly anything
        why = " ".join((str(error) or type(error).__name__).split())[:200]
        raise InvalidParams(
            f"'{name}' begins as {kind.name}, and is damaged or cut short ({why}); get it again"
        ) from error


def _decoded(image: Any, format_: str, name: str, limits: Limits) -> Decoded:
    width, height = image.size
    if width * height > limits.max_pixels:
        raise _too_many(name, f"{width:,} x {height:,} pixels, ", limits)
    if width < 1 or height < 1:
        raise InvalidParams(f"'{name}' is {width} x {height} pixels, which shows nothing; give another picture")
    if format_ == "PNG":
        image.load()  # what it says of itself may come after its pixels
    turn, notes = _turn(image)
    frames = _frames(image, format_, notes)
    if format_ == "TIFF":
        turned = image.size  # Pillow turns a TIFF itself, and tells its size so
    else:
        turned = (height, width) if turn in (5, 6, 7, 8) else (width, height)
        kept = _fitting((width, height), limits.max_side)
        if format_ == "JPEG" and kept != (width, height):
            image.draft(None, (kept[0] * _GAP, kept[1] * _GAP))
    image.load()
    profile = image.info.get("icc_profile") if image.mode != "LAB" else None  # `flat` knows that one
    if format_ == "JPEG" and image.mode == "CMYK" and "adobe" not in image.info:
        image = uninverted(image)
    shown, told = flat(image)
    notes += told
    if turn and format_ != "TIFF":
        shown = shown.transpose(_TURNS[turn])
    if (kept := _fitting(turned, limits.max_side)) != turned:
        shown = shown.resize(kept, Image.Resampling.LANCZOS, reducing_gap=2.0)
        notes.append(f"reduced from {turned[0]} x {turned[1]} to {kept[0]} x {kept[1]}")
    shown, told = in_srgb(shown, profile)
    notes += told
    pixels = np.array(shown, dtype=np.uint8)
    pixels.flags.writeable = False
    return Decoded(pixels=pixels, format=format_, size=turned, frames=frames, notes=tuple(notes))


def _turn(image: Any) -> tuple[int, list[str]]:
    """Return the EXIF orientation, 2 to 8, or 0 for one that is upright."""
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001  as above; a picture may be good though its EXIF is not
        return 0, ["its EXIF could not be read"]
    if found not in _TURNS:
        return 0, []
    return int(found), ["turned by EXIF"]


def _frames(image: Any, format_: str, notes: list[str]) -> int:
    try:
        frames = int(getattr(image, "n_frames", 1))
    except Exception:  # noqa: BLE001  as above; the first frame may be good though others are not
        image.seek(0)
        notes.append("its other frames could not be counted")
        return 1
    if frames > 1:
        notes.append(f"first of {frames} {'pages' if format_ == 'TIFF' else 'frames'}")
    return max(frames, 1)


def _fitting(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Return a size of the same aspect whose longer side is at most `side`."""
    longer = max(size)
    if longer <= side:
        return size
    width, height = (max(1, round(length * side / longer)) for length in size)
    return width, height


def _too_many(name: str, size: str, limits: Limits) -> InvalidParams:
    return InvalidParams(
        f"'{name}' says that it holds {size}more than the {limits.max_pixels:,} pixels that may be decoded; make it "
        f"smaller, or raise max_pixels"
    )


def _not_taken(kind: Kind, name: str, is_any: bool) -> InvalidParams | UnsupportedPart:
    if not is_any:
        return InvalidParams(f"'{name}' is empty; get the picture again")
    taken = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
    if kind.is_picture:
        return UnsupportedPart(f"'{name}' is {kind.name}, which is not taken; turn it into {taken}")
    return InvalidParams(f"'{name}' is {kind.name or 'no picture that is known here'}; give a picture, {taken}")
