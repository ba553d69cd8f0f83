"""Captions and questions from labels."""

from __future__ import annotations

import re
from collections import Counter
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit_vision.world.parsing import attributes_of
from agentkit_vision.world.queries import change, query
from agentkit_vision.world.templates import CHOICE, OPEN, YES_NO
from agentkit_vision.world.wording import FORMS, answer_of, asked_about, canonical, caption, question, questions
from agentkit_vision.world.words import plural, singular, with_article

CATEGORIES = ("shoe", "bag", "hat", "mug", "shirt", "bottle", "lamp", "chair")
SHAPES = ("circle", "square", "triangle", "star", "diamond", "ring", "cross", "heart")
VOCABULARY = {
    "category": (*CATEGORIES, "shape"),
    "shape": (*SHAPES, "none"),
    "colour": ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"),
    "size": ("small", "medium", "large"),
    "count": ("1", "2", "3", "4"),
    "position": ("centre", "left", "right", "top", "bottom", "spread"),
    "texture": ("plain", "striped", "dotted", "checked"),
    "background": ("white", "grey", "black"),
}
SHOE = {
    "category": "shoe", "shape": "none", "colour": "red", "size": "small", "count": "1", "position": "left", "texture": "striped",
    "background": "white",
}  # fmt: skip
STARS = {**SHOE, "category": "shape", "shape": "star", "count": "3", "position": "spread", "texture": "plain"}
OWN = {"label": "Polar_Bear", "material": "Ice", "number": "1"}
OWN_VOCABULARY = {"label": ("Polar_Bear", "Ox"), "material": ("Ice", "Wool"), "number": ("1", "2")}


@st.composite
def scenes(draw: st.DrawFn) -> dict[str, str]:
    """Labels as the rendered shop has them."""
    told = {name: draw(st.sampled_from(values)) for name, values in VOCABULARY.items()}
    kind = draw(st.sampled_from((*CATEGORIES, *SHAPES)))
    told |= {"category": kind, "shape": "none"} if kind in CATEGORIES else {"category": "shape", "shape": kind}
    place = draw(st.sampled_from(VOCABULARY["position"][:-1]))
    return {**told, "position": place if told["count"] == "1" else "spread"}


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (SHOE, "a small striped red shoe, left, on white"),
        (STARS, "three small red stars, on white"),
        ({**SHOE, "size": "large", "colour": "orange", "texture": "plain"}, "a large orange shoe, left, on white"),
        ({"colour": "orange", "category": "hat"}, "an orange hat"),
        ({"category": "mixed", "colour": "mixed", "count": "2"}, "two things"),
        (OWN, "a polar bear, material ice"),
        ({"material": "wood"}, "a thing, material wood"),
        ({"category": "bag", "brand": "acme", "type": "tote"}, "a bag, brand acme, type tote"),
    ],
)
def test_the_canonical_caption(labels: dict[str, str], told: str) -> None:
    assert canonical(labels) == told


@given(scenes(), st.integers(0, 2**31), st.integers(0, 2**31))
@settings(max_examples=300)
def test_every_wording_of_a_caption_says_all_labels_and_nothing_else(
    labels: dict[str, str], seed: int, index: int
) -> None:
    assert attributes_of(canonical(labels), VOCABULARY) == labels
    assert attributes_of(caption(labels, seed=seed, index=index), VOCABULARY) == labels


def test_captions_are_many_and_the_same_for_the_same_seed() -> None:
    told = [caption(SHOE, seed=1, index=n) for n in range(300)]
    assert told == [caption(SHOE, seed=1, index=n) for n in range(300)]
    assert len(set(told)) > 150
    assert told != [caption(SHOE, seed=2, index=n) for n in range(300)]


@given(scenes(), st.integers(0, 2**31), st.sampled_from(["train", "test"]))
def test_questions_are_whole_true_and_do_not_tell_the_answer(labels: dict[str, str], index: int, split: str) -> None:
    asked = questions(labels, VOCABULARY, seed=0, index=index, split=split)  # type: ignore[arg-type]
    assert {one.attribute for one in asked} == set(asked_about(labels))
    assert len(asked) == len(FORMS) * len(asked_about(labels))
    for one in asked:
        assert "{" not in one.text
        assert one.answer == one.answer.lower()
        words = re.findall(r"\w+", one.text.lower())
        if one.form == "open":
            assert one.answer == answer_of(labels, one.attribute)
            assert one.answer not in words or words[:2] == ["how", "large"]  # asked of small things as well
        if one.form == "choice":
            assert one.answer in words
        if one.form == "yes_no":
            assert one.answer in ("yes", "no")
    assert asked == questions(labels, VOCABULARY, seed=0, index=index, split=split)  # type: ignore[arg-type]


