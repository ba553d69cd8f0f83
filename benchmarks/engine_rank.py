"""Ranking candidates: by tries and one after the other, and whether the orders agree."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence

from agentkit.engine.llama.context import Part
from agentkit.engine.llama.sampler import log_softmax
from benchmarks.engine_bench import Bench, Run, interleaved, ratio
from benchmarks.figures import ROOT, Measured, share

PROMPT_TOKENS, SET_TOKENS = 1200, 64
OPTIONS, OPTION_TOKENS, STEM = 8, 11, 4
SETS = 12
GAP = 1.0  # nats: candidates nearer to each other may change places with the shape of a batch
REQUESTS = ROOT / "tests" / "data" / "handwritten" / "requests.jsonl"


def rank(bench: Bench, repeats: int) -> list[Measured]:
    """Eight candidates after one prompt, by tries and one by one; new ones each time, since what was read is kept."""
    prompt = bench.text(PROMPT_TOKENS)
    bench.fresh()
    here = bench.engine.session(prompt)
    here.hold()
    runs: dict[str, Run] = {
        "alone": lambda: _use(one_by_one(bench, prompt, options(bench))),
        "full": lambda: _use(here.score(options(bench))),
        "choose": lambda: _use(here.choose(options(bench))),
    }
    times = interleaved(bench, runs, repeats)
    last = options(bench)
    found = [score.logprob for score in here.score(last)]
    gap = max(abs(one - other) for one, other in zip(found, one_by_one(bench, prompt, last), strict=True))
    here.close()
    return [
        ratio("rank-full", "full scores of 8 candidates of 11 tokens: time against one after the other",
              times["full"], times["alone"]),
        ratio("rank-choose", "choosing among them: time against full scores one after the other",
              times["choose"], times["alone"]),
        Measured(id="rank-gap", what="largest difference of a full score to that one alone",
                 value=round(gap, 4), unit="nats", n=OPTIONS),
    ]  # fmt: skip


def order(bench: Bench, _: int) -> list[Measured]:
    """Sets of options: is the constrained choice the most probable one, and do tries order as one by one does."""
    same = inversions = pairs = 0
    bench.fresh()
    for _set in bench.rounds(SETS):
        prompt, choices = bench.text(SET_TOKENS), options(bench)
        here = bench.engine.session(prompt)
        found = [score.logprob for score in here.score(choices)]
        alone = one_by_one(bench, prompt, choices)
        same += here.choose(choices).index == found.index(max(found))
        for a, b in itertools.combinations(range(OPTIONS), 2):
            if abs(alone[a] - alone[b]) > GAP:
                pairs += 1
                inversions += (found[a] > found[b]) != (alone[a] > alone[b])
    rows = [
        share("rank-agrees", "sets of 8 random options of 11 tokens whose choice is the most probable in full",
              same, SETS),
        Measured(id="rank-inversions", what="pairs more than 1 nat apart that tries order otherwise than one by one",
                 value=inversions, unit="pairs", n=pairs, target=0.0),
    ]  # fmt: skip
    if not bench.is_random:  # names say something only to a model that was trained
        agreed, asked = names(bench)
        rows.append(
            share("rank-agrees-names", "the same of the tools' names, after handwritten requests", agreed, asked)
        )
    return rows


def names(bench: Bench) -> tuple[int, int]:
    """Return for how many requests the choice among the names of their tools is the full one, and of how many."""
    lines = REQUESTS.read_text(encoding="utf-8").splitlines()[:: 100 // SETS][:SETS]
    same = 0
    for line in lines:
        case = json.loads(line)
        told = "".join(f"{tool['name']}: {tool['description']}\n" for tool in case["tools"])
        here = bench.engine.session(f"{told}\n{case['request']}\ntool:")
        choices = [f" {tool['name']}\n" for tool in case["tools"]]
        found = [score.logprob for score in here.score(choices)]
        same += here.choose(choices).index == found.index(max(found))
    return same, len(lines)


def options(bench: Bench) -> list[list[int]]:
    """Return eight options that begin alike."""
    stem = bench.text(STEM)
    return [[*stem, *bench.text(OPTION_TOKENS - STEM)] for _ in range(OPTIONS)]


def one_by_one(bench: Bench, prompt: Sequence[int], candidates: Sequence[Sequence[int]]) -> list[float]:
    """Return the log-probability of each of the candidates in nats; nothing but the prompt is shared."""
    context, prefixes = bench.loaded.context, bench.loaded.prefixes
    opened = prefixes.open(prompt)
    assert opened.length >= len(prompt) - 1, "the prompt has not been read"
    found = []
    for candidate in candidates:
        context.keep_first(opened.sequence, len(prompt) - 1)
        part = [prompt[-1], *candidate[:-1]]
        (rows,) = context.decode([Part(opened.sequence, part, range(len(part)))])
        found.append(sum(float(log_softmax(row)[token]) for row, token in zip(rows, candidate, strict=True)))
    context.keep_first(opened.sequence, len(prompt) - 1)
    prefixes.close(opened.sequence, prompt)
    return found


def _use(_: object) -> None:
    """Measure only the time."""
