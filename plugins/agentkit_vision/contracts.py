"""What the parts of this package agree on: a picture, what is said about one, and the two kinds of model.

numpy and the standard library alone; models are behind these protocols, wherever they come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from agentkit.types import USER, Provenance

__all__ = ["Encoder", "Example", "Picture", "Pixels", "Said", "Speaker", "Vectors"]

Pixels = NDArray[np.uint8]  # (height, width, 3), sRGB
Vectors = NDArray[np.float32]  # (n, dim), each of length 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """A decoded image: upright, without alpha, 8 bits a channel.

    Attributes:
        pixels: (height, width, 3) uint8, sRGB; read-only.
        source: what people know it by: a path, an address, or `bytes`.
        sha256: of the file's bytes, in hexadecimal.
        format: `PNG`, `JPEG`, ...
        size: (width, height) of the file as shown, before it was made smaller.
        frames: in the file; the first one is shown.
        notes: what was done to it that people may want to know: `turned by EXIF`, `first of 12 frames`, ...
        provenance: where it comes from, and whose words it may hold.
    """

    pixels: Pixels
    source: str
    sha256: str
    format: str
    size: tuple[int, int]
    frames: int = 1
    notes: tuple[str, ...] = ()
    provenance: Provenance = USER


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a model said about a picture.

    Attributes:
        text: the answer or the caption.
        confidence: probability that the model gives the whole text, 0 to 1; None where it does not tell.
        model: who said it.
    """

    text: str
    confidence: float | None = None
    model: str


@runtime_checkable
class Speaker(Protocol):
    """A model that speaks about pictures. Thread-safe: callers take turns."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of its weights and of what it does before and after them."""
        ...

    def caption(self, picture: Picture) -> Said:
        """Return one sentence about a picture, without its full stop."""
        ...

    def ask(self, pictures: Sequence[Picture], question: str) -> Said:
        """Return the answer to a question about one picture or several.

        Raises:
            UnsupportedPart: the model takes fewer pictures.
        """
        ...


@runtime_checkable
class Encoder(Protocol):
    """A model that puts pictures and texts into one space. Thread-safe: callers take turns."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of its weights and of what it does before and after them: vectors of two are never compared."""
        ...

    @property
    def dim(self) -> int:
        """The width of its vectors."""
        ...

    @property
    def attributes(self) -> Mapping[str, Sequence[str]]:
        """Attributes that it tells apart, with their values as words of a query; empty for a model of everything."""
        ...

    def embed_images(self, images: Sequence[Pixels]) -> Vectors:
        """Return a vector of length 1 for each image."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Return a vector of length 1 for each text."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A picture's truth, as a data set tells it: for training and for measuring.

    Attributes:
        path: the file, relative to the data set.
        labels: attribute -> value.
        split: `train`, `test`, ...
    """

    path: str
    labels: Mapping[str, str] = field(default_factory=dict)
    split: str = "train"
