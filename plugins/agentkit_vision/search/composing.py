"""One vector out of a photo and words.

Words that name values of attributes which the encoder tells change the photo by the *attribute direction*: the photo's
own value, read zero-shot, is subtracted and the asked one added, so that all else stays as it is. Other words are
added as a whole, weighted. What a query refuses is subtracted where the photo has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import UsageError
from agentkit_vision.contracts import Encoder
from agentkit_vision.search.attributes import AttributeReader
from agentkit_vision.search.ranking import unit
from agentkit_vision.search.wording import Reading, content

__all__ = ["Composed", "Weights", "compose"]

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How much of what goes into a query.

    Attributes:
        image: of the photo, beside words that are no attribute's values.
        text: of such words.
        direction: how far a photo is moved from its own value of an attribute to the asked one.
        refusal: how much is subtracted of what is refused, where the encoder tells no attributes.
    """

    image: float = 1.0
    text: float = 1.0
    direction: float = 1.0
    refusal: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Composed:
    """A query of length 1, as the sum of what comes from the photo and what comes from words.

    Attributes:
        own: attribute -> the photo's own value, for those that the words ask for or refuse.
        how: what was done, in a word or two.
    """

    image: Floats
    text: Floats
    own: Mapping[str, str] = field(default_factory=dict)
    how: str = ""

    @property
    def whole(self) -> Floats:
        """(dim,) of length 1."""
        return self.image + self.text


def compose(
    encoder: Encoder, reader: AttributeReader, reading: Reading, image: Floats | None, weights: Weights
) -> Composed:
    """Return the query that a photo and words make.

    Args:
        encoder: embeds the words.
        reader: its attributes.
        reading: what the words say.
        image: (dim,) of length 1 of the photo, or None.
        weights: how much of each.

    Raises:
        UsageError: nothing is asked for, or the parts cancel each other out.
    """
    none = np.zeros(encoder.dim, np.float32)
    if image is None:
        if not reading.wanted and not reading.refused and not reading.unwanted:
            raise UsageError("nothing to look for; give a text, a photo, or both")
        return _scaled(none, _of_words(encoder, reader, reading, weights), {}, "text")
    own = {name: value for name, value in reader.read_one(image).items() if name in {*reading.asked, *reading.refused}}
    if own:
        change = _direction(reader, reading, own) * weights.direction
        return _scaled(image, change - _unwanted(encoder, reading, weights), own, "photo + attributes")
    words = _embedded(encoder, reading.wanted) if content(reading.wanted) else none
    text = weights.text * words - _unwanted(encoder, reading, weights)
    if not text.any():
        return _scaled(image, none, {}, "photo")
    return _scaled(weights.image * image, text, {}, "photo + text")


def _direction(reader: AttributeReader, reading: Reading, own: Mapping[str, str]) -> Floats:
    """Return the sum of (asked - own) over attributes; what the photo has as asked is left as it is."""
    change = np.zeros_like(reader.vector(*next(iter(own.items()))))
    for name, value in own.items():
        asked = reading.asked.get(name, ())
        if value in asked or (not asked and value not in reading.refused[name]):
            continue
        change = change - reader.vector(name, value)
        if asked:
            change = change + reader.mean(name, asked)
    return change


def _of_words(encoder: Encoder, reader: AttributeReader, reading: Reading, weights: Weights) -> Floats:
    """Return what words alone ask for; of what is refused alone, the opposite."""
    refused = np.zeros(encoder.dim, np.float32)
    for name, values in reading.refused.items():
        refused = refused + reader.mean(name, values)
    unwanted = _unwanted(encoder, reading, weights)
    if not content(reading.wanted) and (reading.refused or reading.unwanted):
        return -refused - unwanted
    return _embedded(encoder, reading.wanted) - unwanted  # images that have what is refused are left out by reading


def _unwanted(encoder: Encoder, reading: Reading, weights: Weights) -> Floats:
    found = np.zeros(encoder.dim, np.float32)
    if reading.unwanted:
        found = weights.refusal * encoder.embed_texts(list(reading.unwanted)).sum(axis=0)
    return np.asarray(found, np.float32)


def _embedded(encoder: Encoder, text: str) -> Floats:
    return np.asarray(encoder.embed_texts([text])[0], np.float32)


def _scaled(image: Floats, text: Floats, own: Mapping[str, str], how: str) -> Composed:
    whole = image + text
    if unit(whole) is None:
        raise UsageError("the photo and the words cancel each other out; use other words, or other weights")
    length = np.float32(np.linalg.norm(whole))
    return Composed(image=image / length, text=text / length, own=own, how=how)
