"""The benchmark of grounded arguments measures what it says."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from agentkit.literals import literals
from benchmarks import grounding

SMALL = replace(grounding.SHAPE, vocab=600)


def test_texts_are_new_long_and_full_of_names() -> None:
    found = list(itertools.islice(grounding.texts(8000), 4))
    assert len(set(found)) == 4
    for text in found:
        assert len(text) == 8000
        for mark in ("/srv/", "https://", "@", '"'):
            assert mark in text
        assert 200 < len(literals(text)) < 1500
    assert found == list(itertools.islice(grounding.texts(8000), 4))


def test_what_was_seen_before_is_quicker() -> None:
    cold, cached, grown = grounding.measure(8, SMALL)
    assert (cold.id, cached.id, grown.id) == ("grounding-cold", "grounding-cached", "grounding-grown")
    assert cold.n == 8
    assert cold.value > 3 * cached.value
    assert (cold.target, cached.target) == (5.0, 0.2)


def test_an_interval_of_a_median() -> None:
    row = grounding.median("x", "x", [float(n) for n in range(100)])
    assert row.value == 49.5
    assert row.interval == (40.0, 59.0)


def test_the_command_prints_rows(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grounding, "SHAPE", SMALL)
    monkeypatch.setattr(grounding.measure, "__defaults__", (SMALL,))
    assert grounding.main(["--times", "2"]) == 0
    assert "grounding-grown" in capsys.readouterr().out
