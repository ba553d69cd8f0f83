"""A model that is loaded once a process for the same file and parameters, with its context and its thread."""

from __future__ import annotations

import atexit
import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentkit.engine.dialects import detect
from agentkit.engine.grammar import Grammars
from agentkit.engine.llama.adapters import Adapters
from agentkit.engine.llama.context import Context, ContextOptions
from agentkit.engine.llama.drafts import Drafting, Pace
from agentkit.engine.llama.embedding import Embedder
from agentkit.engine.llama.fits import check_eyes_fit, check_fits
from agentkit.engine.llama.library import WRITTEN_FOR, physical_cores, supports_gpu
from agentkit.engine.llama.mmproj import Projector
from agentkit.engine.llama.model import Model
from agentkit.engine.llama.prefixes import Prefixes
from agentkit.engine.llama.rows import Kept
from agentkit.engine.llama.schedule import Scheduler
from agentkit.engine.llama.spill import Spill
from agentkit.errors import ContextFull, EngineError, UsageError
from agentkit.models.mmproj import MmprojInfo
from agentkit.protocols import Capabilities

__all__ = ["Key", "Loaded", "join", "leave"]

DEFAULT_CONTEXT = 8192
SMALL_BYTES = 64 << 20  # on a busy machine two threads made an 8M-parameter model ten times slower than one


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What makes two engines share one loaded model."""

    real: Path  # links followed: two names of one file share it
    path: Path = field(compare=False)  # as named: the parts of a split model are found by their names
    changed_ns: int  # a file written anew is another model
    context: int | None
    threads: int | None
    gpu_layers: str
    dialect: str | None
    live: int
    cache_mb: int
    cache_dir: Path | None
    process: int
    exact: bool = False  # slower, with twice the memory for what is read, and the same in any batch to 1e-4

    @classmethod
    def of(cls, path: Path | str, cache_dir: Path | str | None, **given: Any) -> Key:
        """Return the key of a file for this process; what is `given` are the other fields."""
        resolved = Path(path).resolve()
        return cls(
            real=resolved,
            path=Path(path).absolute(),
            changed_ns=resolved.stat().st_mtime_ns if resolved.exists() else 0,
            cache_dir=None if cache_dir is None else Path(cache_dir).absolute(),
            process=os.getpid(),
            **given,
        )


class Loaded:
    """A loaded model, and how many use it."""

    def __init__(self, key: Key) -> None:
        """Load it."""
        self.key, self.engines = key, 0
        check_fits(key.path, key.context, live=key.live, gpu_layers=key.gpu_layers, exact=key.exact)
        self.model = Model(key.path, gpu_layers=key.gpu_layers)
        try:
            self.dialect = detect(self.model, key.dialect)
            tokens = key.context or min(self.model.trained_context or DEFAULT_CONTEXT, DEFAULT_CONTEXT)
            self.threads = key.threads or (1 if self.model.weight_bytes < SMALL_BYTES else physical_cores())
            options = ContextOptions(tokens=tokens, threads=self.threads, live=key.live, exact=key.exact)
            self.context = Context(self.model, options)
        except BaseException:
            self.model.close()
            raise
        self.ends = frozenset({*self.model.end_ids, self.dialect.end_id})
        self.adapters = Adapters(self.model)
        self.prefixes = Prefixes(self.context, self._spill())
        self.drafting = Drafting(Pace(on_gpu=supports_gpu() and key.gpu_layers != "none"))
        self.scheduler = Scheduler(
            key.path.stem, self.context, self.prefixes, self.adapters.handles, self.drafting.pace
        )
        self.embedder = Embedder(self.model, self.threads)
        self.pictures = Kept(begin=self.model.n_vocab, width=self.model.n_embd_input)
        self._projectors: dict[Path, Projector] = {}
        self._projecting = threading.Lock()
        self._calls, self._idle, self._is_freed = 0, threading.Condition(), False

    @cached_property
    def grammars(self) -> Grammars:
        """Compiled grammars; the tokenizer behind them takes 0.7 s to build at a vocabulary of 128,000."""
        return Grammars(self.model.constrainer, self.model.n_vocab)

    @cached_property
    def text_mask(self) -> NDArray[np.uint8]:
        """1 for each token that may stand in a text, and for those that end one."""
        return np.fromiter(
            (token in self.ends or not self.model.is_control(token) for token in range(self.model.n_vocab)), np.uint8
        )

    def projector(self, info: MmprojInfo) -> Projector:
        """Return what an mmproj sees and hears with, loaded when it is first asked for.

        Raises:
            ModelError: there is no memory for it.
            ModelFileError: llama.cpp cannot load it, or it belongs to another model.
        """
        with self.in_use(), self._projecting:
            if info.path not in self._projectors:
                check_eyes_fit(info.path, info.weight_bytes)
                on_gpu = supports_gpu() and self.key.gpu_layers != "none"
                self._projectors[info.path] = Projector(info.path, self.model, threads=self.threads, on_gpu=on_gpu)
            return self._projectors[info.path]

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
            embeds=True,
            tool_prior_weight=float(self.model.metadata.get("agentkit.ranker_weight", 0.0)),
        )

    def check_prompt(self, tokens: Sequence[int]) -> None:
        """Refuse a prompt that is empty or too long.

        Raises:
            UsageError, ContextFull: as said.
        """
        if not len(tokens):
            raise UsageError("there is nothing to go on from; give at least one token of text")
        if len(tokens) >= self.context.size:
            raise ContextFull(
                f"the prompt has {len(tokens)} tokens, the context {self.context.size}; "
                "shorten the conversation, or set engine.context higher"
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

    def free(self) -> None:
        """Stop the thread, wait for callers to be out, free everything. A forked child frees nothing."""
        if os.getpid() != self.key.process:
            return
        self.scheduler.close()
        self.embedder.stop()
        with self._idle:
            self._is_freed = True
            self._idle.wait_for(lambda: self._calls == 0)
        self.embedder.close()
        for projector in self._projectors.values():
            projector.close()
        self.context.close()
        self.model.close()

    def _spill(self) -> Spill | None:
        key = self.key
        if not key.cache_mb:
            return None
        if key.cache_dir is None:
            return Spill(ram_bytes=key.cache_mb << 20, vocabulary=self.model.n_vocab)
        options = self.context.options
        told = f"{self.model.fingerprint} {WRITTEN_FOR} {options.kv_type} {options.exact} {options.tokens}"
        fingerprint = hashlib.sha256(told.encode()).hexdigest()
        size = key.cache_mb << 20
        return Spill(
            ram_bytes=size, folder=key.cache_dir, disk_bytes=8 * size, fingerprint=fingerprint,
            vocabulary=self.model.n_vocab,
        )  # fmt: skip


_loaded: dict[Key, Loaded] = {}
_lock = threading.Lock()


def join(key: Key) -> Loaded:
    """Return the model of `key`, loaded now or before, and count one more user."""
    with _lock:
        loaded = _loaded.get(key)
        if loaded is None:
            loaded = _loaded[key] = Loaded(key)
        loaded.engines += 1
        return loaded


def leave(loaded: Loaded) -> None:
    """Count one user less; the last one frees it."""
    with _lock:
        loaded.engines -= 1
        if loaded.engines:
            return
        _loaded.pop(loaded.key, None)
    loaded.free()


def _begin_anew() -> None:
    """Let a forked child load models of its own: the lock may have been held, and what was loaded has no thread here."""
    global _lock
    _lock = threading.Lock()
    _loaded.clear()


os.register_at_fork(after_in_child=_begin_anew)


@atexit.register
def _leave_all() -> None:
    """Stop the threads before the interpreter goes."""
    for loaded in list(_loaded.values()):
        if loaded.key.process == os.getpid():
            loaded.scheduler.close()
