"""Labelled images in a folder, one by one: `metadata.jsonl` beside them, or a folder for each label; with splits or without.

That is what Hugging Face's ImageFolder reads, and what the image generator writes. `agentkit_synthesis.images.folders` loads a
whole folder to train on, and is strict; here a poor folder is read as well, so that a report can say what is wrong with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from agentkit.errors import InvalidParams
from agentkit_synthesis.images.folders import read_image
from agentkit_synthesis.quality.folders import PICTURES, SPLITS
from agentkit_synthesis.quality.rows import read_rows

__all__ = ["Picture", "Pixels", "find_pictures", "pixels_of", "side_of"]

Pixels = NDArray[np.float32]  # [n, height, width, channels], 0 to 1
NAMES = ("label", "class", "category", "label_name")
MOST_SIDE = 32  # pixels; more says nothing that a report needs
LOOKED_AT = 200


@dataclass(frozen=True, slots=True)
class Picture:
    """One image, not yet read.

    Attributes:
        path: its file.
        label: its class.
        split: train, validation or test; all where there are none.
        attributes: all its labels by name.
        told: its line in metadata.jsonl.
    """

    path: Path
    label: str
    split: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)


def find_pictures(folder: Path, *, label: str | None = None) -> list[Picture]:
    """Return the images of a folder with their labels, in the order of their paths.

    Args:
        folder: where they are.
        label: the attribute that is the class; the first one where none is named.

    Raises:
        InvalidParams: there is no image, one has no label, or metadata.jsonl names a file that is not there.
    """
    splits = [name for name in SPLITS if (folder / name).is_dir() and not (folder / "metadata.jsonl").is_file()]
    homes = [(folder / name, name) for name in splits] or [(folder, "all")]
    found = [picture for home, split in homes for picture in _in(home, split, label)]
    if not found:
        raise InvalidParams(f"/data: there is no image in {folder}; give a folder for each label, or metadata.jsonl")
    return sorted(found, key=lambda one: one.path.as_posix())


def _in(home: Path, split: str, label: str | None) -> Iterator[Picture]:
    if (home / "metadata.jsonl").is_file():
        yield from _listed(home, split, label)
        return
    for path in home.rglob("*"):
        if path.suffix.lower() in PICTURES:
            if path.parent == home:
                raise InvalidParams(
                    f"/data: {path} has no label; put it into a folder named as its label, or name it in metadata.jsonl"
                )
            yield Picture(path, path.relative_to(home).parts[0], split)


def _listed(home: Path, split: str, label: str | None) -> Iterator[Picture]:
    for line, row in read_rows(home / "metadata.jsonl"):
        where, name = f"/data: {home / 'metadata.jsonl'}, line {line}", row.get("file_name")
        if not isinstance(name, str) or not (home / name).is_file():
            raise InvalidParams(f"{where}: there is no file {name!r}")
        attributes = _attributes(row)
        chosen = label or next(iter(attributes), None)
        parts = Path(name).parts
        if chosen is not None and chosen not in attributes:
            raise InvalidParams(f"{where}: it has no '{chosen}'; it has {', '.join(attributes) or 'no label'}")
        if chosen is None and len(parts) < 2:
            raise InvalidParams(f"{where}: {name} has no label; add a column `label`")
        own = row.get("split")
        found = attributes[chosen] if chosen is not None else parts[-2]
        yield Picture(home / name, found, own if own in SPLITS else split, attributes, row)


def _attributes(row: Mapping[str, Any]) -> dict[str, str]:
    told = row.get("labels")
    if isinstance(told, Mapping):
        return {str(name): str(value) for name, value in told.items() if value is not None}
    return {name: str(row[name]) for name in NAMES if isinstance(row.get(name), (str, int))}


def pixels_of(pictures: Sequence[Picture], *, side: int, channels: int) -> Pixels:
    """Return several images, square, of one size.

    Raises:
        InvalidParams: one is no image, or a broken one.
    """
    made = np.empty((len(pictures), side, side, channels), np.float32)
    for place, one in enumerate(pictures):
        found = read_image(one.path, side).astype(np.float32) / 255
        made[place] = found if found.shape[2] in (1, channels) else found.mean(2, keepdims=True)
    return made


def side_of(pictures: Sequence[Picture]) -> tuple[int, int, Counter[tuple[int, int]]]:
    """Return the side to read images at, their channels, and how often which width and height was seen.

    The side is that of the most frequent size, at most 32; one channel where all are grey. Some 200 images are looked at.
    """
    sizes: Counter[tuple[int, int]] = Counter()
    colour = False
    for one in pictures[:: max(1, len(pictures) // LOOKED_AT)]:
        try:
            with Image.open(one.path) as image:
                sizes[image.size] += 1
                colour = colour or image.mode not in {"L", "1", "LA"}
        except (OSError, UnidentifiedImageError) as error:
            raise InvalidParams(f"/data: {one.path} cannot be read as an image ({error}); mend or remove it") from error
    width, height = max(sizes, key=lambda size: (sizes[size], size))
    return max(2, min(width, height, MOST_SIDE)), 3 if colour else 1, sizes
