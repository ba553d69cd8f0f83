"""Vectors of texts, from a second context over the same weights: the mean of the last states, of length 1."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np

from agentkit.engine.llama.context import Context, ContextOptions, Part
from agentkit.engine.llama.model import Model
from agentkit.errors import ContextFull

__all__ = ["Embedder"]

TOKENS = 2048  # of one text, and of one batch
SIDE_BY_SIDE = 32


class Embedder:
    """Made when first asked; thread-safe: callers take turns."""

    def __init__(self, model: Model, threads: int) -> None:
        """Note what to make it of."""
        self._model, self._threads = model, threads
        self._context: Context | None = None
        self._lock = threading.Lock()

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector of length 1 for each text; an empty text has a zero vector.

        Raises:
            ContextFull: a text is longer than can be read at once.
        """
        tokens = [self._model.tokenise(text) for text in texts]
        for number, one in enumerate(tokens):
            if len(one) > TOKENS:
                raise ContextFull(f"text {number} has {len(one)} tokens, and at most {TOKENS} are embedded; cut it up")
        vectors = [[0.0] * self._model.n_embd for _ in texts]
        with self._lock:
            for group in _grouped(tokens):
                for number, vector in zip(group, self._read([tokens[n] for n in group]), strict=True):
                    vectors[number] = vector
        return vectors

    def close(self) -> None:
        """Free the context; idempotent."""
        with self._lock:
            if self._context is not None:
                self._context.close()
                self._context = None

    def _read(self, group: Sequence[Sequence[int]]) -> Iterator[list[float]]:
        if self._context is None:
            options = ContextOptions(
                tokens=TOKENS, threads=self._threads, batch=TOKENS, live=SIDE_BY_SIDE, embeddings=True
            )
            self._context = Context(self._model, options)
        context = self._context
        context.decode([Part(n, tokens) for n, tokens in enumerate(group)])
        for n in range(len(group)):
            vector = context.embedding(n).astype(np.float64)
            context.keep_first(n, 0)
            yield list(vector / (np.linalg.norm(vector) or 1.0))


def _grouped(tokens: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the numbers of texts that fit into one batch together."""
    group: list[int] = []
    size = 0
    for number, one in enumerate(tokens):
        if not one:
            continue
        if group and (len(group) == SIDE_BY_SIDE or size + len(one) > TOKENS):
            yield group
            group, size = [], 0
        group.append(number)
        size += len(one)
    if group:
        yield group
