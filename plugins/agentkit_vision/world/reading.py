"""Data sets of pictures with attributes, as files: `metadata.jsonl`, one CSV, or a folder for each class.

Only the tables are read here; no picture is opened.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from zlib import crc32

from agentkit.errors import InvalidParams
from agentkit_vision.contracts import Example

__all__ = ["divided", "read_examples", "vocabulary_of"]

METADATA = "metadata.jsonl"
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
FILE_COLUMNS = ("file_name", "file", "filename", "path", "image")
SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test", "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation"}  # fmt: skip
NO_LABELS = {
    "id",
    "text",
    "caption",
    "split",
    "seed",
    "synthetic",
    "verified",
    "damage",
}  # columns that are no attribute
LABEL = "label"  # the attribute whose values are folders' names
NAMED = 5  # faults that a message names

Row = tuple[str, dict[str, str], str]  # path, labels, split ("" where nobody says)


def read_examples(folder: Path) -> list[Example]:
    """Read the pictures of a data set with their labels, in the order of its table, or of their paths.

    Args:
        folder: holds `metadata.jsonl` (a JSON object a line with `file_name`, and `labels` or one key for each attribute), or
            one CSV (`file` and a column for each attribute; an empty cell is not known), or a folder for each class, which may
            be in folders `train`, `test` and `validation`.

    Raises:
        InvalidParams: there is no such folder, nothing in it is labelled, or a row, a file or a label cannot be used; says which.
    """
    folder = folder.expanduser()
    if not folder.is_dir():
        raise InvalidParams(f"/folder: {folder} is no folder; name one that holds labelled pictures")
    listed, tables = folder / METADATA, sorted(folder.glob("*.csv"))
    if listed.is_file():
        rows = _checked(listed, folder, _json_rows(listed))
    elif len(tables) > 1:
        raise InvalidParams(f"/folder: {folder} holds {len(tables)} CSV files; keep the one with the labels")
    elif tables:
        rows = _checked(tables[0], folder, _csv_rows(tables[0]))
    else:
        rows = _folders(folder)
    if not any(labels for _, labels, _ in rows):
        raise InvalidParams(f"/folder: no picture in {folder} has a label; add a column for an attribute")
    return [Example(path=path, labels=labels, split=split or "train") for path, labels, split in rows]


def vocabulary_of(examples: Iterable[Example]) -> dict[str, tuple[str, ...]]:
    """Return attribute -> its values, in the order in which they are first met; numbers in the order of counting."""
    found: dict[str, dict[str, None]] = {}
    for example in examples:
        for name, value in example.labels.items():
            found.setdefault(name, {})[value] = None
    return {
        name: tuple(sorted(values, key=int)) if all(value.isdecimal() for value in values) else tuple(values)
        for name, values in found.items()
    }


def divided(examples: Sequence[Example], share: float = 0.1, *, seed: int = 0) -> tuple[list[Example], list[Example]]:
    """Return examples to learn from, and about a share of them held out: a picture's path decides, so more pictures move none.

    Raises:
        InvalidParams: the share is not between 0 and 1.
    """
    if not 0 <= share <= 1:
        raise InvalidParams(f"/share: {share} is no share; give 0 to 1")
    out = [crc32(f"{seed}/{example.path}".encode()) < share * 2**32 for example in examples]
    kept = [example for example, held in zip(examples, out, strict=True) if not held]
    return kept, [example for example, held in zip(examples, out, strict=True) if held]


def _json_rows(path: Path) -> list[dict[str, str]]:
    found = []
    for n, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            name = row["file_name"]
            told = row["labels"] if isinstance(row.get("labels"), dict) else _attributes(row)
            labels = {str(key): _value(value) for key, value in told.items() if _is_value(value)}
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise InvalidParams(f"/folder: {path}, line {n}: no JSON object with a file_name") from error
        found.append({**labels, "split": str(row.get("split", "")), "file_name": str(name)})
    return found


def _csv_rows(path: Path) -> list[dict[str, str]]:
    try:
        rows = list(csv.DictReader(_text(path).splitlines(keepends=True), strict=True))
    except csv.Error as error:
        raise InvalidParams(f"/folder: {path} cannot be read as CSV ({error})") from error
    for n, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise InvalidParams(f"/folder: {path}, line {n}: it has not as many cells as the header")
    return [{str(name).strip(): str(value).strip() for name, value in row.items()} for row in rows]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidParams(f"/folder: {path} is not in UTF-8; save it as UTF-8") from error
    except OSError as error:
        raise InvalidParams(f"/folder: {path} cannot be read ({error.strerror})") from error


def _checked(table: Path, folder: Path, rows: Sequence[Mapping[str, str]]) -> list[Row]:
    """Return a table's rows; every file is in the folder, once."""
    column = next((name for name in FILE_COLUMNS if rows and name in rows[0]), None)
    if column is None:
        raise InvalidParams(f"/folder: {table} has no column `file`, or no rows")
    found: dict[str, Row] = {}
    missing = []
    for n, row in enumerate(rows, 1):
        name = row[column]
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not name:
            raise InvalidParams(f"/folder: {table}, row {n}: {name!r} lies outside the folder")
        if name in found:
            raise InvalidParams(f"/folder: {table} names {name} twice, the second time in row {n}")
        if not (folder / path).is_file():
            missing.append(name)
        labels = {key: value for key, value in row.items() if key not in (column, *NO_LABELS) and value}
        found[name] = (name, labels, SPLITS.get(row.get("split", "").lower(), row.get("split", "")))
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise InvalidParams(f"/folder: {table} names files that are not there: {', '.join(missing[:NAMED])}{more}")
    return list(found.values())


def _folders(folder: Path) -> list[Row]:
    """Return pictures by the folder they are in."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    parts = [path.relative_to(folder).parts for path in paths]
    split = bool(parts) and all(one[0].lower() in SPLITS and len(one) > 2 for one in parts)
    found = [
        ("/".join(one), {LABEL: one[1] if split else one[0]}, SPLITS[one[0].lower()] if split else "")
        for one in parts
        if len(one) > 1
    ]
    if not found:
        raise InvalidParams(
            f"/folder: {folder} holds no labelled pictures; put them into a folder for each class, or add {METADATA}, or a CSV"
            " with a column `file` and one for each attribute"
        )
    return found


def _attributes(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "file_name" and name not in NO_LABELS}


def _is_value(value: Any) -> bool:
    return isinstance(value, str | bool | int)


def _value(value: str | bool | int) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value).strip()
