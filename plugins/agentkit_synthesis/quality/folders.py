"""What a folder is: a data set of texts with its splits, or labelled images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agentkit.errors import InvalidParams

__all__ = ["PICTURES", "SPLITS", "Dataset", "has_pictures", "open_dataset"]

SPLITS = ("train", "validation", "test")
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})


@dataclass(frozen=True, slots=True)
class Dataset:
    """Where a data set's rows or images are.

    Attributes:
        home: its folder; that of the file, where it is one file.
        kind: texts or images.
        files: rows by split; `all` for a file without one. Empty for images.
        manifest: what `manifest.json` says, if there is one.
    """

    home: Path
    kind: Literal["texts", "images"]
    files: Mapping[str, Path]
    manifest: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What to call it."""
        only = self.files.get("all")
        return only.name if only is not None else self.home.name


def open_dataset(path: Path) -> Dataset:
    """Find out what is in a folder, or take one file of rows.

    Raises:
        InvalidParams: nothing that can be reported on is there.
    """
    if path.is_file():
        if path.suffix != ".jsonl":
            raise InvalidParams(f"/data: {path} is no .jsonl file; give JSON Lines, or a folder")
        return Dataset(path.parent, "texts", {"all": path}, {})
    if not path.is_dir():
        raise InvalidParams(f"/data: {path} does not exist")
    manifest = _manifest(path)
    files = {name: path / f"{name}.jsonl" for name in SPLITS if (path / f"{name}.jsonl").is_file()}
    if files:
        return Dataset(path, "texts", files, manifest)
    if has_pictures(path):
        return Dataset(path, "images", {}, manifest)
    rest = sorted(found for found in path.glob("*.jsonl") if found.name not in {"pairs.jsonl", "metadata.jsonl"})
    if len(rest) == 1:
        return Dataset(path, "texts", {"all": rest[0]}, manifest)
    raise InvalidParams(
        f"/data: {path} has neither train.jsonl nor one .jsonl file nor images; it is empty or something else"
    )


def has_pictures(path: Path) -> bool:
    """Whether there is an image in a folder, at any depth."""
    return any(found.suffix.lower() in PICTURES for found in path.rglob("*"))


def _manifest(path: Path) -> dict[str, Any]:
    file = path / "manifest.json"
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidParams(
            f"/data: {file} cannot be read ({error}); make the data set again, or remove the file"
        ) from error
    if not isinstance(found, dict):
        raise InvalidParams(f"/data: {file} holds no object; make the data set again, or remove the file")
    return found
