"""The benchmark of synthesis in words: what counts, and one request through the real program."""

from __future__ import annotations

import pytest

from benchmarks import sprout_tasks
from benchmarks.synth_words import EXAMPLES, IMAGES, Wish, ask_all


@pytest.mark.parametrize("wish", [EXAMPLES, IMAGES], ids=lambda wish: wish.id)
def test_the_twenty_are_none_of_those_that_words_were_chosen_by(wish: Wish) -> None:
    twenty = [row["request"] for row in sprout_tasks.lines(wish.file)]
    seen = {row["request"].casefold() for row in sprout_tasks.lines("synth_development.jsonl")}
    assert len(set(twenty)) == 20
    assert not seen & {request.casefold() for request in twenty}


@pytest.mark.parametrize(
    ("wish", "arguments", "right"),
    [
        (IMAGES, {"what": "red circles", "count": 200}, True),
        (IMAGES, {"what": "labelled images of red circles", "count": 200}, True),
        (IMAGES, {"what": "circles", "count": 200}, False),
        (IMAGES, {"what": "red circles", "count": 20}, False),
        (EXAMPLES, {"tool": "calculator", "count": 500}, True),
        (EXAMPLES, {"tool": "training", "count": 500}, False),
    ],
)
def test_only_what_was_asked_for_counts(wish: Wish, arguments: dict[str, object], right: bool) -> None:
    assert wish.asks(arguments) is right


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_first_of_them_is_done() -> None:
    pytest.importorskip("datasketch")
    (asked,) = ask_all(EXAMPLES, ["examples-01"])
    assert asked.right, asked
