"""Captions read back, and how well they agree with the truth."""

from __future__ import annotations

import pytest

from agentkit_vision.world.parsing import answer_key, attribute_scores, attributes_of, said_pairs, same_answer

VOCABULARY = {
    "category": ("shoe", "bag", "mug", "shape"),
    "shape": ("circle", "cross", "none"),
    "colour": ("red", "white", "blue"),
    "size": ("small", "large"),
    "count": ("1", "2", "3"),
    "position": ("centre", "left", "spread"),
    "texture": ("plain", "striped", "dotted"),
    "background": ("white", "grey", "dark green"),
}
SHOE = {"category": "shoe", "shape": "none"}


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        ("three little red shoes on gray", {**SHOE, "colour": "red", "size": "small", "count": "3", "position": "spread", "texture": "plain", "background": "grey"}),
        ("A white mug with stripes, on a white background.", {"category": "mug", "shape": "none", "colour": "white", "count": "1", "texture": "striped", "background": "white"}),
        ("a white mug", {"category": "mug", "shape": "none", "colour": "white", "count": "1", "texture": "plain"}),
        ("2 big spotted crosses", {"category": "shape", "shape": "cross", "size": "large", "count": "2", "position": "spread", "texture": "dotted"}),
        ("a shoe in the middle, background dark green", {**SHOE, "count": "1", "position": "centre", "texture": "plain", "background": "dark green"}),
        ("a shoe on the left", {**SHOE, "count": "1", "position": "left", "texture": "plain"}),
        ("a red and blue bag", {"category": "bag", "shape": "none", "colour": "red", "count": "1", "texture": "plain"}),
        ("something red", {"colour": "red"}),
        ("", {}),
        ("the rederiving of shoestrings", {}),
    ],
)  # fmt: skip
def test_what_a_caption_says(caption: str, found: dict[str, str]) -> None:
    assert attributes_of(caption, VOCABULARY) == found


def test_attributes_of_a_users_own() -> None:
    own = {"label": ("Polar_Bear", "Ox"), "material": ("Ice", "Wool"), "lining": ("Wool", "Silk")}
    told = attributes_of("two oxen, no: a polar bear, lining wool, material ice", own)
    assert told == {"label": "Polar_Bear", "material": "Ice", "lining": "Wool"}
    assert attributes_of("an ox of wool", own) == {"label": "Ox", "material": "Wool", "lining": "Wool"}


def test_scores_by_hand() -> None:
    truth = {"category": "shoe", "shape": "none", "colour": "red", "position": "spread"}
    assert said_pairs(truth) == {("category", "shoe"), ("colour", "red")}
    scores = attribute_scores(
        [
            (truth, truth),  # two of two
            ({"category": "shoe", "colour": "blue"}, truth),  # one of two, one wrong
            ({"category": "bag"}, truth),  # none of two, one wrong
            ({"category": "shoe", "size": "large"}, truth),  # one of two, one made up
        ]
    )
    assert scores.pairs == 8
    assert scores.precision == pytest.approx(4 / 7)
    assert scores.recall == pytest.approx(4 / 8)
    assert scores.f1 == pytest.approx(2 * 4 / (7 + 8))
    assert scores.by_attribute == {"category": pytest.approx(2 * 3 / 8), "colour": pytest.approx(2 * 1 / 6)}


def test_scores_of_nothing() -> None:
    assert attribute_scores([]).f1 == 1.0
    silent = attribute_scores([({}, {"colour": "red"})])
    assert (silent.precision, silent.recall, silent.f1) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("said", "truth"),
    [("A shoe.", "shoe"), ("shoes", "shoe"), ("it's a shoe", "shoe"), ("3", "three"), ("gray", "grey"), ("on the left", "left"), ("Yes!", "yes"),
     ("crosses", "cross"), ("in the middle", "centre"), ("spotted", "dotted"), ("polar bears", "polar bear"), ("1", "one")],
)  # fmt: skip
def test_answers_that_are_the_same(said: str, truth: str) -> None:
    assert same_answer(said, truth)


@pytest.mark.parametrize(
    ("said", "truth"), [("red", "blue"), ("", "shoe"), ("red shoe", "red"), ("yes", "no"), ("2", "three")]
)
def test_answers_that_are_not(said: str, truth: str) -> None:
    assert not same_answer(said, truth)


def test_a_key_is_its_own_key() -> None:
    for text in ("A shoe.", "3", "it is on the left", "the", "crosses"):
        assert answer_key(answer_key(text)) == answer_key(text)
