"""The words that the text tower knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.errors import ModelFileError, ModelNotFound, UsageError
from agentkit_vision.nn.words import NUMBERS, PADDING, UNKNOWN, Words, split

WORDS = Words(("shoe", "red", "three"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A red SHOE, on grey!", ["a", "red", "shoe", "on", "grey"]),
        ("3 mugs", ["three", "mugs"]),
        ("20 or 21 mugs", ["twenty", "or", "21", "mugs"]),
        ("007", ["007"]),
        ("t-shirt", ["t", "shirt"]),
        ("Don't / don\N{RIGHT SINGLE QUOTATION MARK}t", ["don't", "don't"]),
        ("'quoted'", ["quoted"]),
        ("Crème brûlée", ["crème", "brûlée"]),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER R}ed snake_case 2x", ["red", "snake", "case", "two", "x"]),
        ("", []),
        (" ?! ", []),
    ],
)
def test_how_texts_are_split(text: str, words: list[str]) -> None:
    assert split(text) == words


@given(st.text())
def test_words_split_into_themselves(text: str) -> None:
    words = split(text)
    assert split(" ".join(words)) == words
    assert Words.build([text]).unknown(text) == []


def test_ids() -> None:
    assert (PADDING, UNKNOWN) == (0, 1)
    assert len(WORDS) == 5
    assert WORDS.encode("three red shoes, 3 RED shoe") == [4, 3, UNKNOWN, 4, 3, 2]
    assert WORDS.unknown("3 shiny red boots, shiny") == ["shiny", "boots"]
    assert WORDS.unknown("3 red") == []


def test_what_comes_with_an_apostrophe_is_known_by_what_is_before_it() -> None:
    words = Words(("what's", "what", "shoe"))
    assert words.encode("what's the shoe’s colour") == [2, 1, 4, 1]
    assert words.unknown("What's the shoe's or hat's") == ["the", "or", "hat's"]


def test_a_vocabulary_is_built_from_what_is_frequent() -> None:
    built = Words.build(["red shoe", "red mug", "shoe", "a hat"], least=2)
    assert built.words[:2] == ("red", "shoe")
    assert set(built.words) == {"red", "shoe", *NUMBERS}
    assert built == Words.build(["a hat", "shoe", "red mug", "red shoe"], least=2)
    assert Words.build(["two two two a"]).words[:2] == ("two", "a")
    assert Words.build(["2 mugs"]).encode("two") == Words.build(["2 mugs"]).encode("2") != [UNKNOWN]


def test_a_batch_is_filled_up_with_padding() -> None:
    ids = WORDS.batch(["red shoe", "", "red green shoe"], length=8)
    assert ids.dtype == np.int64
    assert ids.tolist() == [[3, 2, 0], [0, 0, 0], [3, 1, 2]]
    assert WORDS.batch([""], length=8).tolist() == [[0]]
    assert WORDS.batch([], length=8).shape == (0, 1)


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'red red red': 3 words, and the model reads at most 2"):
        WORDS.batch(["red", "red red red"], length=2)


@given(st.lists(st.text(), max_size=5))
def test_saved_and_loaded_they_are_the_same(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("words") / "new" / "words.json"
    built = Words.build(texts)
    built.save(path)
    again = Words.load(path)
    assert again == built
    assert all(again.encode(text) == built.encode(text) for text in texts)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not JSON"),
        ("[]", "not a vocabulary"),
        ('{"words": [1]}', "not a vocabulary"),
        ('{"words": ["red", "red"]}', "red is there more than once"),
        ('{"words": ["Red"]}', "'Red' is not a word as texts are split"),
        ('{"words": ["3"]}', "'3' is not a word as texts are split"),
    ],
)
def test_what_is_no_vocabulary_is_refused(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "words.json"
    path.write_text(text)
    with pytest.raises(ModelFileError, match=complaint):
        Words.load(path)


def test_a_missing_vocabulary_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"words\.json: there is no such file"):
        Words.load(tmp_path / "words.json")
