"""The clauses of what somebody asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.clauses import clauses


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("what colour is it, and find three", ("what colour is it", "find three")),
        ("What colour is it? Find three. Then stop!", ("What colour is it?", "Find three", "stop!")),
        ("look at a/b.png: what is it", ("look at a/b.png: what is it",)),
        ("read notes.txt and then count it", ("read notes.txt", "count it")),
        ("rock and roll", ("rock", "roll")),
        ("1,000 sheep at http://example.com:80/a.b", ("1,000 sheep at http://example.com:80/a.b",)),
        ("  ", ()),
        ("1) count them\n2) find 9 more", ("count them", "find 9 more")),
        ("two things:\n- look\n* find, too", ("two things:", "look", "find", "too")),
        ("the colour of a.png & 3 like it", ("the colour of a.png", "3 like it")),
        ("the size? + 3 like it / 2 others", ("the size?", "3 like it", "2 others")),
        ("3 + 5 and f(2) / 7", ("3 + 5", "f(2) / 7")),
        ("how big is it (and find five)", ("how big is it", "find five)")),
        ("how big is it - and find five", ("how big is it", "find five")),
        ("tell me (in short) why", ("tell me (in short) why",)),
        ("look at it. Also, count them", ("look at it", "count them")),
        ("I also like plums", ("I also like plums",)),
    ],
)
def test_where_they_end(text: str, told: tuple[str, ...]) -> None:
    assert clauses(text) == told


@given(st.text())
def test_they_are_pieces_of_the_text_in_its_order(text: str) -> None:
    at = 0
    for clause in clauses(text):
        assert clause == clause.strip() != ""
        at = text.index(clause, at) + len(clause)
