"""Which files of a folder are pictures, and what a data set's metadata.jsonl says about them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["METADATA", "Listing", "labels_in", "list_images"]

METADATA = "metadata.jsonl"  # as Hugging Face's ImageFolder has it
FILE = "file_name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What there is in a folder.

    Attributes:
        files: the pictures, in one order everywhere.
        closed: folders that cannot be read, with the reason: what is in them is not known to be gone.
    """

    files: tuple[Path, ...]
    closed: Mapping[Path, str]


def list_images(folder: Path, *, recursive: bool = True) -> Listing:
    """Return a folder's pictures, and the folders in it that could not be looked into.

    Raises:
        InvalidParams: it is no folder, or cannot be listed.
    """
    from agentkit_vision.pictures import find_images  # noqa: PLC0415  Pillow

    closed: dict[Path, str] = {}
    files = tuple(find_images(folder, recursive, skipped=closed.__setitem__))
    return Listing(files=files, closed=closed)


def labels_in(folder: Path) -> dict[Path, dict[str, str]]:
    """Return the labels of a folder's pictures, of every metadata.jsonl in it: file -> attribute -> value.

    Texts, numbers and truth values are labels. A line that cannot be read labels nothing.
    """
    found: dict[Path, dict[str, str]] = {}
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if METADATA not in names:
            continue
        try:
            lines = Path(here, METADATA).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            row = _row(line)
            if row is not None:
                labels = {name: _text(value) for name, value in row.items() if name != FILE and _is_label(value)}
                found[Path(os.path.normpath(Path(here, row[FILE])))] = labels
    return found


def _is_label(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and value != ""


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get(FILE), str) else None
