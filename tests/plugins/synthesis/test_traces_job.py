"""The job and the commands of explanation traces; what training makes of the files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from agentkit import jobs
from agentkit.errors import InvalidParams
from agentkit_synthesis.dataset import read_manifest
from agentkit_synthesis.traces.jobs import TRACES
from agentkit_synthesis.traces.verifying import verify
from agentkit_synthesis.traces_command import preview, row, traces


def made(folder: Path, **params: Any) -> jobs.JobResult:
    return jobs.run(TRACES, {"out": str(folder / "out"), **params}, run_dir=folder / "run")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "out").iterdir())}


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def invoke(command: Any, *arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments), catch_exceptions=False)


def test_a_set_has_all_columns_and_every_row_verifies_as_it_stands_in_the_file(tmp_path: Path) -> None:
    done = made(tmp_path, count=350, pairs=True, workers=1)
    assert done.status == "ok", done.error
    rows = rows_of(tmp_path / "out/train.jsonl") + rows_of(tmp_path / "out/test.jsonl")
    assert len(rows) == 350
    wanted = {"id", "system", "user", "steps", "final", "answer", "teacher", "verified", "difficulty", "family", "split", "hash", "messages"}  # fmt: skip
    assert all(wanted <= one.keys() for one in rows)
    assert [verify(one) for one in rows] == [""] * 350
    assert done.metrics["verified_share"] == 1.0
    assert set(done.metrics["families"].values()) == {50}
    card = (tmp_path / "out/README.md").read_text()
    assert card.startswith("---\npretty_name: ")
    assert "| code_reading | 50 |" in card


def test_one_and_three_workers_and_a_kill_make_the_same_bytes(tmp_path: Path) -> None:
    assert made(tmp_path / "a", count=600, workers=1, pairs=True).status == "ok"
    params = {"out": str(tmp_path / "b/out"), "count": 600, "workers": 3, "pairs": True}
    handle = jobs.start(TRACES, params, run_dir=tmp_path / "b/run")
    assert handle.process is not None
    next(event for event in jobs.follow(tmp_path / "b/run", poll_s=0.01) if event["type"] == "step")
    os.kill(handle.process.pid, signal.SIGKILL)
    handle.process.wait()
    assert jobs.read(tmp_path / "b/run").status in {"interrupted", "ok"}  # a fast machine is done by then
    assert jobs.resume(tmp_path / "b/run").wait().status == "ok"
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"families": ["alchemy"]}, "/families/0: "),
        ({"difficulty": [4]}, "/difficulty/0: "),
        ({"count": 0}, "/count: "),
        ({"test_share": 1.0}, "/test_share: "),
        ({"color": "red"}, "/color: no such parameter"),
    ],
)
def test_bad_parameters_are_named(params: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidParams, match=told):
        TRACES.plan({"out": "x", **params})


def test_every_family_can_be_asked_for() -> None:
    from typing import get_args

    from agentkit_synthesis.traces.params import Family
    from agentkit_synthesis.traces.source import FAMILIES

    assert get_args(Family) == tuple(FAMILIES)


def test_a_plan_says_what_it_costs_and_refuses_a_folder_that_is_there(tmp_path: Path) -> None:
    plan = TRACES.plan({"out": str(tmp_path / "out"), "count": 100_000, "workers": 2})
    assert 1 < plan.seconds < 1_000
    assert 50e6 < plan.disk_bytes < 1e9
    assert plan.config["options"]["difficulty"] == [1, 2, 3]
    assert not list(tmp_path.iterdir())
    (tmp_path / "out").mkdir()
    with pytest.raises(InvalidParams, match="exists; name another folder, or force it"):
        TRACES.plan({"out": str(tmp_path / "out")})


def test_the_same_set_again_is_not_made_again_and_another_is_refused(tmp_path: Path) -> None:
    assert made(tmp_path, count=30).status == "ok"
    before = contents(tmp_path)
    assert made(tmp_path, count=30).status == "ok"
    with pytest.raises(InvalidParams, match="exists"):
        made(tmp_path, count=31)
    assert contents(tmp_path) == before
    assert made(tmp_path, count=31, force=True).metrics["count"] == 31


def test_commands_make_a_set_look_at_it_and_make_a_row_again(tmp_path: Path) -> None:
    out = tmp_path / "mine"
    done = invoke(
        traces, str(out), "--count", "40", "--family", "dates", "--family", "tables", "--difficulty", "3", "--json"
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)["data"]
    assert told["count"] == 40
    assert set(told["families"]) == {"dates", "tables"}
    first = rows_of(out / "train.jsonl")[0]
    again = json.loads(invoke(row, str(out), first["id"], "--json").stdout)["data"]
    assert again == first
    assert f"[user] {first['user'].splitlines()[0]}" in invoke(row, str(out), first["id"]).stdout


def test_a_plan_is_shown(tmp_path: Path) -> None:
    done = invoke(traces, str(tmp_path / "out"), "--plan")
    assert done.exit_code == 0
    assert "problems and solutions are by program" in done.stdout
    assert not (tmp_path / "out").exists()


def test_answers_only_is_one_option(tmp_path: Path) -> None:
    done = invoke(traces, str(tmp_path / "out"), "--count", "20", "--explain", "false")
    assert done.exit_code == 0, done.output
    assert all(one["final"].startswith("Answer: ") for one in rows_of(tmp_path / "out/train.jsonl"))


@pytest.mark.parametrize("kind", ["traces", "tools"])
def test_a_preview_prints_ten_rows(kind: str) -> None:
    done = invoke(preview, kind)
    assert done.exit_code == 0
    assert done.stdout.count("[user] ") >= 10
    assert len(json.loads(invoke(preview, kind, "--count", "3", "--json").stdout)["data"]) == 3


def test_a_preview_takes_parameters_and_refuses_bad_ones() -> None:
    done = invoke(preview, "traces", "--set", 'families=["dates"]', "--set", "difficulty=[3]", "--count", "2", "--json")
    assert {(one["family"], one["difficulty"]) for one in json.loads(done.stdout)["data"]} == {("dates", 3)}
    with pytest.raises(InvalidParams, match="none of traces, tools"):
        invoke(preview, "poems")
    with pytest.raises(InvalidParams, match="/families/0"):
        invoke(preview, "traces", "--set", 'families=["x"]')
    assert invoke(preview, "traces", "--set", "families").exit_code == 2


def test_rows_are_streamed_in_memory_that_does_not_grow(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from agentkit import jobs
sys.path.insert(0, sys.argv[2])
import numbers_source as s
run = lambda n: jobs.run(s.JOB, {"out": f"{sys.argv[1]}/out{n}", "count": n}, run_dir=Path(sys.argv[1]) / f"run{n}")
run(2_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert run(20_000).status == "ok"
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)], capture_output=True, text=True, check=True)  # fmt: skip
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout) * unit < 4e6


def test_training_reads_rows_and_pairs_as_they_are(tmp_path: Path) -> None:
    rows = pytest.importorskip("agentkit_training.finetune.rows")
    assert made(tmp_path, count=60, pairs=True, parquet=_has_pyarrow()).status == "ok"
    texts = rows.read_rows(tmp_path / "out/train.jsonl", "text")
    assert texts.columns == ("messages",)
    assert texts.conversational
    assert not texts.left_out
    pairs = rows.read_rows(tmp_path / "out/pairs.jsonl", "preference")
    assert pairs.columns == ("prompt", "chosen", "rejected")
    assert not pairs.left_out
    if _has_pyarrow():
        same = rows.read_rows(tmp_path / "out/train.parquet", "text")
        assert [one.data["id"] for one in same.rows] == [one.data["id"] for one in texts.rows]
        assert len(rows.read_rows(tmp_path / "out/pairs.parquet", "preference").rows) == len(pairs.rows)


def _has_pyarrow() -> bool:
    from importlib.util import find_spec

    return find_spec("pyarrow") is not None


def test_the_manifest_holds_what_makes_a_row_again(tmp_path: Path) -> None:
    made(tmp_path, count=25, seed=3, families=["dates"])
    found = read_manifest(tmp_path / "out")
    assert found.source == "agentkit_synthesis.traces.source:make"
    assert found.options["families"] == ["dates"]
    assert (found.seed, found.count, found.tried) == (3, 25, 25)
