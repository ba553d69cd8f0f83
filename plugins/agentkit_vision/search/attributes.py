"""Zero-shot reading of attributes: the value whose words are nearest to a picture, for each attribute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from agentkit_vision.contracts import Encoder, Vectors

__all__ = ["AttributeReader", "Prompt", "value_alone"]

Prompt = Callable[[str, str], str]  # (attribute, value) -> the text that stands for it


def value_alone(attribute: str, value: str) -> str:
    """Return the value's own word, as an encoder of attributes is taught it."""
    return value


class AttributeReader:
    """An encoder's attributes, with a vector for each value; embeds their words once.

    Args:
        encoder: whose attributes.
        prompt: the text that stands for a value.
    """

    def __init__(self, encoder: Encoder, prompt: Prompt = value_alone) -> None:
        self.values: Mapping[str, tuple[str, ...]] = {
            name: tuple(values) for name, values in encoder.attributes.items() if values
        }
        texts = [prompt(name, value) for name, values in self.values.items() for value in values]
        vectors = encoder.embed_texts(texts) if texts else np.zeros((0, encoder.dim), np.float32)
        self._vectors: dict[str, Vectors] = {}
        start = 0
        for name, values in self.values.items():
            self._vectors[name] = vectors[start : start + len(values)]
            start += len(values)

    def vector(self, attribute: str, value: str) -> NDArray[np.float32]:
        """Return (dim,) of a value's words."""
        return np.asarray(self._vectors[attribute][self.values[attribute].index(value)], np.float32)

    def mean(self, attribute: str, values: Sequence[str]) -> NDArray[np.float32]:
        """Return (dim,), the mean of several values' vectors."""
        return np.asarray(np.mean([self.vector(attribute, value) for value in values], axis=0), np.float32)

    def read(self, vectors: NDArray[np.floating], attribute: str) -> list[str]:
        """Return the nearest value for each of (n, dim) pictures."""
        rows = np.asarray(vectors, np.float32)
        fits = [np.einsum("ij,j->i", rows, value) for value in self._vectors[attribute]]  # no threads to wait for
        return [self.values[attribute][n] for n in np.argmax(fits, axis=0)]

    def read_one(self, vector: NDArray[np.floating]) -> dict[str, str]:
        """Return every attribute's nearest value for one picture (dim,)."""
        return {name: self.read(vector[None], name)[0] for name in self.values}
