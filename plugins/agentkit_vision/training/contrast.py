"""First stage: an image tower and a text tower learn to agree (CLIP, Radford et al. 2021, arXiv 2103.00020).

Most texts say a part of what a picture shows, as people's queries do: `red shoes`. Such a text is true of other pictures of the batch as
well. A text has picked rightly if it picked any picture it is true of; and of the texts that are true of a picture only its own
counts, the others are left out of its sum.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agentkit_vision.contracts import Vectors
from agentkit_vision.nn.contrastive import ClipLoss
from agentkit_vision.nn.reading import first_words
from agentkit_vision.nn.towers import ImageTower, TextTower
from agentkit_vision.nn.words import Words
from agentkit_vision.training.data import Labelled
from agentkit_vision.training.stepping import chance
from agentkit_vision.training.views import views
from agentkit_vision.world.queries import query
from agentkit_vision.world.wording import asked_about, caption
from agentkit_vision.world.words import NOUN, number_word, plain_value, roles

__all__ = ["Contrast", "PartialClipLoss", "corpus", "embedded", "zero_shot"]

COLOUR = "colour"  # the role of attributes that pictures without colour do not show
GREY = 0.1  # share of the pictures that lose their colour, and their texts the word for it
BARE = (0.9, 0.2)  # share of the texts that are values alone, at the first step and at the last
ASKED = 0.5  # share of the others that are queries
ALONE = 0.5  # share of the texts that name one attribute; else what is hard to see hides behind what is easy
STAGE = "towers"


class PartialClipLoss(ClipLoss):
    """CLIP's loss for texts that are true of several pictures."""

    def forward(self, images: Tensor, texts: Tensor, true: Tensor | None = None) -> Tensor:
        """Return the loss in nats; with no `true`, or the identity, it is CLIP's.

        Args:
            images: (batch, dim).
            texts: (batch, dim), the i-th is of the i-th picture.
            true: (batch, batch) bool, [i, j]: whether text j is true of picture i; its diagonal is.
        """
        logits = self._logits(images, texts)
        own = torch.eye(len(logits), dtype=torch.bool)
        true = own if true is None else true
        picking = torch.logsumexp(logits, 0) - torch.logsumexp(logits.masked_fill(~true, -torch.inf), 0)
        of_pictures = torch.logsumexp(logits.masked_fill(true & ~own, -torch.inf), 1) - logits.diagonal()
        return (picking.mean() + of_pictures.mean()) / 2


