"""What the engine's workloads share: the engine and the peer on one file, timing turn about, and ratios with intervals.

The peer `Llama` is llama-cpp-python's class at its best settings: flash attention, batches of 512, the same threads,
and its own reuse of the last prompt.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

import numpy as np
from llama_cpp import Llama

from agentkit.engine.llama import LlamaEngine
from agentkit.engine.llama.sessions import Text
from benchmarks import random_llama
from benchmarks.figures import Measured

__all__ = ["CONTEXT", "FEW", "ONE", "SEED", "Bench", "Run", "difference", "interleaved", "interval", "ratio"]

CONTEXT, SEED = 8192, 7
ONE = Text(max_tokens=1)
RESAMPLES = 2000
FEW = 2  # repetitions, at most, of what takes minutes on a real model's shape; hardly two of them differ

Run = Callable[[], float | None]  # what it returns, in seconds, counts instead of the time it took


class Bench:
    """The engine, the peer, and random texts over the model's vocabulary."""

    def __init__(self, model: Path, threads: int, *, build: Path | None = None) -> None:
        """Load the model twice; `build` is where llama-server was built, None the usual folder."""
        self.path, self.threads, self.build = model, threads, build
        self.tick: Callable[[float], None] = lambda share: None  # is told which share of a workload has just been done
        self.engine = LlamaEngine(model, context=CONTEXT, threads=threads, cache_mb=0)
        self.peer = Llama(
            str(model), n_ctx=CONTEXT, n_batch=512, n_threads=threads, n_threads_batch=threads, flash_attn=True,
            verbose=False,
        )  # fmt: skip
        loaded = self.engine._loaded()
        self.loaded = loaded
        self.words = [n for n in range(loaded.model.n_vocab) if not loaded.model.is_control(n)]
        self.rng = Random(SEED)

    @property
    def is_random(self) -> bool:
        """Whether the weights are random, so that what the model says means nothing."""
        return bool(self.loaded.model.name == random_llama.NAME)

    def text(self, length: int) -> list[int]:
        """Return random tokens, none of them a control token."""
        return self.rng.choices(self.words, k=length)

    def fresh(self) -> int:
        """Forget what was read; return how many tokens have been read in all."""
        self.loaded.prefixes.forget()
        return self.engine.stats.tokens

    def peer_reads(self, tokens: Sequence[int]) -> int:
        """Have the peer read `tokens` as its `generate` does; return how many it had to read."""
        held = list(self.peer._input_ids)
        common = next((n for n, (a, b) in enumerate(zip(held, tokens, strict=False)) if a != b), len(held))
        next(self.peer.generate(list(tokens), temp=0.0))
        return len(tokens) - min(common, len(tokens) - 1)

    def rounds(self, n: int) -> Iterator[int]:
        """Yield 0 to `n` - 1; after each, so much of the workload is done."""
        for index in range(n):
            yield index
            self.tick(1 / n)

    def close(self) -> None:
        """Free both."""
        self.engine.close()
        self.peer.close()


def interleaved(bench: Bench, runs: Mapping[str, Run], repeats: int) -> dict[str, list[float]]:
    """Return the seconds of each run, `repeats` times: all of them once, then all again."""
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            began = time.perf_counter()
            own = run()
            spent[name].append(time.perf_counter() - began if own is None else own)
            bench.tick(1 / (repeats * len(runs)))
    return spent


def ratio(
    id: str, what: str, ours: Sequence[float], others: Sequence[float], *, target: float | None = None
) -> Measured:
    """Return the ratio of the medians; below 1, ours is less."""
    value = float(np.median(ours) / np.median(others))
    return Measured(id=id, what=what, value=round(value, 3), unit="ratio", n=len(ours), target=target,
                    interval=interval(ours, others, np.divide))  # fmt: skip


def difference(id: str, what: str, ours: Sequence[float], others: Sequence[float]) -> Measured:
    """Return by how many milliseconds the median of `ours` is above that of `others`; both are seconds."""
    ours, others = [1000 * one for one in ours], [1000 * one for one in others]
    value = float(np.median(ours) - np.median(others))
    return Measured(id=id, what=what, value=round(value, 3), unit="ms", n=len(ours),
                    interval=interval(ours, others, np.subtract))  # fmt: skip


def interval(
    ours: Sequence[float], others: Sequence[float], of: Callable[..., np.ndarray]
) -> tuple[float, float] | None:
    """Return the bootstrap 95 % interval of `of` the two medians; None for a single repetition.

    Repetitions are drawn as pairs: what was measured turn about was slow together.
    """
    if len(ours) < 2:
        return None
    drawn = np.random.default_rng(SEED).integers(len(ours), size=(RESAMPLES, len(ours)))
    medians = (np.median(np.asarray(values)[drawn], axis=1) for values in (ours, others))
    low, high = np.percentile(of(*medians), (2.5, 97.5))
    return (round(float(low), 3), round(float(high), 3))
