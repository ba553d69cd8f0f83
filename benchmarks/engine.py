"""How much work the engine saves, against the ways a user would go without it, in one run on one file.

python -m benchmarks.engine [--realistic] [--model PATH] [--repeats 5] [--only tree rank sessions cancel loop] [--write]

Everything is teacher-forced: which tokens follow which is fixed beforehand, so the weights do not matter. Times are
ratios of medians over interleaved repetitions; token counts are exact. The peer `Llama` is llama-cpp-python's class at its
best settings (flash attention, batches of 512, its own reuse of the last prompt). `--realistic` makes a random model of
the shape of Llama 3.2 1B for the time of the run; the targets are for that one. Not while anything else runs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from llama_cpp import Llama
from rich.console import Console

from agentkit.engine.llama import LlamaEngine
from agentkit.engine.llama.context import Part
from agentkit.engine.llama.library import C, physical_cores
from agentkit.engine.llama.sampler import log_softmax
from agentkit.engine.llama.sessions import Text
from agentkit.errors import Cancelled
from agentkit.models import resolve
from benchmarks import figures, random_llama, render
from benchmarks.figures import Measured

ROOT_TOKENS, ACTION, OBSERVATION, NODES = 1200, 20, 60, 64
OPTIONS, OPTION_TOKENS, TURNS, TURN_TOKENS = 8, 11, 10, 60
CONTEXT, SEED = 8192, 7
ONE = Text(max_tokens=1)
TARGETS = {"tree-time": 0.5, "tree-tokens": 1 / 2.4, "rank-full": 0.5, "rank-choose": 0.05, "rank-gap": 1.0}


class Bench:
    """The engine, the peer, and random texts over the model's vocabulary."""

    def __init__(self, model: Path, threads: int) -> None:
        self.engine = LlamaEngine(model, context=CONTEXT, threads=threads, cache_mb=0)
        self.peer = Llama(str(model), n_ctx=CONTEXT, n_batch=512, n_threads=threads, flash_attn=True, verbose=False)
        loaded = self.engine._loaded()
        self.loaded = loaded
        self.words = [n for n in range(loaded.model.n_vocab) if not loaded.model.is_control(n)]
        self.rng = Random(SEED)

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


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description="How much work the engine saves.")
    parser.add_argument("--model", type=Path, help="a GGUF (default: sprout)")
    parser.add_argument("--realistic", action="store_true", help="a random model of 1.1 billion weights instead")
    parser.add_argument("--threads", type=int, help="default: 1 for sprout, the physical cores for a bigger one")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--write", action="store_true", help="put the rows into benchmarks/results/engine.json")
    wanted = parser.parse_args(argv)
    began = time.monotonic()
    area = "engine-1b" if wanted.realistic else "engine"
    with tempfile.TemporaryDirectory() as folder:
        path = wanted.model or resolve("sprout").path
        if wanted.realistic:
            path = random_llama.write(Path(folder) / "random-1b.gguf")
        bench = Bench(Path(str(path)), wanted.threads or (physical_cores() if wanted.realistic else 1))
        measured = []
        for name in wanted.only:
            print(f"{name} ...", file=sys.stderr)
            measured += WORKLOADS[name](bench, wanted.repeats)
        bench.engine.close()
    targets = TARGETS if wanted.realistic else {}
    measured = [replace(one, target=targets.get(one.id, one.target)) for one in measured]
    command = f"python -m benchmarks.engine{' --realistic' if wanted.realistic else ''} --write"
    rows = figures.rows(measured, command=command, seconds=time.monotonic() - began)
    Console(width=None if sys.stdout.isatty() else 150).print(render.table([(area, rows)]))
    if wanted.write:
        figures.write(area, rows)
    return 0


