"""`LlamaEngine`: a GGUF as an `Engine`. Thread-safe: callers queue for the one thread that owns the model.

Guarantees: steps are decoded under their grammar (`enforced`); a model is loaded once a process for the same
file and parameters, however many engines are opened on it, and freed with the last of them.
Does not embed yet, and takes no images; both are refused.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from agentkit.engine.dialects import detect
from agentkit.engine.grammar import Grammars
from agentkit.engine.llama.context import Context, ContextOptions
from agentkit.engine.llama.generate import Work, branch, generate, score
from agentkit.engine.llama.library import physical_cores
from agentkit.engine.llama.model import Model
from agentkit.engine.llama.owner import Job, Owner
from agentkit.errors import CannotEnforce, ContextFull, EngineError
from agentkit.protocols import Capabilities, Delta, Reply, Request, Score
from agentkit.types import Step

__all__ = ["LlamaEngine"]

DEFAULT_CONTEXT = 8192
SMALL_BYTES = 64 << 20  # on a busy machine two threads made an 8M-parameter model ten times slower than one


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    """What makes two engines share one loaded model."""

    real: Path  # links followed: two names of one file share it
    path: Path = field(compare=False)  # as named: the parts of a split model are found by their names
    changed_ns: int  # a file written anew is another model
    context: int | None
    threads: int | None
    gpu_layers: str
    dialect: str | None
    process: int


class LlamaEngine:
    """An engine over llama.cpp, in this process."""

    def __init__(
        self,
        path: Path | str,
        *,
        context: int | None = None,
        threads: int | None = None,
        gpu_layers: str = "auto",
        dialect: str | None = None,
    ) -> None:
        """Load the model, or join those who have it loaded.

        Args:
            path: a GGUF file.
            context: tokens; None: what the model was trained for, at most 8192.
            threads: None: the physical cores; one for models so small that threads would wait for each other.
            gpu_layers: "auto", "none" or "all".
            dialect: None: read from the file.

        Raises:
            ModelNotFound, ModelFileError, ModelError: it cannot be had, read or loaded.
        """
        key = _Key(
            real=(resolved := Path(path).resolve()),
            path=Path(path).absolute(),
            changed_ns=resolved.stat().st_mtime_ns if resolved.exists() else 0,
            context=context,
            threads=threads,
            gpu_layers=gpu_layers,
            dialect=dialect,
            process=os.getpid(),
        )
        self._shared: _Shared | None = _join(key)

    def __enter__(self) -> LlamaEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do."""
        return self._loaded().capabilities

    def stream(self, request: Request) -> Iterator[Delta]:
        """Yield deltas as they come, then exactly one `Reply`. To stop early, close the iterator."""
        yield from self._ask(request, generate)

    def branch(self, request: Request, n: int) -> list[Reply]:
        """Return up to `n` distinct steps, most probable first; other kinds and tools before other words."""
        (replies,) = self._ask(request, lambda work: branch(work, n), silent=True)
        return cast("list[Reply]", replies)

    def score(self, request: Request, candidates: Sequence[Step]) -> list[Score]:
        """Return each candidate step's log-probability after the request's messages."""
        (scores,) = self._ask(request, lambda work: score(work, candidates), silent=True)
        return cast("list[Score]", scores)

    def count(self, request: Request) -> int:
        """Return the exact number of prompt tokens, tools and template included."""
        shared = self._loaded()
        with shared.in_use():
            return len(shared.dialect.prompt(request))

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Refuse.

        Raises:
            CannotEnforce: always; this engine generates.
        """
        raise CannotEnforce(f"{self.capabilities.model} is not loaded for embeddings; use an engine that embeds")

    def close(self) -> None:
        """Leave the model; the last one frees it. Idempotent."""
        if self._shared is not None:
            _leave(self._shared)
            self._shared = None

    def _ask(self, request: Request, answer: Callable[[Work], Any], *, silent: bool = False) -> Iterator[Any]:
        """Have the owner work on `request`; yield the deltas unless `silent`, then what `answer` returns."""
        job, shared = Job(request.deadline, request.cancel), self._loaded()
        with shared.in_use():
            work = shared.work(request, job, emit=_nowhere if silent else job.out.put)
        yield from shared.owner.results(job, lambda: job.out.put(answer(work)))

    def _loaded(self) -> _Shared:
        if self._shared is None:
            raise EngineError("the engine is closed; open it again")
        return self._shared


class _Shared:
    """A loaded model with its context, its thread, and how many use it."""

    def __init__(self, key: _Key) -> None:
        self.key, self.engines = key, 0
        self.model = Model(key.path, gpu_layers=key.gpu_layers)
        try:
            self.dialect = detect(self.model, key.dialect)
            tokens = key.context or min(self.model.trained_context or DEFAULT_CONTEXT, DEFAULT_CONTEXT)
            threads = key.threads or (1 if self.model.weight_bytes < SMALL_BYTES else physical_cores())
            self.context = Context(self.model, ContextOptions(tokens=tokens, threads=threads))
        except BaseException:
            self.model.close()
            raise
        self._ends = frozenset({*self.model.end_ids, self.dialect.end_id})
        self.owner = Owner(key.path.stem, self.context.abort)
        self._calls, self._idle, self._is_freed = 0, threading.Condition(), False

    @cached_property
    def grammars(self) -> Grammars:
        """Compiled grammars; the tokenizer behind them takes 0.7 s to build at a vocabulary of 128,000."""
        return Grammars(self.model.constrainer, self.model.n_vocab)

    @cached_property
    def capabilities(self) -> Capabilities:
        """What the model can do; hashes its file."""
        return Capabilities(
            model=self.model.name,
            context=self.context.size,
            fingerprint=self.model.fingerprint,
            dialect=self.dialect.name,
            constrained=True,
            branches=True,
            scores=True,
            tool_prior_weight=float(self.model.metadata.get("agentkit.ranker_weight", 0.0)),
        )

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the model loaded while somebody is inside."""
        if os.getpid() != self.key.process:
            raise EngineError("the model was loaded before this process was forked; spawn workers, or open it here")
        with self._idle:
            if self._is_freed:
                raise EngineError("the engine is closed; open it again")
            self._calls += 1
        try:
            yield
        finally:
            with self._idle:
                self._calls -= 1
                self._idle.notify_all()

    def work(self, request: Request, job: Job, emit: Callable[[Delta], None]) -> Work:
        """Return `request` ready for the thread; renders and tokenises on the caller's."""
        if request.adapter is not None:
            raise CannotEnforce(f"adapter '{request.adapter}': this engine loads none; leave it out")
        prompt = self.dialect.prompt(request)
        if len(prompt) >= self.context.size:
            raise ContextFull(
                f"the prompt has {len(prompt)} tokens, the context {self.context.size}; "
                "shorten the conversation, or set engine.context higher"
            )
        return Work(
            request=request,
            prompt=prompt,
            context=self.context,
            dialect=self.dialect,
            grammars=self.grammars,
            ends=self._ends,
            ticket=job,
            emit=emit,
        )

    def free(self) -> None:
        """Stop the thread, wait for callers to be out, free everything. A forked child frees nothing."""
        if os.getpid() != self.key.process:
            return
        self.owner.close()
        with self._idle:
            self._is_freed = True
            self._idle.wait_for(lambda: self._calls == 0)
        self.context.close()
        self.model.close()


def _nowhere(_: Delta) -> None:
    """Drop a delta."""


_loaded: dict[_Key, _Shared] = {}
_lock = threading.Lock()


def _join(key: _Key) -> _Shared:
    with _lock:
        shared = _loaded.get(key)
        if shared is None:
            shared = _loaded[key] = _Shared(key)
        shared.engines += 1
        return shared


def _leave(shared: _Shared) -> None:
    with _lock:
        shared.engines -= 1
        if shared.engines:
            return
        _loaded.pop(shared.key, None)
    shared.free()


@atexit.register
def _leave_all() -> None:
    """Stop the threads before the interpreter goes."""
    for shared in list(_loaded.values()):
        if shared.key.process == os.getpid():
            shared.owner.close()
