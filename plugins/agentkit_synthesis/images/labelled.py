"""Images with categorical labels in memory: one value that every source gives and everything else takes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import InvalidParams

__all__ = ["UNKNOWN", "Combination", "LabelledImages", "split"]

UNKNOWN = -1  # the label of an image whose value is not known
Combination = tuple[int, ...]  # an index into the values of each attribute, in order


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImages:
    """Images of one size with their labels.

    Attributes:
        pixels: (N, H, W, C) uint8; C is 1 (grey) or 3 (RGB).
        labels: attribute -> (N,) int64, indices into `values`; `UNKNOWN` where nobody said.
        values: attribute -> the names of its values.
        names: where each image is from, a path or `digits/17`.
        source: what was loaded.
        warnings: what was left out, and why.
    """

    pixels: NDArray[np.uint8]
    labels: Mapping[str, NDArray[np.int64]]
    values: Mapping[str, tuple[str, ...]]
    names: tuple[str, ...]
    source: str
    warnings: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes' names, in order."""
        return tuple(self.values)

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return int(self.pixels.shape[1])

    @property
    def table(self) -> NDArray[np.int64]:
        """The labels, (N, attributes)."""
        return np.stack([self.labels[name] for name in self.values], axis=1)

    @property
    def digest(self) -> str:
        """SHA-256 of pixels and labels: equal images and labels in the same order are equal here."""
        found = hashlib.sha256(repr((self.pixels.shape, dict(self.values))).encode())
        found.update(np.ascontiguousarray(self.pixels).tobytes())
        found.update(np.ascontiguousarray(self.table).tobytes())
        return found.hexdigest()

    def chosen(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> LabelledImages:
        """Return the images at an index or under a mask."""
        where = np.arange(len(self))[index]
        return replace(
            self,
            pixels=self.pixels[where],
            labels={name: found[where] for name, found in self.labels.items()},
            names=tuple(self.names[n] for n in where),
        )

    def only(self, attributes: Sequence[str]) -> LabelledImages:
        """Return the images with some of their attributes.

        Raises:
            InvalidParams: one does not exist.
        """
        for n, name in enumerate(attributes):
            if name not in self.values:
                raise InvalidParams(f"/attributes/{n}: {self.source} has no '{name}'; it has {', '.join(self.values)}")
        kept = [name for name in self.values if name in attributes]
        return replace(
            self, labels={name: self.labels[name] for name in kept}, values={name: self.values[name] for name in kept}
        )

    def forgotten(self, share: float, *, seed: int) -> LabelledImages:
        """Return the images with all labels but a share forgotten; of every value of the first attribute alike.

        Which labels are kept depends on the seed alone; a larger share keeps those of a smaller one.
        """
        rng, kept = np.random.default_rng(seed), np.zeros(len(self), bool)
        first = self.labels[self.attributes[0]]
        for value in np.unique(first):
            members = rng.permutation(np.flatnonzero(first == value))
            kept[members[: max(1, round(share * len(members)))]] = True
        return replace(self, labels={name: np.where(kept, found, UNKNOWN) for name, found in self.labels.items()})

    def known(self) -> LabelledImages:
        """Return the images of which every label is known."""
        return self.chosen((self.table != UNKNOWN).all(axis=1))


def split(images: LabelledImages, share: float = 0.2, *, seed: int = 0) -> tuple[LabelledImages, LabelledImages]:
    """Return the images to train on and those held out, by a hash of the pixels.

    Equal images are on one side. Of every value of the first attribute about the same share is held out, and at least one
    image where it has two different ones.
    """
    hashes = np.array([hashlib.sha256(b"%d" % seed + one.tobytes()).hexdigest() for one in images.pixels])
    held, first = np.zeros(len(images), bool), images.labels[images.attributes[0]]
    for value in np.unique(first):
        members = np.flatnonzero(first == value)
        different = np.unique(hashes[members])
        out = min(len(different) - 1, max(1, round(share * len(different)))) if len(different) > 1 else 0
        held[members[np.isin(hashes[members], different[:out])]] = True
    return images.chosen(~held), images.chosen(held)
