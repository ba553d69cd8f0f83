"""Property 14 of the planners' list: what branches share is read once, is worth the same, and is given back."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest

from agentkit.engine.llama import LlamaEngine

PROMPT = "Which of them it is depends on"


@pytest.fixture(scope="module")
def engine(tiny: Path) -> Iterator[LlamaEngine]:
    """A tiny F32 model with an F32 cache, and no flash attention."""
    with LlamaEngine(tiny, context=2048, threads=1, live=8, exact=True) as opened:
        yield opened


def candidates(rng: Random, count: int) -> list[list[int]]:
    """Token sequences that share their beginnings, distinct, none the beginning of another."""
    words = [rng.randrange(10, 200) for _ in range(4)]
    found = {(*path, 5) for path in itertools.product(words[:2], words[1:3], words[2:])}
    return [list(one) for one in sorted(found)[:count]]


def trie(sequences: Sequence[Sequence[int]]) -> int:
    """How many tokens have to be read so that every token's probability is known: all beginnings but the whole."""
    return len({tuple(one[:length]) for one in sequences for length in range(1, len(one))})


@pytest.mark.parametrize("seed", range(5))
def test_14_scores_over_a_shared_prefix_are_those_of_each_alone(engine: LlamaEngine, seed: int) -> None:
    options = candidates(Random(seed), 8)
    together = [score.logprob for score in engine.session(PROMPT).score(options)]
    alone = [engine.session(PROMPT).score([one])[0].logprob for one in options]
    assert together == pytest.approx(alone, abs=1e-2)


def test_14_what_is_read_is_the_trie(tiny: Path) -> None:
    with LlamaEngine(tiny, context=2048, threads=1, live=8, exact=True) as fresh:
        session = fresh.session(PROMPT)
        session.score([[7, 8]])  # from now on the prompt is known
        for seed in range(5):
            options = candidates(Random(100 + seed), 8)
            before = fresh.stats.tokens
            read = sum(score.read for score in session.score(options))
            assert read == fresh.stats.tokens - before
            assert trie(options) - len(options) <= read <= trie(options)  # a beginning may be known from before


def test_14_a_thousand_expansions_leave_no_more_behind_than_ten(engine: LlamaEngine) -> None:
    session = engine.session(PROMPT)

    def expand(seeds: Sequence[int]) -> int:
        for seed in seeds:
            session.score(candidates(Random(1_000 + seed), 6))
        return engine.stats.held

    after_some = expand(range(200))
    after_many = expand(range(200, 1_000))
    assert after_many <= max(after_some, engine.capabilities.context)
