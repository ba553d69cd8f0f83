"""What does not depend on a peer: how soon a cancel works, and what the loop spends outside llama.cpp."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from agentkit.engine.llama.library import C
from agentkit.engine.llama.sessions import Session, Text
from agentkit.errors import Cancelled
from benchmarks.engine_bench import CONTEXT, Bench
from benchmarks.figures import Measured

SHORT, LONG = 20, 120  # tokens of a reply


def cancel(bench: Bench, repeats: int) -> list[Measured]:
    """From the cancel flag in the middle of a prompt to the exception."""
    waits = []
    for _ in bench.rounds(repeats):
        bench.fresh()
        flag = threading.Event()
        set_at = [0.0]

        def pull(flag: threading.Event = flag, set_at: list[float] = set_at) -> None:
            set_at[0] = time.perf_counter()
            flag.set()

        timer = threading.Timer(0.05, pull)
        timer.start()
        try:
            while True:  # a small model is through a prompt before the flag
                bench.engine.session(bench.text(CONTEXT - 100)).generate(Text(max_tokens=1, cancel=flag))
        except Cancelled:
            waits.append(time.perf_counter() - set_at[0])
    return [Measured(id="cancel", what="from the cancel flag inside a prompt to the exception, worst",
                     value=round(max(waits), 4), unit="s", n=repeats, target=0.15)]  # fmt: skip


def loop(bench: Bench, repeats: int) -> list[Measured]:
    """What the engine spends a token outside llama.cpp's decoding, above what the barest loop in Python does.

    The barest loop fills a batch of one token, decodes it, and takes the greatest logit. Of ours, what a reply takes once
    (its sequence, its thread) is left out: the time of a short one is subtracted from that of a long one.
    """
    here = bench.engine.session(bench.text(64))
    ours, bare = [], []
    with _outside() as spent:
        bench.loaded.drafting.is_on = False
        for _ in bench.rounds(repeats + 1):
            took = [_of_reply(bench, here, length, spent) for length in (SHORT, LONG)]
            ours.append((took[1] - took[0]) / (LONG - SHORT))
            bare.append(_bare(bench, LONG, spent) / LONG)
        bench.loaded.drafting.is_on = True
    over = [1000 * (one - other) for one, other in zip(ours[1:], bare[1:], strict=True)]
    return [
        Measured(id="loop", what="our loop over the bare decode in Python, a token, median",
                 value=round(statistics.median(over), 4), unit="ms", n=repeats, target=0.3),
        Measured(id="loop-all", what="spent a token outside llama.cpp's decoding, median",
                 value=round(1000 * statistics.median(ours[1:]), 4), unit="ms", n=repeats),
    ]  # fmt: skip


def _of_reply(bench: Bench, here: Session, length: int, spent: list[float]) -> float:
    """Return the seconds outside llama.cpp's decoding of a free greedy reply."""
    bench.fresh()
    spent[0], began = 0.0, time.perf_counter()
    found = len(here.generate(Text(max_tokens=length)).step.token_ids)
    return (time.perf_counter() - began - spent[0]) * length / found


def _bare(bench: Bench, length: int, spent: list[float]) -> float:
    """Return the same of the barest loop, on the engine's own context while it is idle."""
    context, opened = bench.loaded.context, bench.loaded.prefixes.open(())
    spent[0], began, token = 0.0, time.perf_counter(), bench.words[0]
    handle, batch = context._handle, context._batch
    for place in range(length):
        batch._token[0], batch._position[0], batch._ids[0], batch._output[0] = token, place, opened.sequence, 1
        batch._batch.n_tokens = 1
        assert C.llama_decode(handle, batch._batch) == 0
        token = int(context._row(0).argmax())
    took = time.perf_counter() - began - spent[0]
    context._held[opened.sequence] = length
    context.keep_first(opened.sequence, 0)
    bench.loaded.prefixes.close(opened.sequence, ())
    return took


@contextmanager
def _outside() -> Iterator[list[float]]:
    """Add up, in the list's one element, the seconds inside llama.cpp's decoding."""
    inside, decode = [0.0], C.llama_decode

    def timed(*given: Any) -> Any:
        began = time.perf_counter()
        try:
            return decode(*given)
        finally:
            inside[0] += time.perf_counter() - began

    C.llama_decode = timed
    try:
        yield inside
    finally:
        C.llama_decode = decode
