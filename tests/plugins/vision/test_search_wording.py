"""What a query's words ask for and refuse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit_vision.search.wording import beside, content, read_query
from tests.plugins.vision.search_toys import ATTRIBUTES

COUNTED = {**ATTRIBUTES, "count": ("one", "two", "three")}


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("red shoes like this photo", {"colour": ("red",), "category": ("shoe",)}),
        ("RED  Shoe!", {"colour": ("red",), "category": ("shoe",)}),
        ("like this but blue", {"colour": ("blue",)}),
        ("the same in blue or green, please", {"colour": ("blue", "green")}),
        ("a bag with polka-dots", {"category": ("bag",), "pattern": ("polka dots",)}),
        ("a bag with polka dot", {"category": ("bag",), "pattern": ("polka dots",)}),
        ("gray hats", {"colour": ("grey",), "category": ("hat",)}),
        ("red and red", {"colour": ("red",)}),
        ("something similar", {}),
        ("redder", {}),
        ("", {}),
    ],
)
def test_values_are_found_in_their_forms(text: str, asked: Mapping[str, Sequence[str]]) -> None:
    found = read_query(text, ATTRIBUTES)
    assert (found.asked, found.refused) == (asked, {})


@pytest.mark.parametrize(
    ("text", "asked", "refused"),
    [
        ("shoes but not red", {"category": ("shoe",)}, {"colour": ("red",)}),
        ("shoes without stripes", {"category": ("shoe",)}, {"pattern": ("stripes",)}),
        ("no red or blue", {}, {"colour": ("red", "blue")}),
        ("not red, but blue", {"colour": ("blue",)}, {"colour": ("red",)}),
        ("blue instead of red", {"colour": ("blue",)}, {"colour": ("red",)}),
        ("a hat other than grey with stripes", {"category": ("hat",), "pattern": ("stripes",)}, {"colour": ("grey",)}),
        ("this, except for red", {}, {"colour": ("red",)}),
    ],
)
def test_what_is_refused_is_told_apart(text: str, asked: object, refused: object) -> None:
    found = read_query(text, ATTRIBUTES)
    assert (found.asked, found.refused, found.unknown) == (asked, refused, ())


def test_what_is_wanted_is_the_text_without_what_is_refused() -> None:
    found = read_query("a red shoe without laces or stripes, on a table", ATTRIBUTES)
    assert found.wanted == "a red shoe, on a table"
    assert found.unwanted == ("laces",)
    assert found.unknown == ("laces", "table")


def test_a_number_is_a_count_and_a_pronoun_is_none() -> None:
    assert read_query("one red shoe", COUNTED).asked["count"] == ("one",)
    assert read_query("two shoes", COUNTED).asked["count"] == ("two",)
    assert "count" not in read_query("like this but a blue one", COUNTED).asked
    assert "count" not in read_query("a blue one with stripes", COUNTED).asked


@pytest.mark.parametrize(
    "text", ["three like it but red", "3 similar to it, only red", "find two others in red", "four red ones like this"]
)
def test_how_many_are_wanted_is_no_count(text: str) -> None:
    assert read_query(text, COUNTED).asked == {"colour": ("red",)}


def test_another_value_is_asked_for_by_its_attribute() -> None:
    assert read_query("in other colors", ATTRIBUTES).other == ("colour",)
    assert read_query("different categories, another pattern", ATTRIBUTES).other == ("category", "pattern")
    assert read_query("the other one, same colour", ATTRIBUTES).other == ()
    reading = read_query("another colour, not grey", ATTRIBUTES)
    assert beside(reading, {"colour": "red", "category": "bag"}).refused == {"colour": ("grey", "red")}
    assert beside(reading, {}) == reading


def test_except_refuses_but_beside_a_photo_it_asks() -> None:
    for text in ("except blue", "the same except for blue ones", "like it, except that it is blue"):
        assert read_query(text, ATTRIBUTES).refused == {"colour": ("blue",)}
        assert read_query(text, ATTRIBUTES, photo=True).asked == {"colour": ("blue",)}


def test_nouns_and_comparatives_stand_for_their_values() -> None:
    patterns = {"texture": ("striped", "dotted", "checked", "plain"), "size": ("small", "large"), "colour": ("red",)}
    asked = read_query("with stripes, dots and checks, larger and redder", patterns).asked
    assert asked == {"texture": ("striped", "dotted", "checked"), "size": ("large",)}
    assert read_query("without dots", patterns).refused == {"texture": ("dotted",)}


def test_an_encoder_without_attributes_knows_no_unknown_words() -> None:
    found = read_query("a dog without a leash", {})
    assert (found.asked, found.refused, found.unknown) == ({}, {}, ())
    assert (found.wanted, found.unwanted) == ("a dog", ("leash",))


@pytest.mark.parametrize(
    ("said", "like", "k", "told"),
    [
        ("something like this one, please", None, None, ""),
        ("something like this dog", None, None, "dog"),
        ("find three like it but blue", "photo.png", 3, "blue"),
        ("show me 4 pictures that look like a/photo.png.", "a/photo.png", 4, ""),
        ("photo.png: I want two similar bags that are striped", "photo.png", 2, "bags that are striped"),
        ("six red umbrellas", None, 6, "red umbrellas"),
        ("find 3 with two hats", "photo.png", 3, "with two hats"),
        (
            "can you turn up three hats like it, two of them green",
            "photo.png",
            3,
            "turn up hats like it, two of them green",
        ),
        ("like photo.png except that they are blue", "photo.png", None, "except that they are blue"),
        ("shoes except blue ones", None, None, "shoes except blue"),
        ("two hats", None, None, "two hats"),
        ("find fifteen hats", None, 15, "hats"),
        ("find 3", None, None, ""),
        ("but not red", "photo.png", 3, "but not red"),
        ("like it, without stripes", "photo.png", None, "without stripes"),
        ("in another colour", "photo.png", 2, "in another colour"),
        ("find another like this", "photo.png", None, ""),
        ("in any colour other than red", None, None, "in any colour other than red"),
        ("other than red", None, None, "other than red"),
        ("(but blue)", None, None, "blue"),
        ("looking up at the sky", None, None, "looking up at the sky"),
        ("a man looking up", None, None, "a man looking up"),
        ("find a man looking up, please", None, None, "a man looking up"),
        ("", None, None, ""),
    ],
)
def test_of_a_request_what_says_what_is_kept(said: str, like: str | None, k: int | None, told: str) -> None:
    assert content(said, like=like, k=k) == told


@given(st.text(max_size=60), st.none() | st.integers(-2, 100))
def test_what_is_kept_is_a_stretch_of_it_and_is_kept_again(said: str, k: int | None) -> None:
    kept = content(said, k=k)
    assert kept in " ".join(said.split())
    assert content(kept) == kept


@given(st.text(max_size=60))
def test_any_text_is_read(text: str) -> None:
    found = read_query(text, ATTRIBUTES)
    for name, values in [*found.asked.items(), *found.refused.items()]:
        assert set(values) <= set(ATTRIBUTES[name])
        assert len(set(values)) == len(values)