def test_a_count_is_asked_for_in_the_plural_whatever_it_is() -> None:
    for split in ("train", "test"):
        one = {question(SHOE, VOCABULARY, "count", seed=0, index=n, split=split).text for n in range(400)}
        three = {
            question({**SHOE, "count": "3"}, VOCABULARY, "count", seed=0, index=n, split=split).text for n in range(400)
        }
        assert one == three


@pytest.mark.parametrize("attribute", [name for name in VOCABULARY if name != "shape"])
def test_yes_is_the_answer_to_half_and_says_so_truly(attribute: str) -> None:
    asked = [question(SHOE, VOCABULARY, attribute, form="yes_no", seed=3, index=n) for n in range(600)]
    assert 240 < Counter(one.answer for one in asked)["yes"] < 360
    truth = {"count": "one|single", "position": "left", "category": "shoe"}.get(attribute, SHOE[attribute])
    for one in asked:
        assert (one.answer == "yes") == bool(re.search(rf"\b({truth})\b", one.text.lower())), one.text


def test_training_and_testing_have_no_wording_in_common() -> None:
    for forms in (OPEN, YES_NO, CHOICE):
        train = {text for found in forms.values() for text in found.train}
        assert train.isdisjoint(text for found in forms.values() for text in found.test)
    asked = {
        split: {
            question(labels, VOCABULARY, name, form=form, seed=0, index=n, split=split).text.lower().strip("?.")
            for labels, n in product((SHOE, STARS), range(60))
            for name in asked_about(labels)
            for form in FORMS
        }
        for split in ("train", "test")
    }
    assert asked["train"].isdisjoint(asked["test"])


def test_attributes_of_a_users_own_are_asked_about_too() -> None:
    asked = questions(OWN, OWN_VOCABULARY, seed=0, index=4)
    assert {(one.attribute, one.answer) for one in asked if one.form == "open"} == {
        ("label", "polar bear"),
        ("material", "ice"),
        ("number", "one"),
    }
    texts = {question(OWN, OWN_VOCABULARY, "material", seed=0, index=n).text.lower().strip("?.") for n in range(200)}
    assert {"what is the material", "what material does the polar bear have"} <= texts
    choices = {question(OWN, OWN_VOCABULARY, "label", form="choice", seed=0, index=n).text.lower() for n in range(200)}
    assert any("an ox or a polar bear" in text for text in choices)


def test_what_has_no_other_value_is_asked_about_openly_only() -> None:
    asked = questions({"label": "cat"}, {"label": ("cat",)}, seed=0, index=0)
    assert [(one.form, one.answer) for one in asked] == [("open", "cat")]


@given(scenes(), st.integers(0, 2**31), st.sampled_from(["train", "test"]))
def test_queries_say_what_they_want(labels: dict[str, str], index: int, split: str) -> None:
    found = query(labels, seed=0, index=index, split=split)  # type: ignore[arg-type]
    assert found.wanted
    assert found.wanted.items() <= labels.items()
    read = attributes_of(found.text, VOCABULARY)
    assert found.wanted.items() <= read.items()
    wish = change(labels, VOCABULARY, seed=0, index=index, split=split)  # type: ignore[arg-type]
    ((name, value),) = wish.changed.items()
    assert labels[name] != value
    assert wish.wanted == {**labels, name: value}
    assert attributes_of(wish.text, VOCABULARY)[name] == value
    assert wish.count is None or wish.text.split().count(["two", "three", "four", "five"][wish.count - 2]) == 1


def test_a_picture_of_which_nothing_could_be_changed() -> None:
    with pytest.raises(ValueError, match="no attribute"):
        change({"label": "cat"}, {"label": ("cat",)}, seed=0, index=0)


@pytest.mark.parametrize(
    ("one", "many"),
    [("shoe", "shoes"), ("cross", "crosses"), ("box", "boxes"), ("berry", "berries"), ("key", "keys"), ("brush", "brushes"),
     ("polar bear", "polar bears"), ("person", "people"), ("sheep", "sheep"), ("torch", "torches")],
)  # fmt: skip
def test_plurals(one: str, many: str) -> None:
    assert plural(one) == many
    assert singular(many) == one
    assert singular(one) == one


def test_articles() -> None:
    assert [with_article(word) for word in ("orange hat", "mug", "ox", "unit", "umbrella")][:3] == [
        "an orange hat",
        "a mug",
        "an ox",
    ]
