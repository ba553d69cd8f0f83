"""What a collection holds, as frozen values."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["Entry", "Info", "Known", "Snapshot", "name_of", "printable", "stored"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An image that is to be put into a collection.

    Attributes:
        path: its file.
        sha256: of the file's contents, in hexadecimal.
        size: of the file, in bytes.
        mtime_ns: when the file was changed, in nanoseconds since 1970.
        width: as shown, in pixels; 0 takes it from an image of the same contents.
        height: the same.
        labels: attribute -> value, as a data set tells them.
        thumbnail: a small PNG, or None.
    """

    path: Path
    sha256: str
    size: int
    mtime_ns: int
    width: int = 0
    height: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    thumbnail: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a file that is in a collection: enough to see whether it has changed."""

    id: int
    sha256: str
    size: int
    mtime_ns: int
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """What a collection is.

    Attributes:
        images: how many files it names.
        vectors: how many different contents they have.
        dead: vectors that no file has any more, until the next compaction.
        bytes: that it takes on disk.
    """

    home: Path
    root: Path
    encoder: str
    fingerprint: str
    dim: int
    dtype: str
    images: int
    vectors: int
    dead: int
    labels: Mapping[str, int]  # attribute -> images that have it
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """A collection at one moment, by ascending id: what is written later does not change it.

    Attributes:
        encoder: whose vectors these are.
        ids: (n,) int64.
        slots: (n,) int64, the row of `matrix` that is the image's vector.
        paths: names relative to the root, or absolute outside it.
        matrix: (slots, dim) float16 or float32, mapped from disk and read-only.
    """

    encoder: str
    fingerprint: str
    ids: NDArray[np.int64]
    slots: NDArray[np.int64]
    paths: Sequence[str]
    sha256: Sequence[str]
    sizes: NDArray[np.int64]  # (n, 2): width and height
    labels: Sequence[Mapping[str, str]]
    matrix: NDArray[np.floating]

    def __len__(self) -> int:
        return len(self.ids)


def name_of(path: Path, root: Path) -> str:
    """Return what a collection calls a file: relative to its root inside it, absolute elsewhere; `/` between parts."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def stored(name: str) -> str | bytes:
    """Return a name as SQLite can keep it: bytes where it is not text, which file systems allow."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name)
    return name


def printable(text: str) -> str:
    """Return a name that can be written out: what is no text becomes a replacement character."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
