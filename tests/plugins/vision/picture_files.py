"""Files as people have them, made by Pillow, for the tests of loading."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageCms

RED, BLUE = (200, 30, 40), (20, 60, 220)
GREY_RED, GREY_BLUE = 82, 66  # what they are without their colours, by ITU-R 601


def two_halves(width: int = 60, height: int = 40) -> Any:
    """Red on the left, blue on the right."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:, : width // 2], pixels[:, width // 2 :] = RED, BLUE
    return Image.fromarray(pixels)


def file(image: Any, format_: str, **options: Any) -> bytes:
    """The bytes of an image's file."""
    made = BytesIO()
    image.save(made, format_, **options)
    return made.getvalue()


def in_mode(image: Any, mode: str) -> Any:
    """An image in any of Pillow's modes; wide ones have their full range."""
    grey = np.asarray(image.convert("L"))
    match mode:
        case "I;16":
            return Image.fromarray(grey.astype(np.uint16) * 257)
        case "I":
            return Image.fromarray(grey.astype(np.int32) * 257)
        case "F":
            return Image.fromarray(grey.astype(np.float32) / 255)
        case "LAB":
            spaces = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
            return ImageCms.profileToProfile(image, *spaces, outputMode="LAB")
        case _:
            return image.convert(mode)


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, rows: bytes, *, bits: int = 8, colour: int = 2, more: bytes = b"") -> bytes:
    """A PNG by hand: `rows` with their filter bytes; `more` are chunks that come before them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def without_adobe(jpeg: bytes) -> bytes:
    """A JPEG without its Adobe marker."""
    start = jpeg.index(b"\xff\xee\x00\x0eAdobe")
    return jpeg[:start] + jpeg[start + 16 :]


def swapped_profile() -> bytes:
    """An ICC profile like sRGB whose red and blue are each other's, under a name of its own."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for at in range(132, 132 + 12 * int.from_bytes(profile[128:132], "big"), 12):
        name = bytes(profile[at : at + 4])
        if name in (b"rXYZ", b"bXYZ"):
            profile[at : at + 4] = b"bXYZ" if name == b"rXYZ" else b"rXYZ"
    return bytes(profile).replace("sRGB built-in".encode("utf-16-be"), "swap built-in".encode("utf-16-be"))
