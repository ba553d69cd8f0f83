"""The loop benchmark: the rules of others on traces one can check by hand, and a slice of the scripts changed at random."""

from __future__ import annotations

import pytest

from benchmarks.loops_mutated import mutated
from benchmarks.loops_rivals import Seen, gemini_cli, goose, goose_with_a_limit, openhands
from tests.reliability.playing import play

A, B = Seen("read", '{"path": "a"}', "x"), Seen("read", '{"path": "b"}', "y")


def test_openhands_ends_at_the_fourth_equal_step_and_at_ababab() -> None:
    assert openhands([A] * 9) == 4
    assert openhands([A] * 3) is None
    assert openhands([A, B] * 5) == 6
    assert openhands([Seen(text="hm")] * 5) == 3
    assert openhands([Seen("read", "{}", f"{n}") for n in range(9)]) is None


def test_gemini_ignores_results_and_ends_at_the_second_hit() -> None:
    assert gemini_cli([Seen("poll", "{}", f"{n} %") for n in range(12)]) == 10
    assert gemini_cli([A, B] * 5) is None
    assert gemini_cli([A, B] * 10) == 20
    assert gemini_cli([Seen(text="I hope this helps you, my dear friend, and all of yours. " * 20)] * 2) == 2


def test_goose_as_shipped_and_as_meant() -> None:
    assert goose([A] * 90) is None
    assert goose_with_a_limit([A] * 9) == 4
    assert goose_with_a_limit([A, B] * 9) is None


def test_the_same_seed_changes_the_same() -> None:
    assert [script.name for _, script in mutated(3, 6)] == [script.name for _, script in mutated(3, 6)]


@pytest.mark.parametrize(
    ("kind", "script"), list(mutated(7, 16)), ids=lambda value: value if isinstance(value, str) else value.name
)
def test_changed_at_random_a_loop_is_ended_and_work_is_not(kind: str, script) -> None:
    played = play(script)
    assert played.ended == ("loop" if kind == "loop" else "done"), played.detail
