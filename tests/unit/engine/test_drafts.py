"""Drafts: guesses from what stood there before; they change how fast a reply comes, and not what it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.engine.llama import LlamaEngine, generate
from agentkit.engine.llama.drafts import MAX_MATCH, MIN_MATCH, Drafting, Lookup, Odds, Pace
from agentkit.engine.llama.sessions import Session, Text
from agentkit.protocols import Sampling

TOKENS = st.lists(st.integers(0, 3), max_size=60)


@given(prompt=TOKENS, said=TOKENS)
def test_a_guess_followed_the_same_tokens_before(prompt: list[int], said: list[int]) -> None:
    lookup = Lookup(prompt)
    for token in said:
        lookup.append(token)
    known = [*prompt, *said]
    guess = lookup.ahead(5)
    if not guess:
        assert lookup.match == 0
        return
    match = lookup.match
    assert MIN_MATCH <= match <= min(MAX_MATCH, len(said))
    last = known[-match:]
    places = [n for n in range(len(known) - match) if known[n : n + match] == last]
    after = [known[n + match :] for n in places]
    assert any((tokens * 5)[:5] == guess for tokens in after)


@given(prompt=TOKENS, said=TOKENS)
def test_where_there_is_no_guess_nothing_was_alike(prompt: list[int], said: list[int]) -> None:
    lookup = Lookup(prompt)
    for token in said:
        lookup.append(token)
    known = [*prompt, *said]
    if not lookup.match and len(said) >= MIN_MATCH:
        last = known[-MIN_MATCH:]
        assert all(known[n : n + MIN_MATCH] != last for n in range(len(known) - MIN_MATCH))


def test_odds_follow_what_happens() -> None:
    odds = Odds()
    assert odds.of(3) < 0.5
    for _ in range(100):
        odds.note(3, True)
        odds.note(4, False)
    assert odds.of(3) > 0.95
    assert odds.of(4) < 0.05
    for _ in range(100):
        odds.note(3, False)
    assert odds.of(3) < 0.2


def drafting(seconds: dict[int, float], right: bool) -> Drafting:
    learnt = Drafting()
    for tokens, took in [*seconds.items()] * 2:  # the first of each size is not believed
        learnt.pace.note(tokens, tokens, took)
    for match in range(MIN_MATCH, MAX_MATCH + 1):
        for _ in range(200):
            learnt.odds.note(match, right)
    return learnt


@pytest.mark.parametrize(
    ("seconds", "right", "drafts"),
    [
        ({1: 1.0}, True, True),  # no batch of several was read yet: what is usual is believed
        ({1: 1.0, 16: 1.1}, True, True),  # a GPU
        ({1: 1.0, 2: 1.9, 4: 3.4, 8: 7.4, 16: 9.5}, True, True),  # two cores, and always right
        ({1: 1.0, 2: 1.9, 4: 3.4, 8: 7.4, 16: 9.5}, False, False),
        ({1: 1.0, 2: 2.1, 4: 4.2, 8: 8.4, 16: 17.0}, True, False),  # several take longer than one after the other
        ({1: 1.0, 16: 1.1}, False, False),
        ({}, True, False),  # nothing is known
    ],
)
def test_a_draft_is_read_where_it_pays(seconds: dict[int, float], right: bool, drafts: bool) -> None:
    assert bool(drafting(seconds, right).length(MIN_MATCH, waiting=1, most=15)) is drafts


def test_no_draft_is_longer_than_there_is_room() -> None:
    learnt = drafting({1: 1.0, 16: 1.0}, True)
    assert learnt.length(5, waiting=1, most=2) <= 2
    assert learnt.length(5, waiting=1, most=0) == 0
    assert learnt.length(0, waiting=1, most=15) == 0


def test_a_slow_batch_is_not_believed_for_ever() -> None:
    pace = Pace()
    usual = Pace(on_gpu=True)
    for _ in range(2):
        usual.note(1, 1, 1.0)
        pace.note(1, 1, 1.0)
        pace.note(16, 16, 100.0)
    assert pace.of(16) == 100.0
    for _ in range(300):
        pace.note(1, 1, 1.0)
    assert usual.of(16) < 2.0 < pace.of(16) < 10.0


@pytest.fixture
def engine(tiny: Path) -> Iterator[LlamaEngine]:
    with LlamaEngine(tiny, context=1024, threads=1) as engine:
        yield engine


def eager(session: Session) -> Drafting:
    """Have drafts read wherever anything can be guessed."""
    learnt = session._loaded.drafting
    for _ in range(2):
        learnt.pace.note(1, 1, 1e-9)
        learnt.pace.note(16, 16, 1e-9)
    learnt.pace.note = lambda *_: None  # type: ignore[method-assign]
    for match in range(MIN_MATCH, MAX_MATCH + 1):
        for _ in range(300):
            learnt.odds.note(match, True)
    learnt.odds.note = lambda *_: None  # type: ignore[method-assign]
    return learnt


@pytest.mark.parametrize("how", [
    Text(max_tokens=120),
    Text(regex="(ab|ac|ad){10,80}", max_tokens=60),
    Text(regex="[a-d]{50}"),
    Text(max_tokens=120, stop=("z",)),
])  # fmt: skip
def test_a_draft_changes_nothing(engine: LlamaEngine, how: Text) -> None:
    here = engine.session("abacabadabacabaeabacabadabacaba" * 3)
    learnt = here._loaded.drafting
    learnt.is_on = False
    plain = here.generate(how)
    assert engine.stats.drafted == 0
    learnt.is_on = True
    eager(here)
    for _ in range(2):
        engine._loaded().prefixes.forget()
        found = here.generate(how)
        assert found.step.token_ids == plain.step.token_ids
        assert found.step.text == plain.step.text
    assert engine.stats.drafted >= engine.stats.accepted


def test_nothing_is_guessed_where_tokens_are_drawn(engine: LlamaEngine) -> None:
    here = engine.session("abacabadabacabaeabacabadabacaba" * 3)
    eager(here)
    here.generate(Text(max_tokens=60, sampling=Sampling(temperature=0.1, seed=3)))
    assert engine.stats.drafted == 0
    engine._loaded().prefixes.forget()
    here.generate(Text(max_tokens=60))
    assert engine.stats.drafted > 0


def test_what_repeats_is_read_in_fewer_batches(engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    here, choose = engine.session("x"), generate._Generation._choose
    said = engine._loaded().model.tokenise("one fine day in May " * 20)

    def taught(self: Any, logits: Any, mask: Any) -> Any:
        return choose(self, logits, mask)._replace(token=said[len(self._ids)])

    monkeypatch.setattr(generate._Generation, "_choose", taught)
    how = Text(max_tokens=200)
    here._loaded.drafting.is_on = False
    before = engine.stats.decodes
    here.generate(how)
    alone = engine.stats.decodes - before
    here._loaded.drafting.is_on = True
    eager(here)
    engine._loaded().prefixes.forget()
    before = engine.stats.decodes
    here.generate(how)
    assert engine.stats.accepted > 0
    assert engine.stats.decodes - before < alone


def test_branches_are_the_same_with_drafts(engine: LlamaEngine) -> None:
    here, how = engine.session("abcabcabc" * 5), Text(regex="(abc|abd){12}")
    here._loaded.drafting.is_on = False
    plain = [reply.step.text for reply in here.branch(4, how)]
    here._loaded.drafting.is_on = True
    eager(here)
    assert [reply.step.text for reply in here.branch(4, how)] == plain
