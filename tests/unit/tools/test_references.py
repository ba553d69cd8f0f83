"""`$N` is result N where it is meant to be, and a price where it is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.tools import resolve_references
from agentkit.tools.references import result_of
from agentkit.types import ToolRules, ToolSpec

SPEC = ToolSpec(
    name="calculator", description="", parameters={"type": "object"}, rules=ToolRules(references=("expression",))
)


def resolved(text: str, *results: str) -> str:
    return str(resolve_references({"expression": text}, SPEC, results)["expression"])


@pytest.mark.parametrize(
    ("text", "results", "expected"),
    [
        ("$1", ["30"], "30"),
        (" $1 ", ["a\nb (c"], "a\nb (c"),
        ("sum($1)", ["3\n4\n5"], "sum(3\n4\n5)"),
        ("sum( $2 ) / 2", ["x", "3\n4"], "sum( 3\n4 ) / 2"),
        ("$1 + $2", ["10", "-2.5"], "10 + -2.5"),
        ("15% of $1", ["200"], "15% of 200"),
        ("$1 times 3", ["4"], "4 times 3"),
        ("$1 * 2", ["3 + 4"], "(3 + 4) * 2"),
        ("sum($1)", ["1) 3\n2) 4"], "sum(1  3\n2  4)"),  # a bracket in the text does not end the call
        ("sum($1, $1)", ["5"], "sum(5, 5)"),
    ],
)
def test_references_are_replaced(text: str, results: list[str], expected: str) -> None:
    assert resolved(text, *results) == expected


@pytest.mark.parametrize(
    "text",
    [
        "$2",
        "sum($2)",
        "$0",
        "It costs $1 a piece",
        "$1.50 + 2",
        "$1,000",
        "$10 + 1",
        "US$1",
        "$$1",
        "$1x",
        "$-1",
        "$ 1",
    ],
)
def test_what_is_no_reference_stays(text: str) -> None:
    assert resolved(text, "99") == text


def test_only_the_named_arguments_take_references() -> None:
    arguments = {"expression": "$1", "path": "$1", "n": 3}
    assert resolve_references(arguments, SPEC, ["x"]) == {"expression": "x", "path": "$1", "n": 3}


def test_past_sixteen_a_number_means_the_latest_of_that_number() -> None:
    results = [f"r{n}" for n in range(1, 36)]
    assert result_of(1, results) == "r33"
    assert result_of(3, results) == "r35"
    assert result_of(4, results) == "r20"
    assert result_of(16, results) == "r32"
    assert result_of(1, results[:16]) == "r1"


@given(st.text(max_size=60), st.lists(st.text(max_size=20), max_size=3))
def test_texts_without_a_reference_never_change(text: str, results: list[str]) -> None:
    text = text.replace("$", "")
    assert resolved(text, *results) == text
