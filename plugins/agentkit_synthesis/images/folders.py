"""A user's own folder of labelled images, of any size and mode.

Labels come from `metadata.jsonl` (as the export and Hugging Face's ImageFolder have it), from the one CSV file in the folder, or
from the names of its folders (`class/image.png`). An image is turned as its EXIF says, put on white where it is transparent,
cut to the middle square and resized. What cannot be read is named.
"""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from agentkit.errors import InvalidParams
from agentkit_synthesis.images.labelled import UNKNOWN, LabelledImages

__all__ = ["MOST_PIXELS", "read_folder", "read_image"]

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
MOST_PIXELS = 64_000_000  # of one file; a larger one is refused before it is unpacked
MOST_VALUES = 200  # of one attribute
LABEL = "label"  # the attribute that folders' names are values of
NAMED = 5  # faulty files that a message names
GREY = {"1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"}
FILE_COLUMNS = ("file", "file_name", "filename", "path", "image")

Rows = list[tuple[Path, dict[str, str]]]


def read_folder(
    folder: Path, *, size: int = 32, skip_bad: bool = False, colour: Literal["auto", "grey", "rgb"] = "auto"
) -> LabelledImages:
    """Load a folder of labelled images.

    Args:
        folder: holds `metadata.jsonl`, or a CSV (`file` and a column for each attribute; an empty cell is not known), or a
            folder for each class.
        size: side that images are brought to, in pixels.
        skip_bad: leave out what cannot be read, with a warning.
        colour: `auto` is grey where all images are grey.

    Raises:
        InvalidParams: names what cannot be used: the folder, a file, a row, an attribute.
    """
    if not folder.is_dir():
        raise InvalidParams(
            f"/source: {folder} is no folder; give digits, products, shop, or a folder of labelled images"
        )
    rows = _rows(folder)
    pixels, kept, bad = [], [], []
    for path, told in rows:
        try:
            pixels.append(read_image(path, size))
            kept.append((path, told))
        except InvalidParams as error:
            bad.append(str(error))
    if bad and not skip_bad:
        more = f" (and {len(bad) - NAMED} more)" if len(bad) > NAMED else ""
        raise InvalidParams(f"/source: {'; '.join(bad[:NAMED])}{more}; mend or remove them, or set skip_bad")
    if not kept:
        raise InvalidParams(f"/source: no image in {folder} can be read")
    values, labels = _labels(folder, kept)
    grey = colour == "grey" or (colour == "auto" and all(one.shape[2] == 1 for one in pixels))
    return LabelledImages(
        pixels=np.stack([_channels(one, grey_out=grey) for one in pixels]),
        labels=labels,
        values=values,
        names=tuple(path.relative_to(folder).as_posix() for path, _ in kept),
        source=str(folder),
        warnings=tuple(f"left out: {one}" for one in bad),
    )


