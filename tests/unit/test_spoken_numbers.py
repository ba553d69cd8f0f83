"""Numbers written out: every one that is said is read back, and nothing else is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.literals import is_grounded
from agentkit.spoken_numbers import spoken_numbers

UNITS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
TENS = ["", "-", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def said(n: int, joined: bool, hyphen: str) -> str:
    """The other way round, written as school teaches it."""
    for scale, word in ((1_000_000, "million"), (1_000, "thousand"), (100, "hundred")):
        if n >= scale:
            rest = n % scale
            and_ = " and" if joined and 0 < rest < 100 else ""
            return f"{said(n // scale, joined, hyphen)} {word}" + (
                f"{and_} {said(rest, joined, hyphen)}" if rest else ""
            )
    if n >= 20:
        return TENS[n // 10] + (hyphen + UNITS[n % 10] if n % 10 else "")
    return UNITS[n]


@given(st.integers(0, 999_999_999), st.booleans(), st.sampled_from(" -"))
def test_what_is_said_is_read(n: int, joined: bool, hyphen: str) -> None:
    assert spoken_numbers(f"make {said(n, joined, hyphen)} of them") == (n,)


@given(st.lists(st.integers(0, 2_000), min_size=1, max_size=5))
def test_several_are_told_apart(numbers: list[int]) -> None:
    assert spoken_numbers(", ".join(said(n, False, "-") for n in numbers)) == tuple(numbers)


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    assert all(n >= 0 for n in spoken_numbers(text))


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("a hundred pictures", (100,)),
        ("a thousand and one nights", (1001,)),
        ("a picture and two more", (2,)),
        ("five hundred training examples", (500,)),
        ("Two Hundred red circles", (200,)),
        ("the hundred", ()),
        ("someone, anyone, often", ()),
        ("one two three", (1, 2, 3)),
        ("200 and 5", ()),
    ],
)
def test_in_sentences(text: str, numbers: tuple[int, ...]) -> None:
    assert spoken_numbers(text) == numbers


def test_a_number_that_was_said_is_grounded_as_digits() -> None:
    assert is_grounded("200", ["make two hundred images"])
    assert not is_grounded("100", ["make two hundred images"])
    assert not is_grounded("20", ["make two hundred images"])


@pytest.mark.parametrize(
    "text", ["the one in the corner", "that one", "which one is it", "the same one", "this one and any one"]
)
def test_one_that_points_is_no_number(text: str) -> None:
    assert spoken_numbers(text) == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [("the one hundred", (100,)), ("one of the two", (1, 2)), ("add one", (1,)), ("the twenty-one", (21,))],
)
def test_one_that_counts_is(text: str, told: tuple[int, ...]) -> None:
    assert spoken_numbers(text) == told
