"""Vectors of texts: of length 1, in order, and the same whatever is embedded beside them."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from agentkit.engine.llama import LlamaEngine
from agentkit.engine.llama.embedding import SIDE_BY_SIDE, TOKENS
from agentkit.engine.llama.sessions import Text
from agentkit.errors import ContextFull, EngineError

TEXTS = ["one", "another text", "ganz etwas anderes", "東京 🌍", "<end><user>", " ", "x" * 300]


def test_vectors_have_length_one(engine: LlamaEngine) -> None:
    vectors = np.asarray(engine.embed(TEXTS))
    assert vectors.shape == (len(TEXTS), 64)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-6)


def test_the_same_text_has_the_same_vector(engine: LlamaEngine) -> None:
    one, other, again = engine.embed(["a text", "a test", "a text"])
    assert one == pytest.approx(again, abs=1e-3)
    assert engine.embed(["a text"])[0] == pytest.approx(one, abs=1e-3)
    assert np.dot(one, other) < 0.999


def test_a_batch_equals_each_alone(engine: LlamaEngine) -> None:
    texts = [*TEXTS, *(f"text number {n} of many" for n in range(2 * SIDE_BY_SIDE)), "y" * TOKENS, "last"]
    together = engine.embed(texts)
    for text, vector in zip(texts, together, strict=True):  # the order is kept, too
        assert engine.embed([text])[0] == pytest.approx(vector, abs=1e-3), text[:20]
    back = engine.embed(texts[::-1])[::-1]
    assert np.abs(np.asarray(back) - np.asarray(together)).max() < 1e-3


def test_texts_do_not_see_each_other(engine: LlamaEngine) -> None:
    alone = engine.embed(["the one that is looked at"])[0]
    for beside in ("short", "a longer one " * 40):
        assert engine.embed([beside, "the one that is looked at", beside])[1] == pytest.approx(alone, abs=1e-3)


def test_an_empty_text_has_no_direction(engine: LlamaEngine) -> None:
    assert engine.embed([]) == []
    assert engine.embed([""]) == [[0.0] * 64]
    first, empty, second = engine.embed(["one", "", "two"])
    assert empty == [0.0] * 64
    assert (first, second) == (
        pytest.approx(engine.embed(["one"])[0], abs=1e-3),
        pytest.approx(engine.embed(["two"])[0], abs=1e-3),
    )


def test_too_long_a_text_is_refused_by_its_number(engine: LlamaEngine) -> None:
    assert len(engine.embed(["x" * TOKENS])) == 1
    with pytest.raises(ContextFull, match=f"text 1 has {TOKENS + 1} tokens"):
        engine.embed(["fine", "x" * (TOKENS + 1)])
    assert np.linalg.norm(engine.embed(["fine"])[0]) == pytest.approx(1.0)  # and the next is


def test_the_context_of_texts_is_left_alone(tiny: Path) -> None:
    with LlamaEngine(tiny, context=256, threads=1, live=2) as engine:
        session = engine.session("a place to go on from")
        expected = session.generate(Text(max_tokens=10)).step
        before = engine.stats
        engine.embed(["something", "x" * 500])  # more than the other context has
        assert engine.stats == before
        assert session.generate(Text(max_tokens=10)).step == expected


def test_callers_take_turns(tiny: Path) -> None:
    with LlamaEngine(tiny, context=256, threads=1, live=2) as engine:
        expected = {text: engine.embed([text])[0] for text in TEXTS}
        wrong: list[str] = []

        def work() -> None:
            for text in TEXTS * 5:
                if engine.embed([text])[0] != pytest.approx(expected[text], abs=1e-3):
                    wrong.append(text)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
        assert wrong == []
    with pytest.raises(EngineError, match="closed"):
        engine.embed(["x"])
