"""The embedded model at work: vectors of pictures and texts, and rows that sprout reads in the place of a picture."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from agentkit.errors import UnsupportedPart
from agentkit_vision.contracts import Picture, Pixels, Said, Vectors
from agentkit_vision.embedded.folder import QUESTIONS, SHIPPED, WORDS, About, read_about
from agentkit_vision.llama import LlamaSpeaker
from agentkit_vision.nn.reading import Reader, read_latents
from agentkit_vision.nn.resampler import PerceiverResampler
from agentkit_vision.nn.saving import weights_hash
from agentkit_vision.nn.towers import ImageTower, TextTower
from agentkit_vision.nn.words import Words, split
from agentkit_vision.pictures import load, resized
from agentkit_vision.world.words import ABSENT, MIXED, NOUN, SPREAD, number_word, plain_value, roles

__all__ = ["EmbeddedEncoder", "EmbeddedEye", "EmbeddedSpeaker"]

BATCH = 256  # pictures at once
SPROUT = "sprout"
KIND = "kind"  # what a thing is, where several attributes say that


@dataclass(frozen=True)
class Networks:
    """Everything of a folder, loaded."""

    about: About
    images: ImageTower
    texts: TextTower
    words: Words

    @classmethod
    def load(cls, folder: Path) -> Networks:
        """Load the towers.

        Raises:
            ModelNotFound, ModelFileError: a file is missing or damaged.
        """
        return cls(read_about(folder), ImageTower.load(folder), TextTower.load(folder), Words.load(folder / WORDS))


class EmbeddedEncoder:
    """Vectors of the embedded towers."""

    def __init__(self, folder: Path = SHIPPED) -> None:
        """Load the towers of a folder.

        Raises:
            ModelNotFound, ModelFileError: a file is missing or damaged.
        """
        self._nets = Networks.load(folder)
        self._lock = threading.Lock()
        self.name = self._nets.about.name
        self.fingerprint = _fingerprint(self._nets.about, [self._nets.words], [self._nets.images, self._nets.texts])
        self.dim = self._nets.images.config.dim
        self.attributes: Mapping[str, Sequence[str]] = spoken_attributes(self._nets.about.vocabulary)

    def unknown(self, text: str) -> list[str]:
        """Return the words of a text that the model was never taught."""
        return self._nets.words.unknown(text)

    def embed_images(self, images: Sequence[Pixels]) -> Vectors:
        """Return a vector of length 1 for each image."""
        size, found = self._nets.about.size, []
        for start in range(0, len(images), BATCH):
            pixels = np.stack([resized(one, size) for one in images[start : start + BATCH]])
            with self._lock, torch.inference_mode():
                found.append(self._nets.images(torch.from_numpy(pixels))[1].numpy())
        return np.concatenate(found) if found else np.empty((0, self.dim), np.float32)

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Return a vector of length 1 for each text; words that are not known count for nothing, and a text of none has zeros."""
        if not texts:
            return np.empty((0, self.dim), np.float32)
        known = [self._known(text) for text in texts]
        ids = torch.from_numpy(self._nets.words.batch(known, length=self._nets.texts.config.length))
        with self._lock, torch.inference_mode():
            found: Vectors = self._nets.texts(ids)[1].numpy()
        return found

    def _known(self, text: str) -> str:
        strangers = set(self._nets.words.unknown(text))
        kept = [word for word in split(text) if word not in strangers]
        return " ".join(kept[: self._nets.texts.config.length])


class EmbeddedEye:
    """What sprout sees with: the rows depend on the words that are said beside a picture."""

    def __init__(self, folder: Path = SHIPPED) -> None:
        """Load the image tower, the resampler, and what reads questions.

        Raises:
            ModelNotFound, ModelFileError: a file is missing or damaged.
        """
        self.about = read_about(folder)
        self._images, self._resampler = ImageTower.load(folder), PerceiverResampler.load(folder)
        self.reads_words = self.about.reads_words
        self._reader: Reader | None = None
        self._lock = threading.Lock()
        networks: list[nn.Module] = [self._images, self._resampler]
        known: list[Words] = []
        if self.reads_words:
            questions, texts = TextTower.load(folder / QUESTIONS), TextTower.load(folder)
            words, text_words = Words.load(folder / QUESTIONS / WORDS), Words.load(folder / WORDS)
            self._reader = Reader(questions, words, texts=texts, text_words=text_words)
            networks += [questions, texts]
            known += [words, text_words]
        self.fingerprint = _fingerprint(self.about, known, networks)

    def see(self, image: bytes, words: str) -> NDArray[np.float32]:
        """Return the rows of a picture, (latents, width of sprout's embeddings).

        Raises:
            InvalidParams, UnsupportedPart: it is no picture that can be shown.
        """
        return self.see_pixels(load(image).pixels, words)

    def see_pixels(self, pixels: Pixels, words: str) -> NDArray[np.float32]:
        """Return the rows of decoded pixels (height, width, 3)."""
        shown = torch.from_numpy(resized(pixels, self.about.size)[None])
        with self._lock, torch.inference_mode():
            tokens, vectors = self._images(shown)
            rows: NDArray[np.float32] = read_latents(self._resampler, self._reader, tokens, vectors, [words])[0].numpy()
        return rows


class EmbeddedSpeaker:
    """sprout, with the embedded eye."""

    def __init__(self, folder: Path = SHIPPED) -> None:
        """Load both.

        Raises:
            ModelNotFound, ModelFileError: a file is missing or damaged.
        """
        eye = EmbeddedEye(folder)
        self._speaker = LlamaSpeaker(SPROUT, eye=eye)
        self.name, self.fingerprint = (
            f"{SPROUT} with {eye.about.name}",
            f"{self._speaker.fingerprint}-{eye.fingerprint}",
        )

    def caption(self, picture: Picture) -> Said:
        """Return one sentence about a picture, without its full stop."""
        return self._speaker.caption(picture)

    def ask(self, pictures: Sequence[Picture], question: str) -> Said:
        """Return the answer to a question about one picture.

        Raises:
            UnsupportedPart: there are several; it was trained on one.
        """
        if len(pictures) != 1:
            raise UnsupportedPart(
                f"{self.name} looks at one picture at a time, not at {len(pictures)}; ask about each by itself"
            )
        return self._speaker.ask(pictures, question)

    def close(self) -> None:
        """Free the language model; idempotent."""
        self._speaker.close()


def _fingerprint(about: About, known: Sequence[Words], networks: Sequence[nn.Module]) -> str:
    """Return a hash of weights and of what comes before them: the size of pictures, and which word has which id."""
    told = "\n".join((weights_hash(*networks), str(about.size), *(word for words in known for word in words.words)))
    return hashlib.sha256(told.encode()).hexdigest()


def spoken_attributes(vocabulary: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Return attributes with the values that can be said; those that name what a thing is become one, `kind`."""
    unsaid = ABSENT | {MIXED, SPREAD}
    found: dict[str, tuple[str, ...]] = {}
    nouns = [name for name, role in roles(tuple(vocabulary)).items() if role == NOUN]
    for name, values in vocabulary.items():
        told = tuple(number_word(plain_value(value)) for value in values if plain_value(value) not in unsaid)
        place = KIND if name in nouns and len(nouns) > 1 else name
        found[place] = tuple(dict.fromkeys((*found.get(place, ()), *told)))
    return found
