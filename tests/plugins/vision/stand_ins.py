"""Models that stand in where one would have to be trained: they really look at the pixels, and know two attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from agentkit.errors import UsageError
from agentkit_vision.contracts import Picture, Pixels, Said, Vectors

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (220, 20, 20),
    "blue": (20, 20, 220),
    "green": (20, 200, 20),
}
KINDS = ("shoe", "bag")  # as wide as high; wider
VALUES = [*COLOURS, *KINDS]


def colour_of(pixels: Pixels) -> str:
    mean = pixels.reshape(-1, 3).mean(axis=0)
    return min(COLOURS, key=lambda name: float(np.abs(mean - COLOURS[name]).sum()))


def kind_of(pixels: Pixels) -> str:
    return "shoe" if pixels.shape[0] == pixels.shape[1] else "bag"


class StandInEncoder:
    """One axis for each value, and a little of how bright a picture is."""

    name, fingerprint, dim = "stand-in", "stand-in-1", len(VALUES) + 1
    attributes: Mapping[str, Sequence[str]] = {"colour": tuple(COLOURS), "category": KINDS}

    def embed_images(self, images: Sequence[Pixels]) -> Vectors:
        rows = np.zeros((len(images), self.dim), np.float32)
        for row, pixels in zip(rows, images, strict=True):
            row[VALUES.index(colour_of(pixels))] = row[VALUES.index(kind_of(pixels))] = 1
            row[-1] = float(pixels.mean()) / 1000
        return _unit(rows)

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        rows = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in (word.strip(",.").removesuffix("s") for word in text.split()):
                row[VALUES.index(word) if word in VALUES else -1] = 1
        return _unit(rows)


class StandInSpeaker:
    """Says the colour to a question about it, and the kind to others."""

    name, fingerprint = "stand-in", "stand-in-1"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def caption(self, picture: Picture) -> Said:
        text = f"a {colour_of(picture.pixels)} {kind_of(picture.pixels)}"
        return Said(text=text, confidence=0.9, model=self.name)

    def ask(self, pictures: Sequence[Picture], question: str) -> Said:
        if len(pictures) != 1:
            raise UsageError("one picture at a time")
        self.asked.append(question)
        look = colour_of if "colour" in question else kind_of
        return Said(text=look(pictures[0].pixels), confidence=0.8, model=self.name)


def draw(path: Path, colour: str, kind: str = "shoe", shade: int = 0) -> Path:
    """Write a picture of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rgb = tuple(max(0, part - shade) for part in COLOURS[colour])
    Image.new("RGB", (32, 32) if kind == "shoe" else (48, 24), rgb).save(path)
    return path


def _unit(rows: Vectors) -> Vectors:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), np.float32)
