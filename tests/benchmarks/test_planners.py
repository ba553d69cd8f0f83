"""The planners' benchmark: a slice of every kind of task runs, is scored, and becomes rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import planners
from benchmarks.planner_agents import WAYS, measure, measured
from benchmarks.planning.agent_tasks import KINDS, agent_task


@pytest.fixture(scope="module")
def scores() -> list[planners.Scores]:
    return planners.measure(planners.DOMAINS, seeds=1, each=2)


def test_every_planner_is_scored_on_every_kind_of_task(scores: list[planners.Scores]) -> None:
    for one in scores:
        assert set(one.by) == set(planners.PLANNERS) - one.domain.without
        assert all(0 <= score <= 1 + 1e-9 for by in one.by.values() for values in by.values() for score in values)
        assert one.repeated == one.illegal == 0


def test_rows_have_distinct_ids_and_the_targets_of_the_issue(scores: list[planners.Scores]) -> None:
    rows = planners.measured(scores, 1)
    ids = [row.id for row in rows]
    assert len(ids) == len(set(ids))
    assert {row.target for row in rows if row.id.endswith("-behind")} == {planners.MARGIN}


def test_a_puzzle_without_a_solution_ends_by_itself() -> None:
    assert planners.unsolvable(3).value == 1.0


def test_plots_are_drawn(scores: list[planners.Scores], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows = {row.id: {"value": row.value, "interval": row.interval} for row in planners.measured(scores, 1)}
    planners.plot(rows, tmp_path / "planners.png")
    assert (tmp_path / "planners.png").read_bytes().startswith(b"\x89PNG")


def test_agent_tasks_are_the_same_again_and_their_checks_are_right(tmp_path: Path) -> None:
    import subprocess

    for number in range(10):
        task = agent_task(0, number)
        assert task == agent_task(0, number)
        for answer, status in ((f"it is {task.answer}.", 0), (f"it is 1{task.answer}", 1), ("no", 1)):
            assert subprocess.run(task.check, shell=True, input=answer, text=True).returncode == status
    assert {agent_task(0, n).kind for n in range(10)} == set(KINDS)


@pytest.mark.slow
def test_the_agent_is_measured_by_every_way() -> None:
    outcomes = measure("sprout", seeds=1, each=8)
    assert {one.way for one in outcomes} == set(WAYS)
    rows = {row.id: row for row in measured(outcomes)}
    assert rows["agent-irreversible"].value == 0
    assert rows["agent-gain"].value >= 0.1, "120 tasks, of which these are the first, have 0.39"
