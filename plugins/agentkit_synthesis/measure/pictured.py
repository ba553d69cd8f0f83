"""What is measured of images: real ones divided once, synthetic ones with the same labels, and the cells between them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import InvalidParams
from agentkit_synthesis.images.labelled import LabelledImages, split
from agentkit_synthesis.images.sources import DIGITS, NAMED, load
from agentkit_synthesis.measure.cells import Cell
from agentkit_synthesis.measure.params import MeasureParams

__all__ = ["ARMS", "FEWEST_TEST", "Images", "cells_of_images", "read_images"]

FEWEST_TEST = 30  # real images held out
FEWEST = 20  # real images to train on, and synthetic ones

# arm -> real labels, synthetic images, augmentation
ARMS: Mapping[str, tuple[bool, bool, bool]] = {
    "real": (True, False, False),
    "real, augmented": (True, False, True),
    "real + synthetic": (True, True, False),
    "real + synthetic, augmented": (True, True, True),
    "synthetic": (False, True, False),
    "synthetic, augmented": (False, True, True),
}


@dataclass(frozen=True)
class Images:
    """Real images to train on and held out, synthetic ones, and what to warn of."""

    real: LabelledImages
    test: LabelledImages
    made: LabelledImages
    name: str  # of the attribute that is learnt
    warnings: tuple[str, ...]

    @property
    def classes(self) -> int:
        """How many labels there are."""
        return len(self.real.values[self.name])

    @property
    def digest(self) -> str:
        """A hash of all images and labels."""
        parts = "".join(one.digest for one in (self.real, self.test, self.made))
        return hashlib.sha256(parts.encode()).hexdigest()

    def cells(self, params: MeasureParams) -> list[Cell]:
        """Return every student that is to be taught."""
        return cells_of_images(params)

    def subset(self, share: float, seed: int) -> LabelledImages:
        """Return the real images that have a label where only a share has one; a larger share has those of a smaller."""
        return self.real.forgotten(share, seed=seed).known()


def read_images(params: MeasureParams) -> Images:
    """Read both, and divide the real ones as the generator does: what it learnt from is never tested on.

    Raises:
        InvalidParams: something cannot be read, there are too few, there is one class, or the labels do not match.
    """
    if params.against is None:
        raise InvalidParams(
            "/against: images are measured against real ones; name digits, products, shop, or a folder of them"
        )
    real = _read(params.against, "/against", params.size)
    made = _read(str(params.data), "/data", real.size)
    name = _attribute(real, params.label, "/against")
    other = _attribute(made, params.label or (name if name in made.attributes else None), "/data")
    made, strange = _matched(made, other, real, name)
    real, made, warned = _coloured(real, made)
    train, test = (part.only([name]) for part in split(real))
    if copies := _copies(made, test):
        warned.append(
            f"{copies} synthetic images are pixel for pixel real ones that are held out: the figures with them are too good"
        )
    if len(test) < FEWEST_TEST or len(train) < FEWEST:
        raise InvalidParams(
            f"/against: {len(train)} real images to train on and {len(test)} to test on are too few; {FEWEST} and {FEWEST_TEST} are needed"
        )
    if len(made) < FEWEST:
        raise InvalidParams(
            f"/data: {len(made)} synthetic images with labels that the real ones have are too few; {FEWEST} are needed"
        )
    return Images(train, test, made, name, (*strange, *warned, *real.warnings, *made.warnings))


def _read(source: str, pointer: str, size: int | None) -> LabelledImages:
    known = source in NAMED
    try:
        return load(source if known else Path(source), size=None if source == DIGITS else size)
    except InvalidParams as error:
        raise InvalidParams(str(error).replace("/source:", f"{pointer}:")) from error


def _attribute(images: LabelledImages, wanted: str | None, pointer: str) -> str:
    if wanted is not None and wanted not in images.attributes and len(images.attributes) > 1:
        raise InvalidParams(
            f"/label: {images.source} ({pointer}) has no '{wanted}'; it has {', '.join(images.attributes)}"
        )
    return wanted if wanted in images.attributes else images.attributes[0]


def _copies(made: LabelledImages, test: LabelledImages) -> int:
    held = {one.tobytes() for one in test.pixels}
    return sum(one.tobytes() in held for one in made.pixels)


def _matched(made: LabelledImages, other: str, real: LabelledImages, name: str) -> tuple[LabelledImages, list[str]]:
    """Return the synthetic images with the real ones' label indices; labels that only one side has are told."""
    theirs, mine = real.values[name], made.values[other]
    for pointer, values in (("/against", theirs), ("/data", mine)):
        if len(values) < 2:
            raise InvalidParams(
                f"{pointer}: all images have the same label ({_few(values)}); there is nothing to learn to tell apart: add another"
            )
    common = [value for value in mine if value in theirs]
    if len(common) < 2:
        raise InvalidParams(
            f"/data: its labels ({_few(mine)}) are not those of the real images ({_few(theirs)}); rename one or the other, or name the attribute with `label`"
        )
    index = np.array([theirs.index(value) if value in theirs else -1 for value in mine], np.int64)
    labels = made.labels[other]
    fitting = (labels >= 0) & (index[labels] >= 0)
    kept = made.only([other]).chosen(fitting)
    told = []
    if dropped := [value for value in mine if value not in theirs]:
        told.append(f"no real image is {_few(dropped)}: {int((~fitting).sum())} synthetic images are left out")
    if missing := [value for value in theirs if value not in mine]:
        told.append(f"no synthetic image is {_few(missing)}: a student of synthetic images alone cannot know it")
    return _relabelled(kept, other, name, theirs, index), told


def _relabelled(
    images: LabelledImages, old: str, new: str, values: tuple[str, ...], index: NDArray[np.int64]
) -> LabelledImages:
    return LabelledImages(
        pixels=images.pixels, labels={new: index[images.labels[old]]}, values={new: values}, names=images.names,
        source=images.source, warnings=images.warnings,
    )  # fmt: skip


def _coloured(real: LabelledImages, made: LabelledImages) -> tuple[LabelledImages, LabelledImages, list[str]]:
    """Return both with as many channels."""
    channels = max(real.pixels.shape[3], made.pixels.shape[3])
    if real.pixels.shape[3] == made.pixels.shape[3]:
        return real, made, []
    wide = [_with_channels(one, channels) for one in (real, made)]
    return wide[0], wide[1], ["one of the two is grey and the other in colour: both are read in colour"]


def _with_channels(images: LabelledImages, channels: int) -> LabelledImages:
    pixels = np.broadcast_to(images.pixels, (*images.pixels.shape[:3], channels)).copy()
    return LabelledImages(pixels=pixels, labels=images.labels, values=images.values, names=images.names, source=images.source, warnings=images.warnings)  # fmt: skip


def cells_of_images(params: MeasureParams) -> list[Cell]:
    """Return every student that is to be taught: arm by share of real labels by seed."""
    steps, seeds = params.steps or 400, params.seeds or 5
    told: list[dict[str, Any]] = []
    for student in dict.fromkeys(params.student):
        for arm, (real, _, _) in ARMS.items():
            shares = (
                sorted({*params.curve, *params.shares})
                if arm == "real"
                else sorted(set(params.shares))
                if real
                else [0.0]
            )
            told += [{"student": student, "arm": arm, "share": share} for share in shares]
    return [
        Cell(kind="images", seed=params.seed + n, steps=steps, **one)
        for one in told
        for n in range(seeds)
    ]  # fmt: skip


def _few(values: tuple[str, ...] | list[str], most: int = 6) -> str:
    return ", ".join(values[:most]) + (f" and {len(values) - most} more" if len(values) > most else "")