def read_image(path: Path, size: int) -> NDArray[np.uint8]:
    """Read one image as (size, size, 1) where it is grey, else (size, size, 3).

    Raises:
        InvalidParams: it is missing, no image, broken, or of more than `MOST_PIXELS`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is lower
            with Image.open(path) as opened:
                if opened.width * opened.height > MOST_PIXELS:
                    raise InvalidParams(f"{path}: {opened.width} x {opened.height} pixels are over {MOST_PIXELS:,}")
                grey = opened.mode in GREY
                opened.load()
                fitted = ImageOps.fit(_plain(ImageOps.exif_transpose(opened)), (size, size), Image.Resampling.LANCZOS)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InvalidParams(f"{path}: there is no such file") from error
    except Image.DecompressionBombError as error:
        raise InvalidParams(f"{path}: it unpacks to over {MOST_PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        raise InvalidParams(f"{path}: it is no image that Pillow knows") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow raises for broken files
        raise InvalidParams(f"{path}: it is broken ({error})") from error
    found = np.asarray(fitted, np.uint8)
    return found[:, :, :1] if grey else found


def _plain(image: Image.Image) -> Image.Image:
    """Return it as RGB, on white where it is transparent."""
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        values = np.asarray(image, np.float64)
        most = 255.0 if image.mode == "F" and values.max(initial=0) > 1 else 1.0 if image.mode == "F" else 65535.0
        image = Image.fromarray(np.clip(np.rint(values * (255 / most)), 0, 255).astype(np.uint8))
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _channels(image: NDArray[np.uint8], *, grey_out: bool) -> NDArray[np.uint8]:
    if image.shape[2] == 1:
        return image if grey_out else np.repeat(image, 3, axis=2)
    if not grey_out:
        return image
    grey: NDArray[np.uint8] = np.rint(image @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)[..., None]
    return grey


def _rows(folder: Path) -> Rows:
    listed, tables = folder / "metadata.jsonl", sorted(folder.glob("*.csv"))
    if listed.exists():
        return _checked(listed, folder, _json_rows(listed))
    if len(tables) > 1:
        raise InvalidParams(f"/source: {folder} holds {len(tables)} CSV files; keep the one with the labels")
    if tables:
        return _checked(tables[0], folder, _csv_rows(tables[0]))
    found = [
        (path, {LABEL: path.relative_to(folder).parts[0]})
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES and path.is_file() and len(path.relative_to(folder).parts) > 1
    ]
    if not found:
        raise InvalidParams(
            f"/source: {folder} holds no labelled images; put them into a folder for each class, or add a CSV with a column"
            " `file` and one for each attribute"
        )
    return found


def _json_rows(path: Path) -> list[dict[str, str]]:
    found = []
    for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            told = row["labels"] if isinstance(row.get("labels"), dict) else row
            found.append({"file_name": row["file_name"], **{k: str(v) for k, v in told.items() if isinstance(v, str)}})
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise InvalidParams(f"/source: {path}, line {n}: no JSON object with a file_name") from error
    return found


def _csv_rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            rows = list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise InvalidParams(f"/source: {path} cannot be read as CSV in UTF-8 ({error})") from error
    for n, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise InvalidParams(f"/source: {path}, line {n}: it has not as many cells as the header")
    return [{str(name).strip(): str(value).strip() for name, value in row.items()} for row in rows]


def _checked(table: Path, folder: Path, rows: Sequence[Mapping[str, str]]) -> Rows:
    """Return a table's rows with paths; every file is there, once."""
    column = next((name for name in FILE_COLUMNS if rows and name in rows[0]), None)
    if column is None:
        raise InvalidParams(f"/source: {table} has no column `file`, or no rows")
    found: dict[Path, dict[str, str]] = {}
    for n, row in enumerate(rows, 1):
        path = folder / row[column]
        if not path.resolve().is_relative_to(folder.resolve()):
            raise InvalidParams(f"/source: {table}, row {n}: {row[column]} lies outside the folder")
        if path in found:
            raise InvalidParams(f"/source: {table} names {row[column]} twice, the second time in row {n}")
        found[path] = {name: value for name, value in row.items() if name != column}
    missing = [path.relative_to(folder).as_posix() for path in found if not path.is_file()]
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise InvalidParams(f"/source: {table} names files that are not there: {', '.join(missing[:NAMED])}{more}")
    return list(found.items())


def _labels(folder: Path, rows: Rows) -> tuple[dict[str, tuple[str, ...]], dict[str, NDArray[np.int64]]]:
    """Return values and labels of every attribute."""
    values: dict[str, tuple[str, ...]] = {}
    labels: dict[str, NDArray[np.int64]] = {}
    for name in rows[0][1]:
        told = [row.get(name, "") for _, row in rows]
        distinct = sorted(set(told) - {""})
        if len(distinct) > MOST_VALUES:
            raise InvalidParams(
                f"/source: '{name}' in {folder} has {len(distinct)} values; an attribute has a few that recur: remove the column"
            )
        if not distinct:
            continue
        values[name] = tuple(distinct)
        labels[name] = np.array([distinct.index(one) if one else UNKNOWN for one in told], np.int64)
    if not values:
        raise InvalidParams(f"/source: no image in {folder} has a label; add a column for an attribute")
    return values, labels
