"""Vectors of texts, from a second context over the same weights: the mean of the last states, of length 1."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from agentkit.engine.llama.context import Aborted, Context, ContextOptions, Part
from agentkit.engine.llama.jobs import Job
from agentkit.engine.llama.model import Model
from agentkit.errors import ContextFull, EngineError
from agentkit.protocols import CancelFlag

__all__ = ["Embedder"]

TOKENS = 2048  # of one text, and of one batch
SIDE_BY_SIDE = 32


class Embedder:
    """Made when first asked; thread-safe: callers take turns."""

    def __init__(self, model: Model, threads: int) -> None:
        """Note what to make it of."""
        self._model, self._threads = model, threads
        self._context: Context | None = None
        self._lock, self._is_stopped = threading.Lock(), False

    def embed(
        self, texts: Sequence[str], *, deadline: float | None = None, cancel: CancelFlag | None = None
    ) -> list[list[float]]:
        """Return a vector of length 1 for each text; an empty text has a zero vector.

        Raises:
            ContextFull: a text is longer than can be read at once.
            Cancelled, DeadlineExceeded: also while another caller has its turn, and inside a batch.
            EngineError: the engine has been closed.
        """
        job = Job(deadline, cancel)
        tokens = [self._model.tokenise(text) for text in texts]
        for number, one in enumerate(tokens):
            if len(one) > TOKENS:
                raise ContextFull(f"text {number} has {len(one)} tokens, and at most {TOKENS} are embedded; cut it up")
        vectors = [[0.0] * self._model.n_embd for _ in texts]
        with self._turn(job):
            for group in _grouped(tokens):
                for number, vector in zip(group, self._read([tokens[n] for n in group], job), strict=True):
                    vectors[number] = vector
        return vectors

    def stop(self) -> None:
        """End what runs and refuse what comes; for any thread, idempotent."""
        self._is_stopped = True
        if (context := self._context) is not None:
            context.abort(True)

    def close(self) -> None:
        """Stop, and free the context; idempotent."""
        self.stop()
        with self._lock:
            if self._context is not None:
                self._context.close()
                self._context = None

    @contextmanager
    def _turn(self, job: Job) -> Iterator[None]:
        job.check()
        while not self._lock.acquire(timeout=-1 if (wait := job.wait_s()) is None else wait):
            job.check()
        try:
            yield
        finally:
            self._lock.release()

    def _read(self, group: Sequence[Sequence[int]], job: Job) -> list[list[float]]:
        if self._context is None:
            options = ContextOptions(
                tokens=TOKENS, threads=self._threads, batch=TOKENS, live=SIDE_BY_SIDE, embeddings=True
            )
            self._context = Context(self._model, options)
        context = self._context
        self._check(job)
        try:
            with _watched(context, job):
                context.decode([Part(n, tokens) for n, tokens in enumerate(group)])
            found = [context.embedding(n).astype(np.float64) for n in range(len(group))]
        except Aborted:
            self._check(job)
            raise EngineError("the embedding was broken off; ask again") from None  # nobody else sets the flag
        finally:
            for n in range(len(group)):
                context.keep_first(n, 0)
        return [list(vector / (np.linalg.norm(vector) or 1.0)) for vector in found]

    def _check(self, job: Job) -> None:
        if self._is_stopped:
            raise EngineError("the engine is closed; open it again")
        job.check()


@contextmanager
def _watched(context: Context, job: Job) -> Iterator[None]:
    """End the batch inside when the job must stop: on a large model it takes many seconds."""
    if job.wait_s() is None:
        yield
        return
    over = threading.Event()

    def look() -> None:
        while not over.wait(job.wait_s()):
            if job.stop_error():
                context.abort(True)
                return

    watch = threading.Thread(target=look, name="agentkit-embed-watch", daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()
        context.abort(False)


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
