"""The benchmark of training in words: what counts, and one request through the real program."""

from __future__ import annotations

import pytest

from benchmarks import sprout_tasks
from benchmarks.asking import Asked
from benchmarks.training_words import ask_all


def test_only_all_of_it_counts() -> None:
    known = {"id": "x", "request": "y"}
    assert Asked(**known, called=True, ran=True, told=True).right
    assert not Asked(**known, called=True, ran=True, told=False).right
    assert not Asked(**known, called=False, ran=True, told=True).right


def test_the_twenty_are_none_of_those_that_words_were_chosen_by() -> None:
    twenty = [row["request"] for row in sprout_tasks.lines("training.jsonl")]
    seen = {row["request"].casefold() for row in sprout_tasks.lines("training_development.jsonl")}
    assert len(set(twenty)) == 20
    assert not seen & {request.casefold() for request in twenty}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_first_of_them_is_done() -> None:
    pytest.importorskip("trl")
    (asked,) = ask_all(["train-01"])
    assert asked.right, asked
