"""Scores are what a plain reading, token by token, says; and no more is read for them than must be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentkit.engine.llama import LlamaEngine, Model
from agentkit.engine.llama.context import Context, ContextOptions, Logits, Part
from agentkit.errors import UsageError
from agentkit.messages import user_message
from agentkit.protocols import Request
from agentkit.types import Step, Task

PROMPT = "Which of them it is depends on"
Tokens = tuple[int, ...]


class Plainly:
    """The model read one token after another, and nothing kept from one candidate to the next."""

    def __init__(self, path: Path) -> None:
        self.model = Model(path)
        self._context = Context(self.model, ContextOptions(tokens=512, threads=1))

    def close(self) -> None:
        self._context.close()
        self.model.close()

    def row(self, tokens: Sequence[int]) -> Logits:
        """The logits after `tokens`."""
        self._context.keep_first(0, 0)
        for token in tokens[:-1]:
            self._context.decode([Part(0, [token])])
        ((row,),) = self._context.decode([Part(0, [tokens[-1]], [0])])
        return row.astype(np.float64)

    def full(self, prompt: Tokens, candidate: Tokens) -> float:
        found = 0.0
        for n, token in enumerate(candidate):
            row = self.row(prompt + candidate[:n])
            found += row[token] - row.max() - math.log(np.exp(row - row.max()).sum())
        return found

    def constrained(self, prompt: Tokens, candidates: Sequence[Tokens]) -> list[float]:
        found = [0.0] * len(candidates)
        for place, candidate in enumerate(candidates):
            for n, token in enumerate(candidate):
                ways = sorted({other[n] for other in candidates if other[:n] == candidate[:n]})
                if len(ways) > 1:
                    chances = np.exp(self.row(prompt + candidate[:n])[ways])
                    found[place] += math.log(chances[ways.index(token)] / chances.sum())
        return found


@pytest.fixture(scope="module")
def plainly(tiny: Path) -> Iterator[Plainly]:
    made = Plainly(tiny)
    yield made
    made.close()


@pytest.fixture(scope="module")
def scorer(tiny: Path) -> Iterator[LlamaEngine]:
    """An engine with few live sequences, so that some have to wait."""
    with LlamaEngine(tiny, context=1024, threads=1, live=3) as opened:
        yield opened


SETS = {
    "apart": ["yes", "no", "perhaps"],
    "shared": ["the red house", "the red horse", "the blue house", "a red house"],
    "nested": ["a", "ab", "abc", "abcd", "b"],
    "single": ["only this one"],
    "one token": ["x"],
    "twice": ["same", "other", "same"],
    "unicode": ["naïve", "naïf", "東京", "東山", "🌍", "🌎"],
    "merged": ["hello", "help", "heap", "hxll"],
    "long": ["z" * 70 + "a", "z" * 70 + "b", "y" * 40],
    "markup": ["<end>", "<final>"],
}


@pytest.mark.parametrize("name", SETS)
def test_full_scores_are_those_of_each_alone(scorer: LlamaEngine, plainly: Plainly, name: str) -> None:
    session = scorer.session(f"{PROMPT} {name}: ")
    found = session.score(SETS[name])
    for text, score in zip(SETS[name], found, strict=True):
        tokens = tuple(plainly.model.tokenise(text))
        assert score.tokens == len(tokens)
        noise = max(1e-2, 2e-3 * len(tokens))  # of half precision, which a batch adds up in another order
        assert score.logprob == pytest.approx(plainly.full(session.tokens, tokens), abs=noise)


@pytest.mark.parametrize("name", sorted(set(SETS) - {"nested", "twice"}))
def test_constrained_scores_are_the_softmax_at_each_parting(scorer: LlamaEngine, plainly: Plainly, name: str) -> None:
    session = scorer.session(f"{PROMPT} {name}: ")
    choice = session.choose(SETS[name])
    tokens = [tuple(plainly.model.tokenise(text)) for text in SETS[name]]
    expected = np.exp(plainly.constrained(session.tokens, tokens))
    assert sum(choice.probabilities) == pytest.approx(1.0, abs=1e-6)
    assert choice.probabilities == pytest.approx(expected, abs=1e-2)
    assert choice.probabilities[choice.index] == max(choice.probabilities)


def test_the_order_of_candidates_is_kept(scorer: LlamaEngine) -> None:
    session, texts = scorer.session(PROMPT), SETS["shared"]
    there = session.score(texts, mode="constrained")
    back = session.score(texts[::-1], mode="constrained")[::-1]
    assert [one.logprob for one in there] == pytest.approx([one.logprob for one in back], abs=1e-2)
    assert len({round(one.logprob, 3) for one in there}) == 4


def test_a_beginning_of_another_is_refused_only_where_they_compete(scorer: LlamaEngine) -> None:
    session = scorer.session(PROMPT)
    for texts in (["yes", "yes, sir"], ["yes, sir", "no", "yes"]):
        with pytest.raises(UsageError, match="beginning of another"):
            session.choose(texts)
        short, long = (score for text, score in zip(texts, session.score(texts), strict=True) if text[0] == "y")
        assert short.logprob != long.logprob
        assert min(short.tokens, long.tokens) == 3


def test_the_same_option_twice_shares_its_probability(scorer: LlamaEngine) -> None:
    session = scorer.session(PROMPT)
    once, twice = session.choose(["same", "other"]), session.choose(["same", "other", "same"])
    assert sum(twice.probabilities) == pytest.approx(1.0, abs=1e-6)
    assert twice.probabilities[0] == twice.probabilities[2]
    assert twice.probabilities[0] == pytest.approx(once.probabilities[0] / 2, abs=1e-2)
    first, _, third = session.score(["same", "other", "same"])
    assert (first.logprob, first.tokens) == (third.logprob, third.tokens)  # the model's own is not shared
    assert (first.read > 0, third.read) == (True, 0)  # what they share is read once


def test_no_candidates_and_empty_ones(scorer: LlamaEngine) -> None:
    session = scorer.session(PROMPT)
    assert session.score([]) == []
    for texts in ([""], ["x", ""], [[]]):
        with pytest.raises(UsageError, match="no tokens"):
            session.score(texts)
        with pytest.raises(UsageError, match="no tokens"):
            session.choose(texts)
    assert session.choose(["the only one"]).probabilities == (1.0,)


def test_the_mean_is_a_token(scorer: LlamaEngine) -> None:
    session = scorer.session(PROMPT)
    for whole, mean in zip(session.score(["ab", "wxyz"]), session.score(["ab", "wxyz"], normalize="mean"), strict=True):
        assert mean.logprob * mean.tokens == pytest.approx(whole.logprob, abs=1e-2)
        assert mean.tokens == whole.tokens > 1


def test_what_is_shared_is_read_once(scorer: LlamaEngine) -> None:
    session = scorer.session("A prompt of this very test, read the first time.")
    shared, ends = "0123456789", ["abc", "bcde", "c"]
    before = scorer.stats.tokens
    session.score([shared + end for end in ends])
    needed = len(session.tokens) + len(shared) + sum(len(end) - 1 for end in ends)
    assert scorer.stats.tokens - before == needed  # nothing is read after a candidate's last token but one
    before = scorer.stats.tokens
    session.score([shared + end for end in ends])
    assert scorer.stats.tokens - before <= needed - len(session.tokens)


def test_what_does_not_part_is_not_asked(scorer: LlamaEngine) -> None:
    session = scorer.session("Fresh prompt of one test alone, for choosing.")
    before = scorer.stats
    session.choose(["left or so and on and on", "right or so and on and on"])
    after = scorer.stats
    assert after.tokens - before.tokens == len(session.tokens)
    assert (after.rows - before.rows, after.decodes - before.decodes) == (1, 1)
    session.choose(["only one"])
    assert scorer.stats.decodes == after.decodes


def test_partings_are_read_side_by_side(scorer: LlamaEngine) -> None:
    session = scorer.session("One more prompt, for partings in several places.")
    session.hold()
    before = scorer.stats
    session.choose([one + two for one in ("aaaa", "bbbb", "cccc") for two in "xyz"])
    after = scorer.stats
    assert after.decodes - before.decodes == 1
    assert after.tokens - before.tokens == 12


def test_steps_are_scored_after_messages(scorer: LlamaEngine, plainly: Plainly) -> None:
    request = Request(messages=[user_message(Task.of("yes or no?"))])
    steps = [Step(kind="final", text=text) for text in ("yes", "no", "yes and no")]
    dialect, prompt = scorer._loaded().dialect, scorer.session(request).tokens
    for step, score in zip(steps, scorer.score(request, steps), strict=True):
        tokens = tuple(dialect.step(step, request))
        assert score.logprob == pytest.approx(plainly.full(prompt, tokens), abs=1e-2)


candidates = st.lists(st.lists(st.integers(100, 103), min_size=1, max_size=5).map(tuple), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tokens=candidates)
def test_any_candidates(scorer: LlamaEngine, plainly: Plainly, tokens: list[Tokens]) -> None:
    session = scorer.session("any of these: ")
    found = [score.logprob for score in session.score(tokens)]
    assert found == pytest.approx([plainly.full(session.tokens, each) for each in tokens], abs=1e-2)
    beginnings = {each[:n] for each in tokens for n in range(1, len(each))}
    if beginnings & set(tokens):
        with pytest.raises(UsageError, match="beginning of another"):
            session.choose(tokens)
        return
    chances = session.choose(tokens).probabilities
    assert list(accumulate(chances))[-1] == pytest.approx(1.0, abs=1e-6)
    shares = [math.exp(each) for each in plainly.constrained(session.tokens, tokens)]
    shares = [share / tokens.count(each) for share, each in zip(shares, tokens, strict=True)]
    assert chances == pytest.approx(shares, abs=1e-2)
