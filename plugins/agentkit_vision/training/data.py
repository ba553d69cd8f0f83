"""Pictures with their labels in memory: what a training learns from, and what it holds out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import InvalidParams
from agentkit_vision.contracts import Example, Pixels
from agentkit_vision.pictures import load, resized
from agentkit_vision.world.reading import divided, read_examples, vocabulary_of
from agentkit_vision.world.wording import asked_about

__all__ = ["Labelled", "read_labelled", "read_parts"]

FEWEST = 64  # pictures to learn from
READERS = 4  # threads


@dataclass(frozen=True)
class Labelled:
    """Pictures of one size, and what they show.

    Attributes:
        pixels: (N, side, side, 3) uint8.
        examples: their labels, in the same order.
        vocabulary: attribute -> its values.
    """

    pixels: NDArray[np.uint8]
    examples: tuple[Example, ...]
    vocabulary: Mapping[str, Sequence[str]]

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def table(self) -> NDArray[np.int64]:
        """The labels as places in the vocabulary, (N, attributes); -1 where an attribute is not known."""
        places = {name: {value: n for n, value in enumerate(found)} for name, found in self.vocabulary.items()}
        rows = [[places[name].get(one.labels.get(name, ""), -1) for name in self.vocabulary] for one in self.examples]
        return np.array(rows, np.int64).reshape(len(rows), len(self.vocabulary))

    def beside(self, names: Collection[str]) -> NDArray[np.bool_]:
        """Return for each picture whether it shows anything that can be asked about but for these attributes, (N,)."""
        return np.array([bool(set(asked_about(one.labels)).difference(names)) for one in self.examples], bool)


def read_labelled(folder: Path, size: int, vocabulary: Mapping[str, Sequence[str]] | None = None) -> Labelled:
    """Read all pictures of a data set; the vocabulary is its own where none is given.

    Raises:
        InvalidParams, UnsupportedPart: a table, a label or a picture cannot be used; says which.
    """
    examples = read_examples(folder)
    return Labelled(_read(folder, examples, size), tuple(examples), vocabulary or vocabulary_of(examples))


def read_parts(folder: Path, size: int, held_out: float, seed: int) -> tuple[Labelled, Labelled]:
    """Return pictures to learn from and those held out: by their `split` where a table names a test, else by their paths.

    Pictures of which no label says anything are left out.

    Raises:
        InvalidParams: there are too few, or as `read_labelled`.
    """
    whole = read_labelled(folder, size)
    if not (told := whole.beside(())).all():
        whole = _part(whole, np.flatnonzero(told).tolist())
    first = [n for n, one in enumerate(whole.examples) if one.split == "train"]
    others = [n for n, one in enumerate(whole.examples) if one.split != "train"]
    if not others:
        kept, out = divided(whole.examples, held_out, seed=seed)
        places = {id(one): n for n, one in enumerate(whole.examples)}
        first, others = [places[id(one)] for one in kept], [places[id(one)] for one in out]
    if len(first) < FEWEST or not others:
        raise InvalidParams(f"/data: {folder} has {len(first)} pictures to learn from and {len(others)} to measure with; at least {FEWEST} and 1 are needed")  # fmt: skip
    return _part(whole, first), _part(whole, others)


def digest_of(folder: Path) -> str:
    """Return a hash of a data set's table: names and labels."""
    told = [[one.path, dict(one.labels), one.split] for one in read_examples(folder)]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _part(whole: Labelled, places: Sequence[int]) -> Labelled:
    return Labelled(
        whole.pixels[np.array(places, np.int64)], tuple(whole.examples[n] for n in places), whole.vocabulary
    )


def _read(folder: Path, examples: Sequence[Example], size: int) -> NDArray[np.uint8]:
    pixels = np.empty((len(examples), size, size, 3), np.uint8)

    def one(place: int) -> None:
        pixels[place] = _seen(folder / examples[place].path, size)

    with ThreadPoolExecutor(READERS) as pool:
        for _ in pool.map(one, range(len(examples)), chunksize=64):
            pass
    return pixels


def _seen(path: Path, size: int) -> Pixels:
    return resized(load(path).pixels, size)