class Contrast(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Both towers and their loss over a data set."""

    def __init__(
        self,
        images: ImageTower,
        texts: TextTower,
        words: Words,
        data: Labelled,
        *,
        batch: int,
        steps: int,
        seed: int,
        half: bool,
    ) -> None:
        super().__init__()
        self.images, self.texts, self.similarity = images, texts, PartialClipLoss()
        self._words, self._data, self._table = words, data, data.table
        self._batch, self._steps, self._seed, self._half = min(batch, len(data)), steps, seed, half
        self._roles = roles(tuple(data.vocabulary))
        self._colour = [name for name, role in self._roles.items() if role == COLOUR]
        self._fades = data.beside(self._colour)

    def loss(self, step: int) -> Tensor:
        """Return the loss of one batch."""
        rng = chance(self._seed, STAGE, step)
        rows = rng.choice(len(self._data), self._batch, replace=False)
        grey = (rng.random(self._batch) < (GREY if self._colour else 0.0)) & self._fades[rows]
        told = [self._text(int(row), bool(lost), step, n) for n, (row, lost) in enumerate(zip(rows, grey, strict=True))]
        seen = views(self._data.pixels[rows], rng, grey=grey)
        length = self.texts.config.length
        ids = torch.from_numpy(self._words.batch([first_words(text, length) for text, _ in told], length=length))
        with torch.autocast("cpu", torch.bfloat16, enabled=self._half):
            _, image_vectors = self.images(seen)
            _, text_vectors = self.texts(ids)
        return self.similarity(
            image_vectors.float(), text_vectors.float(), self._true(rows, [said for _, said in told])
        )

    def _text(self, row: int, grey: bool, step: int, place: int) -> tuple[str, dict[str, str]]:
        """Return a text that is true of a picture, and the labels that it names."""
        rng = Random(f"{self._seed}/{STAGE}/{step}/{place}")
        labels = self._data.examples[row].labels
        lost = set(self._colour) if grey else set()
        visible = {name: labels[name] for name in labels if name not in lost}
        known = asked_about(visible)
        first, last = BARE
        is_bare = rng.random() < first + (last - first) * min(1.0, step / self._steps)
        if not is_bare and rng.random() < ASKED:
            asked = query(visible, seed=self._seed, index=rng.getrandbits(40))
            return asked.text, dict(asked.wanted)
        kept = self._kept(known, rng)
        told = {name: labels[name] for name in kept}
        if is_bare:
            values = [number_word(plain_value(value)) for value in told.values()]
            rng.shuffle(values)
            return " ".join(values), told
        return caption(told, seed=self._seed, index=rng.getrandbits(40)), told

    def _kept(self, known: Sequence[str], rng: Random) -> list[str]:
        """Return the attributes that a text names: one, the more often the more values it has, or a share of all."""
        if rng.random() < ALONE:
            sizes = [sum(len(self._data.vocabulary[name]) for name in self._alike(one)) for one in known]
            return rng.choices(known, [math.log(max(2, size)) for size in sizes])
        share = rng.uniform(0.1, 1.0)
        return [name for name in known if rng.random() < share] or [rng.choice(known)]

    def _alike(self, name: str) -> list[str]:
        """Return the attributes that say what a thing is, if this one does; else itself."""
        return [one for one, role in self._roles.items() if role == self._roles[name] and role == NOUN] or [name]

    def _true(self, rows: NDArray[np.int64], told: Sequence[Mapping[str, str]]) -> Tensor:
        names = list(self._data.vocabulary)
        wanted = np.full((len(rows), len(names)), -1, np.int64)
        for n, said in enumerate(told):
            for name, value in said.items():
                place = names.index(name)
                wanted[n, place] = list(self._data.vocabulary[name]).index(value)
        table = self._table[rows]
        true = ((wanted[None] < 0) | (wanted[None] == table[:, None])).all(-1)
        np.fill_diagonal(true, True)
        return torch.from_numpy(true)


def corpus(data: Labelled, *, seed: int, count: int = 20_000) -> list[str]:
    """Return texts that hold the words towers will meet: captions, queries, and all values."""
    texts = [plain_value(value) for found in data.vocabulary.values() for value in found]
    for n in range(count):
        labels = data.examples[n % len(data)].labels
        texts += [caption(labels, seed=seed, index=n), query(labels, seed=seed, index=n).text]
    return texts


def embedded(tower: ImageTower, pixels: NDArray[np.uint8], *, batch: int = 256) -> tuple[Tensor, Vectors]:
    """Return the tokens of pictures (N, tokens, width), and their vectors (N, dim)."""
    tokens, vectors = [], []
    with torch.inference_mode():
        for start in range(0, len(pixels), batch):
            one, other = tower(torch.from_numpy(np.ascontiguousarray(pixels[start : start + batch])))
            tokens.append(one)
            vectors.append(other.numpy())
    return torch.cat(tokens), np.concatenate(vectors)


def zero_shot(images: ImageTower, texts: TextTower, words: Words, data: Labelled) -> dict[str, float]:
    """Return for each attribute the share of pictures whose value's word is the nearest of its values' words."""
    _, vectors = embedded(images, data.pixels)
    found = {}
    for name, values in data.vocabulary.items():
        able = [n for n, one in enumerate(data.examples) if name in asked_about(one.labels)]
        said = [value for value in values if any(data.examples[n].labels[name] == value for n in able)]
        if len(said) < 2:
            continue
        ids = torch.from_numpy(
            words.batch([number_word(plain_value(value)) for value in said], length=texts.config.length)
        )
        with torch.inference_mode():
            _, named = texts(ids)
        nearest = (vectors[able] @ named.numpy().T).argmax(1)
        found[name] = float(
            np.mean([said[place] == data.examples[n].labels[name] for n, place in zip(able, nearest, strict=True)])
        )
    return found
