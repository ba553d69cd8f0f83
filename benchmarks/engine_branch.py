"""Best of k: several distinct continuations of one prompt under a grammar, side by side and one after the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from llama_cpp import LlamaGrammar

from agentkit.engine.llama.sessions import Text
from agentkit.protocols import Sampling
from benchmarks.engine_bench import ONE, Bench, Run, interleaved, ratio
from benchmarks.figures import Measured

COUNTS = (1, 4, 8, 16)
PROMPT_TOKENS, MAX_TOKENS, LETTERS = 200, 48, 6
MOST_REPEATS = 3
TRIES = 4  # times as many as are wanted, at most
LARK = f'start: "{{\\"id\\": \\"" /[a-z]{{{LETTERS}}}/ "\\"}}"'
GBNF = f'root ::= "{{\\"id\\": \\"" {"[a-z] " * LETTERS}"\\"}}"'


def best_of(bench: Bench, repeats: int) -> list[Measured]:
    """Time to k distinct texts of a fixed length, whatever they say; the prompt has been read by all."""
    prompt = bench.text(PROMPT_TOKENS)
    bench.fresh()
    bench.engine.session(prompt).generate(ONE)
    bench.peer_reads(prompt)
    grammar = LlamaGrammar.from_string(GBNF, verbose=False)
    few: dict[str, int] = {}

    def branched(k: int) -> None:
        few[f"branch {k}"] = len(bench.engine.session(prompt).branch(k, Text(lark=LARK, max_tokens=MAX_TOKENS))) - k

    def alone(k: int) -> None:
        few[f"alone {k}"] = _distinct(k, lambda seed: _ours(bench, prompt, seed))

    def theirs(k: int) -> None:
        few[f"class {k}"] = _distinct(k, lambda seed: _theirs(bench, prompt, grammar, seed))

    ways = {"branch": branched, "alone": alone, "class": theirs}
    branched(2)  # compiles the grammar
    runs: dict[str, Run] = {f"{name} {k}": partial(way, k) for k in COUNTS for name, way in ways.items()}
    times = interleaved(bench, runs, min(repeats, MOST_REPEATS))
    for name, missing in few.items():
        if missing:
            raise AssertionError(f"{name}: {-missing} texts are missing; the times cannot be compared")
    return [
        *(ratio(f"best-of-{k}", f"{k} distinct texts under a grammar: time against the class `Llama` one by one",
                times[f"branch {k}"], times[f"class {k}"]) for k in COUNTS),
        *(ratio(f"batch-{k}", f"{k} distinct texts side by side: time against the same engine one by one",
                times[f"branch {k}"], times[f"alone {k}"]) for k in COUNTS[1:]),
    ]  # fmt: skip


def _distinct(k: int, draw: Callable[[int], str]) -> int:
    """Draw with one seed after another until there are `k` different texts; return how many there are beyond `k`."""
    found: set[str] = set()
    for seed in range(TRIES * k):
        found.add(draw(seed))
        if len(found) == k:
            break
    return len(found) - k


def _ours(bench: Bench, prompt: list[int], seed: int) -> str:
    how = Text(lark=LARK, max_tokens=MAX_TOKENS, sampling=Sampling(temperature=1.0, seed=seed))
    return bench.engine.session(prompt).generate(how).step.text


def _theirs(bench: Bench, prompt: list[int], grammar: LlamaGrammar, seed: int) -> str:
    given: Any = bench.peer.create_completion(
        prompt, max_tokens=MAX_TOKENS, temperature=1.0, seed=seed, grammar=grammar
    )
    return str(given["choices"][0]["text"])
