"""Making data sets: the same bytes whatever happens, whole folders, typed errors, looking at rows."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import jobs
from agentkit.errors import InvalidParams, JobError
from agentkit_synthesis.dataset import preview, read_manifest, row, split_of
from agentkit_synthesis.dataset.files import Files

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # spawned workers import the source from there
SOURCE = "numbers_source:make"


def made(folder: Path, **params: Any) -> jobs.JobResult:
    """Run the job of the test's source; the data set is `folder/out`."""
    import numbers_source

    return jobs.run(numbers_source.JOB, {"out": str(folder / "out"), **params}, run_dir=folder / "run")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "out").iterdir())}


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_data_set_is_a_folder_that_says_what_it_is(tmp_path: Path) -> None:
    done = made(tmp_path, count=500, seed=3, options={"pairs": True, "test_share": 0.2}, pairs=True)
    assert done.status == "ok", done.error
    assert sorted(contents(tmp_path)) == ["README.md", "manifest.json", "pairs.jsonl", "test.jsonl", "train.jsonl"]
    lines = {name: text.decode().splitlines() for name, text in contents(tmp_path).items()}
    found = read_manifest(tmp_path / "out")
    assert len(lines["train.jsonl"]) + len(lines["test.jsonl"]) == found.count == 500
    assert len(lines["pairs.jsonl"]) == len(lines["train.jsonl"])  # none of a row that is tested with
    assert 60 < len(lines["test.jsonl"]) < 140
    assert found.tried == 500 + found.rejected["is a multiple of three"]
    assert found.verified_share == pytest.approx(500 / found.tried, abs=1e-6)
    assert sum(found.families.values()) == 500
    assert "path: pairs.jsonl" in contents(tmp_path)["README.md"].decode()
    rows = [json.loads(line) for line in lines["train.jsonl"]]
    assert {one["split"] for one in rows} == {"train"}
    assert "pairs" not in rows[0]


def test_rows_stand_in_the_order_of_their_indices(tmp_path: Path) -> None:
    made(tmp_path, count=300, chunk=7, workers=2)
    numbers = [int(one["id"].split("-")[2]) for one in rows_of(tmp_path / "out/train.jsonl")]
    assert numbers == sorted(numbers)


def test_bytes_are_the_same_for_one_and_four_workers_and_any_chunk(tmp_path: Path) -> None:
    for name, params in {
        "a": {"workers": 1},
        "b": {"workers": 4, "chunk": 50},
        "c": {"workers": 2, "chunk": 3},
    }.items():
        assert made(tmp_path / name, count=400, options={"pairs": True}, pairs=True, **params).status == "ok"
    assert contents(tmp_path / "a") == contents(tmp_path / "b") == contents(tmp_path / "c")


def test_another_seed_makes_other_rows(tmp_path: Path) -> None:
    made(tmp_path / "a", count=20, seed=0)
    made(tmp_path / "b", count=20, seed=1)
    assert contents(tmp_path / "a") != contents(tmp_path / "b")


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_and_resumed_gives_the_bytes_of_an_undisturbed_run(tmp_path: Path, workers: int) -> None:
    params = {"count": 600, "options": {"seconds": 0.002}, "chunk": 16}
    made(tmp_path / "whole", **{**params, "workers": 2})
    folder = tmp_path / "killed"
    started = {"out": str(folder / "out"), "workers": workers, **params}
    code = f"import numbers_source as s, pathlib; from agentkit import jobs; jobs.run(s.JOB, {started!r}, run_dir=pathlib.Path({str(folder / 'run')!r}))"
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(HERE)})
    checkpoint = folder / "run/checkpoints/rows.json"
    wait_for(lambda: checkpoint.exists() and json.loads(checkpoint.read_text())["kept"] > 0, process)
    workers_of = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in workers_of):  # they leave with the process that started them
        assert time.monotonic() < end
        time.sleep(0.02)
    kept = json.loads(checkpoint.read_text())["kept"]
    assert 0 < kept < 600
    assert not (folder / "out").exists()
    assert jobs.read(folder / "run").status == "interrupted"
    done = made(folder, **{**params, "workers": 3})
    assert done.status == "ok", done.error
    assert contents(folder) == contents(tmp_path / "whole")


