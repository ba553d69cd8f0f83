"""Small slices on the shipped model: that the figures can be measured, not what they come to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import sprout as command
from benchmarks import sprout_tasks
from benchmarks.answering import Bench, Weighted


def test_ten_requests_are_judged(sprout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report, errors = tmp_path / "report.json", tmp_path / "errors.jsonl"
    words = ["--model", str(sprout), "--only", "set", "--slice", "10", "--json", str(report), "--errors", str(errors)]
    assert command.main(words) == 0
    rows = {row["id"]: row for row in json.loads(report.read_text())["rows"]}
    assert rows["seen-tool"]["n"] + rows["unseen-tool"]["n"] == 10
    assert rows["seen-tool-alone"]["n"] == rows["seen-tool"]["n"]
    assert rows["schema-valid"]["value"] == 1.0
    assert "seen-task" in capsys.readouterr().out


def test_a_sum_is_judged_in_a_folder_of_its_own(sprout: Path) -> None:
    bench = Bench.open(str(sprout))
    try:
        judged = sprout_tasks.sums(keep=1)[0].do(bench, 1.0)
    finally:
        bench.close()
    assert judged.calls >= 1
    assert judged.valid == judged.calls
    assert judged.ranked


def test_the_weight_of_the_prior_is_the_one_asked_for(sprout: Path) -> None:
    bench = Bench.open(str(sprout))
    try:
        assert Weighted(bench.engine, 0.25).capabilities.tool_prior_weight == 0.25
    finally:
        bench.close()


def test_the_fit_prints_one_weight(sprout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--model", str(sprout), "--fit", "--n", "10"]) == 0
    assert 0.0 <= float(capsys.readouterr().out) <= 3.0
