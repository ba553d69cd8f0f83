"""A world in which attributes are orthogonal directions, its files, and an encoder of it that needs no model."""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from agentkit.errors import UnsupportedPart
from agentkit_vision.contracts import Picture, Pixels, Vectors
from agentkit_vision.search import matrix, updating
from agentkit_vision.search.updating import Changes, update
from agentkit_vision.search.writer import Writer

ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "category": ("shoe", "bag", "hat"),
    "colour": ("red", "blue", "green", "grey"),
    "pattern": ("plain", "polka dots", "stripes"),
}
VALUES = [value for values in ATTRIBUTES.values() for value in values]
NOISE, WORDS = 8, 32  # dimensions of what makes images of one kind differ; of words that are no values
DIM = len(VALUES) + NOISE + WORDS


class ToyEncoder:
    """Puts each value on an axis of its own; a picture also has a little of its own, by its number."""

    def __init__(
        self, attributes: Mapping[str, Sequence[str]] = ATTRIBUTES, fingerprint: str = "toy-1", noise: float = 0.3
    ) -> None:
        self.name, self.fingerprint, self.dim, self.attributes = "toy", fingerprint, DIM, attributes
        self.noise, self.batches = noise, list[int]()

    def embed_images(self, images: Sequence[Pixels]) -> Vectors:
        self.batches.append(len(images))
        rows = []
        for pixels in images:
            row = np.zeros(DIM, np.float32)
            row[pixels[0, 0]] = 1
            own = np.random.default_rng(pixels[0, 1]).normal(size=NOISE)
            row[len(VALUES) : len(VALUES) + NOISE] = self.noise * own / np.linalg.norm(own)
            rows.append(row)
        return _unit(np.array(rows, np.float32))

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        rows = np.zeros((len(texts), DIM), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.casefold().replace("polka dots", "polka_dots").split():
                value = word.replace("_", " ")
                row[VALUES.index(value) if value in VALUES else _axis(word)] = 1
        return _unit(rows)


def pixels_of(values: Sequence[str], number: int = 0) -> Pixels:
    """Return the picture of a thing: its values and its number, as the first two pixels."""
    picked = [VALUES.index(value) for value in values]
    return np.array([[picked, [number % 256, number // 256 % 256, 7]]], np.uint8)


def write(path: Path, values: Sequence[str], number: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"toy|{'|'.join(values)}|{number}", encoding="utf-8")
    return path


def load(path: Path) -> Picture:
    data = path.read_bytes()
    kind, *values = data.decode("utf-8", "replace").split("|")
    if kind != "toy" or len(values) != len(ATTRIBUTES) + 1:
        raise UnsupportedPart(f"{path.name}: not a picture; give a picture")
    *values, number = values
    pixels = pixels_of(values, int(number))
    return Picture(
        pixels=pixels, source=str(path), sha256=hashlib.sha256(data).hexdigest(), format="TOY", size=(64, 48)
    )


def picture(values: Sequence[str], number: int = 0) -> Picture:
    """Return a picture that is in no folder."""
    return Picture(
        pixels=pixels_of(values, number), source="memory", sha256=f"{values}{number}", format="TOY", size=(1, 1)
    )


def shop(folder: Path, of_each: int = 2) -> list[Path]:
    """Write every combination of values, in names that sort as they are made."""
    made = []
    for values in itertools.product(*ATTRIBUTES.values()):
        for _ in range(of_each):
            n = len(made)
            made.append(write(folder / f"{n:04d} {' '.join(values)}.png", values, n))
    return made


def index(home: Path, files: Sequence[Path], encoder: ToyEncoder | None = None, **more: object) -> Changes:
    encoder = encoder or ToyEncoder()
    with Writer(home, encoder) as writer:
        return update(writer, encoder, files, load, **more)  # type: ignore[arg-type]


def killed_at(point: str, times: int) -> None:
    """Arrange that this process dies, as by kill -9, when it comes to a place in indexing for the nth time."""
    home, name = {"vectors": (matrix, "append"), "row": (Writer, "add"), "hash": (updating, "_contents")}[point]
    original, seen = getattr(home, name), itertools.count(1)

    def dying(*arguments: object, **named: object) -> object:
        found = original(*arguments, **named)
        if next(seen) == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(home, name, dying)


def _axis(word: str) -> int:
    return len(VALUES) + NOISE + int(hashlib.sha256(word.encode()).hexdigest(), 16) % WORDS


def _unit(rows: Vectors) -> Vectors:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths == 0, 1, lengths), np.float32)


if __name__ == "__main__":  # python search_toys.py HOME FOLDER POINT TIMES: index, and die there
    if sys.argv[3] != "never":
        killed_at(sys.argv[3], int(sys.argv[4]))
    index(Path(sys.argv[1]), sorted(Path(sys.argv[2]).glob("*.png")), batch=8)
