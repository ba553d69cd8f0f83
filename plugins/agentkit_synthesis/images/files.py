"""PNG in and out, and errors of the disk that say what to do."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from agentkit.errors import JobError

__all__ = ["append", "contact_sheet", "fitted", "png", "put", "writing"]

TILE, GAP, TEXT = 64, 6, 12  # of a contact sheet, in pixels


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Return (H, W, 1 or 3) as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def fitted(pixels: NDArray[np.uint8], size: int, channels: int) -> NDArray[np.uint8]:
    """Return images (N, H, W, C) with another size and number of channels; as they are where these are theirs."""
    if pixels.shape[1:] == (size, size, channels):
        return pixels
    found = np.empty((len(pixels), size, size, channels), np.uint8)
    for n, one in enumerate(pixels):
        image = Image.fromarray(one[:, :, 0] if one.shape[2] == 1 else one).convert("L" if channels == 1 else "RGB")
        shown = ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
        found[n] = np.asarray(shown, np.uint8).reshape(size, size, channels)
    return found


def put(path: Path, data: bytes) -> None:
    """Write a file, making its folder; it is not flushed to the disk, so whoever lists it must do so afterwards.

    Raises:
        JobError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise _unwritable(path, error) from error


def append(path: Path, line: str) -> None:
    """Append a line.

    Raises:
        JobError: it cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        raise _unwritable(path, error) from error


@contextmanager
def writing(path: Path) -> Iterator[TextIO]:
    """Open a text file that takes its name once it is whole.

    Raises:
        JobError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error


def contact_sheet(images: Sequence[NDArray[np.uint8]], texts: Sequence[str], *, columns: int = 10) -> bytes:
    """Return images side by side with a text under each, as a PNG."""
    lines = max((text.count("\n") + 1 for text in texts if text), default=0)
    across, down = TILE + GAP, TILE + GAP + lines * TEXT
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * across + GAP, max(1, rows) * down + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for n, (one, text) in enumerate(zip(images, texts, strict=True)):
        left, top = GAP + n % columns * across, GAP + n // columns * down
        shown: Any = Image.fromarray(one[:, :, 0] if one.shape[2] == 1 else one).convert("RGB")
        sheet.paste(shown.resize((TILE, TILE), Image.Resampling.NEAREST), (left, top))
        if text:
            pen.multiline_text((left, top + TILE), text, fill="black", spacing=0, font_size=TEXT - 2)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _unwritable(path: Path, error: OSError) -> JobError:
    return JobError(f"{path}: cannot be written ({error.strerror}); free some space, or choose another folder")