def children(pid: int) -> list[int]:
    """Return the processes that one has started; none where the system does not say."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(one) for one in listed.read_text().split()] if listed.exists() else []


def wait_for(condition: Any, process: subprocess.Popen[bytes], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.01)


@given(kept=st.integers(0, 60), torn=st.binary(max_size=40))
def test_whatever_was_written_after_a_checkpoint_is_cut_off(kept: int, torn: bytes, tmp_path_factory: Any) -> None:
    from agentkit_synthesis.dataset.chunks import Recipe, make_chunk

    folder = tmp_path_factory.mktemp("files")
    outcomes = make_chunk(Recipe(SOURCE, {}, 0), 0, 60)
    with Files(folder, folder / "rows.json", pairs=False) as files:
        for outcome in outcomes[:kept]:
            files.add(outcome)
        files.save()
        for outcome in outcomes[kept : kept + 5]:
            files.add(outcome)
    with (folder / "train.jsonl").open("ab") as file:
        file.write(torn)
    with Files(folder, folder / "rows.json", pairs=False) as files:
        assert files.progress.next == kept
        for outcome in outcomes[kept:]:
            files.add(outcome)
    whole = b"".join(one.text for one in outcomes if getattr(one, "split", "") == "train")
    assert (folder / "train.jsonl").read_bytes() == whole


def test_files_that_lost_what_a_checkpoint_counts_are_begun_again(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps({"next": 9, "kept": 9, "bytes": {"train": 900}}))
    with Files(tmp_path, tmp_path / "rows.json", pairs=False) as files:
        assert files.progress.next == 0


def test_nothing_verified_names_the_commonest_reasons(tmp_path: Path) -> None:
    done = made(tmp_path, count=10, options={"none": True}, patience=100, chunk=50)
    assert done.status == "failed"
    assert "none of 100 rows verified" in done.error
    assert "is wanted by nobody (" in done.error
    assert done.error.index("wanted by nobody") < done.error.index("multiple of three")  # two thirds, one third
    with pytest.raises(JobError, match="none of 200 rows in a row verified"):
        preview(SOURCE, {"none": True}, 0)


def test_a_source_that_fails_is_named_with_its_row(tmp_path: Path) -> None:
    for workers in (1, 2):
        done = made(tmp_path / str(workers), count=50, options={"raises_at": 30}, workers=workers, chunk=8)
        assert done.error.startswith("JobError: numbers_source:make: row 30 of seed 0 failed: RuntimeError: no such")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("no_such_module:make", "no_such_module:make: cannot be imported"),
        ("numbers_source:JOB", "numbers_source:JOB: is no function"),
        ("numbers_source:without_messages", "row 0 has no `messages`"),
        ("numbers_source:of_another_split", "row 0 has the split 'dev', not train or test"),
    ],
)
def test_a_source_that_is_none_is_refused(source: str, told: str, tmp_path: Path) -> None:
    assert told in made(tmp_path, source=source, count=5).error
    with pytest.raises(JobError, match=re.escape(told)):
        preview(source, {}, 0)


def test_pairs_that_nobody_asked_for_are_refused(tmp_path: Path) -> None:
    done = made(tmp_path, count=5, options={"pairs": True})
    assert done.error == "JobError: a row has preference pairs, and none were asked for; mend the source"


def test_a_worker_that_is_killed_ends_in_a_typed_error_and_the_job_can_be_resumed(tmp_path: Path) -> None:
    done = made(tmp_path, count=50, options={"dies_at": 40}, workers=2, chunk=8)
    assert done.error.startswith("JobError: a worker ended before its rows were made")
    assert jobs.read(tmp_path / "run").resumable


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
def test_a_full_disk_is_a_typed_error_and_the_run_goes_on_when_there_is_room(tmp_path: Path) -> None:
    params = {"count": 2_000, "workers": 1}
    started = {"out": str(tmp_path / "full/out"), **params}
    code = f"""
