"""Loops are noticed in every path of the real agent, and work is left alone; `python -m benchmarks.loops` does more."""

from __future__ import annotations

import pytest

from agentkit.guards import Budgets
from tests.reliability.loop_parts import Script
from tests.reliability.loops import LOOPS
from tests.reliability.playing import PATHS, play
from tests.reliability.works import WORK


def test_there_are_enough_scripts() -> None:
    assert len(LOOPS) >= 24
    assert len(WORK) >= 14
    assert len({script.name for script in (*LOOPS, *WORK)}) == len(LOOPS) + len(WORK)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("script", LOOPS, ids=lambda script: script.name)
def test_a_loop_is_told_and_then_ended(script: Script, path: str) -> None:
    played = play(script, path)
    assert played.stopped, (played.ended, played.detail)
    assert played.words[-1] == "stop"
    assert {"nudge", "retry"} & set(played.words[:-1]), "nothing may be ended that was not told before"
    assert played.detector in script.detectors
    assert played.seen_after is not None
    assert played.seen_after <= script.useful + script.most


@pytest.mark.parametrize(
    ("script", "path"),
    [(script, path) for n, script in enumerate(WORK) for path in {PATHS[0], PATHS[1 + n % 3]}],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_work_is_left_alone(script: Script, path: str) -> None:
    played = play(script, path)
    assert played.ended == "done", played.detail
    assert "replan" not in played.words


@pytest.mark.parametrize(
    "script",
    [s for s in LOOPS if s.detectors & {"repeats", "cycles", "same_error", "empty"}][::3],
    ids=lambda s: s.name,
)
def test_a_model_that_heeds_the_nudge_is_done(script: Script) -> None:
    played = play(script, heeds=True)
    assert (played.ended, played.result.answer) == ("done", "heeded")


def test_without_guards_the_same_scripts_run_into_their_budget() -> None:
    played = play(LOOPS[0], guards=[Budgets()])
    assert (played.ended, played.executed) == ("budget", 90)
