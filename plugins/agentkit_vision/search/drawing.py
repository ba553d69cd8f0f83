"""A contact sheet as one PNG. Pillow is imported here, so this module is reached late."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

__all__ = ["sheet_png"]

TILE, GAP, LINE, COLUMNS = 160, 14, 15, 5
INK, DIM, PAPER, CARD = (29, 35, 41), (93, 104, 114), (251, 251, 250), (238, 240, 242)


def sheet_png(title: str, tiles: Sequence[tuple[bytes | None, Sequence[str]]]) -> bytes:
    """Return a sheet of thumbnails with lines of text under each.

    Args:
        title: what was asked for.
        tiles: a PNG or None, and its lines; the first is cut where it is too long, others go on in the next line.
    """
    font = ImageFont.load_default(size=11)
    texts = [[*told[:1], *(part for text in told[1:] for part in _wrapped(text, TILE, font))] for _, told in tiles]
    lines = max(map(len, texts), default=0)
    columns = max(1, min(COLUMNS, len(tiles)))
    rows = -(-len(tiles) // columns)
    width, height = GAP + columns * (TILE + GAP), 2 * GAP + LINE + rows * (TILE + lines * LINE + GAP)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, GAP // 2), _fitting(title, width - 2 * GAP, font), INK, font)
    for n, ((png, _), told) in enumerate(zip(tiles, texts, strict=True)):
        left = GAP + (n % columns) * (TILE + GAP)
        top = GAP + LINE + (n // columns) * (TILE + lines * LINE + GAP)
        draw.rectangle((left, top, left + TILE - 1, top + TILE - 1), CARD)
        if png is not None:
            _paste(sheet, png, left, top)
        for row, text in enumerate(told):
            place = (left, top + TILE + 2 + row * LINE)
            draw.text(place, _fitting(text, TILE, font), DIM if row else INK, font)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _paste(sheet: Image.Image, png: bytes, left: int, top: int) -> None:
    image = Image.open(io.BytesIO(png)).convert("RGB")
    scale = min(TILE / image.width, TILE / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    how = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS
    sheet.paste(image.resize(size, how), (left + (TILE - size[0]) // 2, top + (TILE - size[1]) // 2))


def _wrapped(text: str, width: float, font: Any) -> list[str]:
    """Return a text as lines that fit, broken between words."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _fitting(text: str, width: float, font: Any) -> str:
    """Return as much of a line as fits."""
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    if font.getlength(shown) <= width:
        return shown
    while shown and font.getlength(f"{shown}...") > width:
        shown = shown[:-1]
    return f"{shown}..."
