"""A slice of the kill matrix; all of it is `python -m benchmarks.kills`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import kills
from benchmarks.kills import Bench, Trial, Verdict

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kills and looks for processes as Linux does")
# a fail point and a class of tool for each thing that can go wrong
SLICE = [
    ("before_first_checkpoint:1", "plain"), ("before_intent:2", "plain"), ("after_intent:1", "plain"),
    ("mid_effect:2", "plain"), ("after_effect:1", "keyed"), ("mid_effect:1", "reconcilable"),
    ("after_intent:2", "reconcilable"), ("mid_effect:1", "file"), ("before_done:1", "file"),
    ("mid_effect:1", "program"), ("after_done:1", "plain"), ("in_put_writes:2", "keyed"), ("in_put:3", "plain"),
    ("in_finish:1", "read"), ("random:1", "keyed"), ("random:2", "plain"),
]  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path, kind: str) -> Iterator[Bench]:
    made = Bench(tmp_path, {kind})
    yield made
    made.close()


def test_a_slice_of_the_matrix(bench: Bench, kind: str) -> None:
    todo = [Trial(point=point, kind=tool, fan=1 + 2 * (n % 2), store=kind) for n, (point, tool) in enumerate(SLICE)]
    verdicts = [kills.attempt(bench, trial) for trial in todo]
    assert {verdict.key: verdict.wrong for verdict in verdicts if verdict.wrong} == {}
    killed = {verdict.key for verdict in verdicts if verdict.kills}
    assert {trial.key for trial in todo if trial.name != "random"} <= killed
    unknown = {verdict.key for verdict in verdicts if verdict.unknown}
    assert {
        trial.key for trial in todo if trial.kind == "plain" and trial.name in {"after_intent", "mid_effect"}
    } <= unknown


def test_the_judge_sees_what_is_wrong(bench: Bench, kind: str) -> None:
    trial = Trial(point="mid_effect:1", kind="plain", fan=1, store=kind)
    expected = bench.reference(trial)
    case = bench.case(trial)
    last = bench.go(case, None)
    assert kills.judge(bench, trial, case, expected, last) == []
    keys = list(last["effects"])

    def wrong(**changes: object) -> str:
        return "; ".join(kills.judge(bench, trial, case, expected, {**last, **changes}))

    assert "unverified" not in wrong(effects={**last["effects"], keys[0]: "unknown"})
    assert "unknown effects, and the run says done" in wrong(effects={**last["effects"], keys[0]: "unknown"})
    assert "the ledger has" in wrong(effects={keys[0]: "done"})
    assert "not in the ledger" in wrong(effects={keys[0]: "done", "other": "done"})
    assert "as it must" not in wrong(answer="another")
    assert "when nobody kills it" in wrong(answer="another")
    assert "model_calls: 0 counted" in wrong(model_calls=0)
    with bench.sink.log.open("a") as file:
        file.write(f'{{"case": "{case.id}", "key": "{keys[0]}", "n": 0}}\n')
    assert "applied more than once" in wrong()
    sure = replace(trial, point="after_done:1")
    doubt = {**last, "effects": {**last["effects"], keys[0]: "unknown"}}
    assert "where it can be known" in "; ".join(kills.judge(bench, sure, case, expected, doubt))


def test_the_matrix_is_whole() -> None:
    todo = kills.trials(["sqlite", "postgres"], kills.POINTS, kills.KINDS, 500)
    assert len({trial.key for trial in todo}) == len(todo)
    assert sum(trial.name == "random" for trial in todo) == 500
    places = sum(map(len, kills.POINTS.values()))
    assert len(todo) - 500 == 2 * len(kills.KINDS) * len(kills.FANS) * places


def test_it_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    todo = [Trial(point="in_finish:1", kind="read", fan=1, store="sqlite")]
    done = {todo[0].key: Verdict(key=todo[0].key)}
    kills.run(todo, tmp_path, jobs=1, done=done, log=None)  # nothing is started
    assert list(tmp_path.iterdir()) == []
    assert [row.id for row in kills.measured(done, todo)] == ["kills-matrix-sqlite"]