import pathlib, resource, numbers_source as s
from agentkit import jobs
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
done = jobs.run(s.JOB, {started!r}, run_dir=pathlib.Path({str(tmp_path / "full/run")!r}))
print(done.error)
"""
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told.startswith("JobError: ")
    assert "train.jsonl: cannot be written (File too large); free some space" in told
    assert (tmp_path / "full/run/dataset/train.jsonl").stat().st_size < 100_000  # makes room for the result
    assert jobs.read(tmp_path / "full/run").status == "failed"
    assert not (tmp_path / "full/out").exists()
    assert made(tmp_path / "full", **params).status == "ok"
    made(tmp_path / "whole", **params)
    assert contents(tmp_path / "full") == contents(tmp_path / "whole")


def test_a_folder_that_is_there_is_refused_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("keep me")
    done = made(tmp_path, count=10)
    assert done.error == f"InvalidParams: /out: {tmp_path / 'out'} exists; name another folder, or force it"
    assert (tmp_path / "out/mine.txt").exists()
    assert made(tmp_path, count=10, force=True).status == "ok"
    assert sorted(contents(tmp_path)) == ["README.md", "manifest.json", "test.jsonl", "train.jsonl"]


def test_a_data_set_that_is_there_already_is_not_made_again(tmp_path: Path) -> None:
    made(tmp_path, count=10)
    before = (tmp_path / "out/train.jsonl").stat().st_mtime_ns
    (tmp_path / "run/result.json").unlink()  # killed between putting the folder there and saying so
    assert made(tmp_path, count=10).metrics["count"] == 10
    assert (tmp_path / "out/train.jsonl").stat().st_mtime_ns == before


def test_a_job_that_is_cancelled_stops_and_goes_on(tmp_path: Path) -> None:
    import numbers_source

    params = {"out": str(tmp_path / "a/out"), "count": 300, "chunk": 10}
    done = jobs.run(numbers_source.JOB, params, run_dir=tmp_path / "a/run", budget=jobs.Budget(steps=50))
    assert done.status == "budget_exhausted"
    assert not (tmp_path / "a/out").exists()
    assert made(tmp_path / "a", count=300, chunk=10).status == "ok"
    made(tmp_path / "b", count=300)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_parquet_holds_the_same_rows(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    made(tmp_path, count=300, parquet=True, pairs=True, options={"pairs": True})
    for name in ("train", "pairs"):
        lines = rows_of(tmp_path / f"out/{name}.jsonl")
        rows = parquet.read_table(tmp_path / f"out/{name}.parquet").to_pylist()
        assert [plain(one) for one in rows] == [plain(one) for one in lines]
    assert "train.parquet" in read_manifest(tmp_path / "out").files


def plain(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row without what Parquet adds: empty fields of messages, and nested values as text."""

    def slim(value: Any) -> Any:
        if isinstance(value, list) and value and "role" in value[0]:
            return [{key: inner for key, inner in message.items() if inner is not None} for message in value]
        return json.dumps(value) if isinstance(value, list | dict) else value

    return {name: slim(value) for name, value in one.items()}


def test_parquet_keeps_tool_calls_and_mixed_columns(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    from agentkit_synthesis.dataset.parquet import to_parquet

    marked = {"role": "tool", "content": "no", "status": "error", "trust": "trusted", "kind": "final"}
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    rows = [
        {"messages": [{"role": "assistant", "tool_calls": [call]}], "answer": 3, "tools": [{"name": "add"}]},
        {"messages": [{"role": "user", "content": "x"}, marked], "answer": "three", "tools": []},
    ]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    found = parquet.read_table(to_parquet(path)).to_pylist()
    assert [one["answer"] for one in found] == ["3", "three"]
    assert json.loads(found[0]["tools"]) == [{"name": "add"}]
    assert plain(found[1])["messages"][1] == marked
    assert found[0]["messages"][0]["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 1}'}


def test_a_row_is_made_again_from_its_id(tmp_path: Path) -> None:
    made(tmp_path, count=40, seed=5, options={"pairs": True}, pairs=True)
    for one in rows_of(tmp_path / "out/train.jsonl"):
        assert row(tmp_path / "out", one["id"]) == one


@pytest.mark.parametrize("id", ["numbers-5-999", "numbers-6-0", "words-5-0", "numbers-5-x", "17", ""])
def test_a_row_that_is_not_there_is_refused(tmp_path: Path, id: str) -> None:
    made(tmp_path, count=40, seed=5)
    with pytest.raises(InvalidParams, match="/id: "):
        row(tmp_path / "out", id)
    with pytest.raises(InvalidParams, match=r"has no manifest\.json"):
        row(tmp_path, "numbers-5-0")


def test_a_preview_is_the_first_rows(tmp_path: Path) -> None:
    made(tmp_path, count=10, options={"test_share": 0.0})
    rows = rows_of(tmp_path / "out/train.jsonl")
    assert preview(SOURCE, {"test_share": 0.0}, 0) == rows


@given(st.lists(st.text(), min_size=1, max_size=20), st.floats(0, 1))
def test_a_problem_belongs_to_one_split(problems: list[str], share: float) -> None:
    for problem in problems:
        assert split_of(problem, 0.0) == "train"
        assert split_of(problem, 1.0) == "test"
        if split_of(problem, share) == "test":
            assert split_of(problem, min(1.0, share + 0.1)) == "test"


def test_split_shares_are_kept() -> None:
    assert sum(split_of(str(n), 0.1) == "test" for n in range(20_000)) == pytest.approx(2_000, rel=0.1)