def tree(bench: Bench, repeats: int) -> list[Measured]:
    """A scripted search: 64 nodes, each one an action and an observation after a parent drawn among the earlier ones."""
    root = bench.text(ROOT_TOKENS)
    paths = [root]
    for _ in range(NODES):
        paths.append([*bench.rng.choice(paths[-24:]), *bench.text(ACTION + OBSERVATION)])
    paths = [path for path in paths if len(path) < CONTEXT // 2]
    ours, peers = [0], [0]

    def mine() -> None:
        before = bench.fresh()
        for path in paths:
            bench.engine.session(path).generate(ONE)
        ours[0] = bench.engine.stats.tokens - before

    def theirs() -> None:
        bench.peer.reset()
        peers[0] = sum(bench.peer_reads(path) for path in paths)

    return [
        _ratio("tree-time", f"a scripted tree of {NODES} nodes: time against the class `Llama`", mine, theirs, repeats),
        Measured(id="tree-tokens", what="the same: prompt tokens read against the class `Llama`",
                 value=round(ours[0] / peers[0], 3), unit="ratio", n=1),
    ]  # fmt: skip


def rank(bench: Bench, repeats: int) -> list[Measured]:
    """Eight candidates after one prompt: by tries, and one after the other."""
    prompt, stem = bench.text(ROOT_TOKENS), bench.text(4)
    options = [[*stem, *bench.text(OPTION_TOKENS - 4)] for _ in range(OPTIONS)]
    here = bench.engine.session(prompt)
    here.generate(ONE)
    loaded = bench.loaded
    alone: list[float] = []

    def one_by_one() -> None:
        context, prefixes = loaded.context, loaded.prefixes
        opened = prefixes.open(prompt)
        context.keep_first(opened.sequence, len(prompt) - 1)
        alone.clear()
        for option in options:
            context.keep_first(opened.sequence, len(prompt) - 1)
            part = [prompt[-1], *option[:-1]]
            (rows,) = context.decode([Part(opened.sequence, part, range(len(part)))])
            alone.append(sum(float(log_softmax(row)[token]) for row, token in zip(rows, option, strict=True)))
        prefixes.close(opened.sequence, prompt)

    def forgetting(run: Callable[[], object]) -> Callable[[], None]:
        def again() -> None:
            bench.fresh()
            here.hold()
            began = time.perf_counter()
            run()
            spent.append(time.perf_counter() - began)
            here.close()

        return again

    spent: list[float] = []
    times: dict[str, list[float]] = {"alone": [], "full": [], "choose": []}
    for _ in range(repeats):
        for name, run in (
            ("alone", one_by_one), ("full", lambda: here.score(options)), ("choose", lambda: here.choose(options)),
        ):  # fmt: skip
            forgetting(run)()
            times[name].append(spent[-1])
    found = [score.logprob for score in here.score(options)]
    gap = max(abs(one - other) for one, other in zip(found, alone, strict=True))
    return [
        _of("rank-full", "full scores of 8 candidates of 11 tokens: time against one after the other",
            times["full"], times["alone"]),
        _of("rank-choose", "choosing among them: time against full scores one after the other",
            times["choose"], times["alone"]),
        Measured(id="rank-gap", what="largest difference of a full score to that one alone",
                 value=round(gap, 4), unit="nats", n=OPTIONS),
    ]  # fmt: skip


def sessions(bench: Bench, _: int) -> list[Measured]:
    """Four conversations of ten turns, in turn: what is read besides what is new."""
    before = bench.fresh()
    talks = [bench.engine.session(bench.text(300)) for _ in range(4)]
    for _turn in range(TURNS):
        for talk in talks:
            talk.append(bench.text(TURN_TOKENS))
            talk.generate(ONE)
    new = sum(len(talk.tokens) for talk in talks)
    read = bench.engine.stats.tokens - before
    return [Measured(id="sessions", what="4 conversations of 10 turns, interleaved: tokens read against new tokens",
                     value=round(read / new, 4), unit="ratio", n=4 * TURNS, target=1.0)]  # fmt: skip


def cancel(bench: Bench, repeats: int) -> list[Measured]:
    """From the cancel flag in the middle of a prompt to the exception."""
    waits = []
    for _ in range(repeats):
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
    """What is spent a token outside llama.cpp's decoding, on free greedy text."""
    here, length = bench.engine.session(bench.text(64)), 100
    inside = [0.0]
    decode = C.llama_decode

    def timed(*given: Any) -> Any:
        began = time.perf_counter()
        try:
            return decode(*given)
        finally:
            inside[0] += time.perf_counter() - began

    spent = []
    C.llama_decode = timed
    try:
        for _ in range(repeats + 1):
            bench.fresh()
            inside[0], began = 0.0, time.perf_counter()
            tokens = len(here.generate(Text(max_tokens=length)).step.token_ids)
            spent.append((time.perf_counter() - began - inside[0]) / max(1, tokens))
    finally:
        C.llama_decode = decode
    return [Measured(id="loop", what="spent a token outside llama.cpp's decoding, median",
                     value=round(1000 * statistics.median(spent[1:]), 4), unit="ms", n=repeats, target=0.3)]  # fmt: skip


def _times(runs: Sequence[Callable[[], None]], repeats: int) -> list[list[float]]:
    spent: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for run, times in zip(runs, spent, strict=True):
            began = time.perf_counter()
            run()
            times.append(time.perf_counter() - began)
    return spent


def _ratio(id: str, what: str, mine: Callable[[], None], theirs: Callable[[], None], repeats: int) -> Measured:
    ours, others = _times((mine, theirs), repeats)
    return _of(id, what, ours, others)


def _of(id: str, what: str, ours: Sequence[float], others: Sequence[float]) -> Measured:
    """Return the ratio of the medians, with the least and the greatest ratio of a pair."""
    pairs = [one / other for one, other in zip(ours, others, strict=True)]
    middle = statistics.median(ours) / statistics.median(others)
    return Measured(id=id, what=what, value=round(middle, 3), unit="ratio", n=len(pairs),
                    interval=(round(min(pairs), 3), round(max(pairs), 3)))  # fmt: skip


WORKLOADS: dict[str, Callable[[Bench, int], list[Measured]]] = {
    "tree": tree, "rank": rank, "sessions": sessions, "cancel": cancel, "loop": loop,
}  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
