"""A search tree and interleaved conversations: how many prompt tokens are read, and how long it takes."""

from __future__ import annotations

import sys
import time

from benchmarks.engine_bench import CONTEXT, FEW, ONE, Bench, Run, interleaved, ratio
from benchmarks.figures import Measured
from benchmarks.llama_server import Server, binary

ROOT_TOKENS, ACTION, OBSERVATION, NODES = 1200, 20, 60, 64
SMALL_ROOT, SMALL_NODES = 300, 6
TURNS, TURN_TOKENS = 10, 60


def paths(bench: Bench, root: int, nodes: int) -> list[list[int]]:
    """Return a scripted search: the root, then the nodes, each an action and an observation after an earlier one."""
    found = [bench.text(root)]
    for _ in range(nodes):
        found.append([*bench.rng.choice(found[-24:]), *bench.text(ACTION + OBSERVATION)])
    return [path for path in found if len(path) < CONTEXT // 2]


def tree(bench: Bench, repeats: int) -> list[Measured]:
    """Time and tokens of the tree against the class `Llama` and, where it is built, against llama-server."""
    prompts = paths(bench, ROOT_TOKENS, NODES)
    read: dict[str, int] = {}

    def mine() -> None:
        before = bench.fresh()
        for prompt in prompts:
            bench.engine.session(prompt).generate(ONE)
        read["ours"] = bench.engine.stats.tokens - before

    def theirs() -> None:
        bench.peer.reset()
        read["class"] = sum(bench.peer_reads(prompt) for prompt in prompts)

    def served() -> float:
        with Server(built, bench.path, context=CONTEXT, threads=bench.threads) as server:  # none knows the last run's
            began = time.perf_counter()
            read["server"] = sum(server.reads(prompt) for prompt in prompts)
            return time.perf_counter() - began

    runs: dict[str, Run] = {"ours": mine, "class": theirs}
    if built := binary(bench.build):
        runs["server"] = served
    else:
        print("llama-server is not built, so its rows are left out: python -m benchmarks.llama_server", file=sys.stderr)
    spent = interleaved(bench, runs, min(repeats, FEW))
    whole = sum(map(len, prompts))
    rows = [
        ratio("tree-time", f"a scripted tree of {NODES} nodes: time against the class `Llama`",
              spent["ours"], spent["class"]),
        _tokens("tree-tokens", "the same: prompt tokens read against the class `Llama`", read["ours"], read["class"]),
        _tokens("radix-tokens", "the same: prompt tokens read against every prompt read whole", read["ours"], whole),
    ]  # fmt: skip
    if "server" in spent:
        rows += [
            ratio("server-time", "the same tree: time against llama-server, its HTTP included",
                  spent["ours"], spent["server"]),
            _tokens("server-tokens", "the same tree: prompt tokens read against llama-server",
                    read["ours"], read["server"]),
        ]  # fmt: skip
    return rows


def radix(bench: Bench, repeats: int) -> list[Measured]:
    """A small tree, with what was read kept and with it forgotten before each request."""
    prompts = paths(bench, SMALL_ROOT, SMALL_NODES)

    def read(*, forgets: bool) -> None:
        bench.fresh()
        for prompt in prompts:
            if forgets:
                bench.fresh()
            bench.engine.session(prompt).generate(ONE)

    runs: dict[str, Run] = {"kept": lambda: read(forgets=False), "forgotten": lambda: read(forgets=True)}
    spent = interleaved(bench, runs, min(repeats, FEW))
    what = f"a tree of {SMALL_NODES} nodes after {SMALL_ROOT} tokens: time against forgetting before each what was read"
    return [ratio("radix-time", what, spent["kept"], spent["forgotten"])]


def sessions(bench: Bench, _: int) -> list[Measured]:
    """Four conversations of ten turns, in turn: what is read besides what is new."""
    before = bench.fresh()
    talks = [bench.engine.session(bench.text(300)) for _ in range(4)]
    for _turn in bench.rounds(TURNS):
        for talk in talks:
            talk.append(bench.text(TURN_TOKENS))
            talk.generate(ONE)
    new = sum(len(talk.tokens) for talk in talks)
    read = bench.engine.stats.tokens - before
    return [Measured(id="sessions", what="4 conversations of 10 turns, interleaved: tokens read against new tokens",
                     value=round(read / new, 4), unit="ratio", n=4 * TURNS, target=1.0)]  # fmt: skip


def _tokens(id: str, what: str, ours: int, others: int) -> Measured:
    return Measured(id=id, what=what, value=round(ours / others, 3), unit="ratio", n=1)
