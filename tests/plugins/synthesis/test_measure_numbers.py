"""Intervals, labels saved at equal accuracy, tokens and answers: by hand, and by property."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.errors import InvalidParams
from agentkit_synthesis.measure.equal import labels_needed, labels_saved
from agentkit_synthesis.measure.intervals import difference, mean
from agentkit_synthesis.measure.measuring import labels_seen
from agentkit_synthesis.measure.params import MeasureParams
from agentkit_synthesis.measure.problems import answered
from agentkit_synthesis.measure.tables import markdown, share, signed
from agentkit_synthesis.measure.tokens import SPECIAL, Tokenizer

COUNTS = (10, 100, 1000)


def test_mean_and_interval_by_hand() -> None:
    found = mean([0.8, 0.9, 1.0])
    assert found["mean"] == pytest.approx(0.9)
    half = 4.302653 * 0.1 / math.sqrt(3)  # t of two degrees of freedom at 97.5 %
    assert found["interval"] == pytest.approx([0.9 - half, 0.9 + half], abs=1e-5)
    assert difference([0.9, 0.8, 0.7], [0.8, 0.6, 0.7])["mean"] == pytest.approx(0.1)


def test_few_seeds_and_equal_values_have_no_interval() -> None:
    assert mean([0.5, 0.7])["interval"] is None
    assert mean([0.5, 0.7])["too_few"] == 2
    assert mean([0.5] * 5)["interval"] is None
    assert share(mean([0.5] * 5)) == "50.0 % (all seeds alike)"
    assert signed(mean([0.5, 0.7])) == "+60.0 (too few seeds: 2 of 3)"
    assert signed(None) == "-"


def test_labels_needed_by_hand() -> None:
    assert labels_needed(COUNTS, (0.5, 0.7, 0.9), 0.8) == pytest.approx(math.sqrt(100 * 1000))
    assert labels_needed(COUNTS, (0.5, 0.7, 0.9), 0.7) == pytest.approx(100)
    assert labels_needed(COUNTS, (0.5, 0.7, 0.9), 0.4) == 10
    assert labels_needed(COUNTS, (0.5, 0.7, 0.9), 0.91) == math.inf
    assert labels_needed(COUNTS, (0.7, 0.5, 0.9), 0.6) == 10  # what was reached once stays reached
    assert labels_needed(COUNTS, (0.5, 0.5, 0.9), 0.5) == 10


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_target_never_needs_fewer_labels(curve: list[float], one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert labels_needed(COUNTS, curve, low) <= labels_needed(COUNTS, curve, high)
    assert labels_needed(COUNTS, curve, low) >= 10


@given(st.integers(1, 10), st.lists(st.floats(0, 1), min_size=9, max_size=9))
def test_what_real_labels_alone_reach_saves_none(seed: int, values: list[float]) -> None:
    """Helping by nothing: the point of the curve itself never needs more labels than it has."""
    curve = np.array(values).reshape(3, 3)
    for place, labels in enumerate(COUNTS):
        found = labels_saved(COUNTS, curve, labels, curve[place], seed=seed, samples=50)
        assert found["saved"] <= 0.1
        assert found["interval"][1] <= 0.1
        assert not found["at_least"]


def test_labels_saved_by_hand_with_its_interval() -> None:
    curve = np.array([[0.5] * 4, [0.7] * 4, [0.9] * 4])
    found = labels_saved(COUNTS, curve, 10, np.array([0.7] * 4))
    assert (found["needed"], found["saved"], found["interval"]) == (100, 90, [90, 90])
    spread = labels_saved(COUNTS, curve, 10, np.array([0.6, 0.65, 0.75, 0.8]))
    assert spread["saved"] == 90
    assert spread["interval"][0] < 90 < spread["interval"][1]


def test_beyond_all_the_real_labels_only_so_many_are_saved_at_least() -> None:
    curve = np.array([[0.5] * 3, [0.7] * 3, [0.9] * 3])
    found = labels_saved(COUNTS, curve, 100, np.array([0.95] * 3))
    assert (found["needed"], found["saved"], found["at_least"], found["ends_beyond"]) == (None, 900, True, True)
    assert found["interval"] == [900, 900]
    assert labels_saved(COUNTS, curve[:, :2], 100, np.array([0.8] * 2))["interval"] is None


def test_labels_of_the_generator_are_found_wherever_the_manifest_says() -> None:
    assert labels_seen({"model": {"about": {"labelled": 143}}}) == 143
    assert labels_seen({"labelled": 7, "model": {"labelled": 143}}) == 7
    assert labels_seen({"labelled": True}) is None
    assert labels_seen({}) is None


@given(st.text(max_size=60))
def test_a_tokenizer_gives_back_the_texts_it_was_made_of(text: str) -> None:
    words = Tokenizer([text, "What is 12 + 7 * 6?"])
    assert words.decode(words.encode(text)) == text
    assert all(number >= len(SPECIAL) for number in words.encode(text))


def test_numbers_are_read_digit_by_digit_and_words_whole() -> None:
    words = Tokenizer(["add 12 apples", "add 34 apples"])
    assert [words.pieces[number] for number in words.encode("add 43 apples")] == ["add", " ", "4", "3", " apples"]
    assert [words.pieces[number] for number in words.encode("sad?")] == ["s", "a", "d", "<unknown>"]


def test_answers_are_what_follows_the_last_mark() -> None:
    assert answered("1 + 1 = 2\nAnswer: 3\nAnswer:  2 km ") == "2 km"
    assert answered("2") == ""


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"curve": [0.1, 0.5]}, "/curve: it has to end at 1"),
        ({"shares": [0.0]}, "/shares/0: "),
        ({"student": ["forest"]}, "/student/0: "),
        ({"epochs": 3}, "/epochs: no such parameter"),
    ],
)
def test_parameters_that_are_off_are_named(params: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidParams, match=told):
        MeasureParams.parse({"data": Path("x"), "out": Path("y"), **params})


def test_markdown_is_a_table() -> None:
    assert markdown([{"a": "1", "b": "2"}]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
