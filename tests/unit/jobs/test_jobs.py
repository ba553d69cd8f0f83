"""Jobs in processes of their own: planned, followed, cancelled, killed, resumed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentkit import jobs
from agentkit.errors import BudgetExceeded, InvalidParams, JobError
from agentkit.jobs import Budget, Job, JobContext, JobPlan, JobResult
from agentkit.jobs.folder import append_line, differences, read_lines

MODULE = '''
import json, random, sys, time
from agentkit.errors import InvalidParams
from agentkit.jobs import Job, JobPlan, write_atomic

def plan(params):
    if params["to"] < 1:
        raise InvalidParams("/to: must be at least 1")
    return JobPlan(config={"to": params["to"], "deep": {"rate": params.get("rate", 1)}}, seconds=1.0, backend="cpu")

def run(params, ctx):
    """A random walk that checkpoints the state of its dice."""
    saved, dice = ctx.checkpoint_dir / "state.json", random.Random(ctx.seed)
    start, total = 0, 0.0
    if saved.exists():
        start, total, state = json.loads(saved.read_text())
        dice.setstate((state[0], tuple(state[1]), state[2]))
    print("from", start)
    for step in range(start + 1, params["to"] + 1):
        total += dice.random()
        ctx.step(step, params["to"], {"loss": total})
        if ctx.should_stop() or step % 5 == 0:
            write_atomic(saved, json.dumps([step, total, dice.getstate()]))
        if ctx.should_stop():
            break
        time.sleep(params.get("nap", 0))
    if params.get("raise"):
        raise RuntimeError("the data is gone")
    write_atomic(ctx.artifact_dir / "walk.txt", f"{total!r}")
    return {"total": total}

JOB = Job(name="walk", home="job_under_test:JOB", plan=plan, run=run)
NOT_A_JOB = 1
'''


@pytest.fixture
def walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A job that a process of its own can import."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "job_under_test.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(code), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.syspath_prepend(str(code))
    monkeypatch.delitem(sys.modules, "job_under_test", raising=False)
    from job_under_test import JOB  # type: ignore[import-not-found]

    return JOB


def here(run: Callable[..., Any], config: dict[str, Any] | None = None) -> Job:
    return Job(name="here", plan=lambda params: JobPlan(config=config or dict(params)), run=run)


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def steps(run_dir: Path) -> int:
    return len(read_lines(run_dir / "metrics.jsonl")[0])


# in a process of its own


def test_a_job_runs_in_its_own_process_and_leaves_a_folder(walk: Job, tmp_path: Path) -> None:
    run_dir = tmp_path / "runs" / "one"
    result = jobs.start(walk, {"to": 12, "seed": 3}, run_dir=run_dir).wait(60)
    assert (result.status, result.exit_code, result.seed, result.error) == ("ok", 0, 3, "")
    assert sorted(path.name for path in run_dir.iterdir() if not path.name.startswith(".")) == [
        "artifacts", "checkpoints", "config.json", "events.jsonl", "log.txt", "metrics.jsonl", "result.json",
    ]  # fmt: skip
    (artifact,) = result.artifacts
    data = (run_dir / artifact.path).read_bytes()
    assert (artifact.kind, artifact.bytes) == ("txt", len(data))
    assert artifact.sha256 == hashlib.sha256(data).hexdigest()
    assert float(data) == result.metrics["total"]
    assert result.versions["agentkit-local"]
    events = list(jobs.follow(run_dir))
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [events[0]["type"], events[-1]["type"]] == ["started", "ended"]
    assert (run_dir / "log.txt").read_text() == "from 0\n"
    assert JobResult.from_json(json.loads((run_dir / "result.json").read_text())) == result


def test_sigterm_then_resume_gives_what_an_undisturbed_run_gives(walk: Job, tmp_path: Path) -> None:
    whole = jobs.run(walk, {"to": 40, "seed": 7}, run_dir=tmp_path / "whole")
    run_dir, params = tmp_path / "torn", {"to": 40, "seed": 7, "nap": 0.05}
    handle = jobs.start(walk, params, run_dir=run_dir)
    until(lambda: steps(run_dir) >= 3)
    assert handle.state().status == "running"
    handle.process.send_signal(signal.SIGTERM)
    stopped = handle.wait(60)
    assert (stopped.status, handle.process.returncode) == ("cancelled", 143)
    assert jobs.read(run_dir).resumable
    done = steps(run_dir)
    assert done < 40
    final = jobs.start(walk, {**params, "nap": 0}, run_dir=run_dir, resume="always").wait(60)
    assert (final.status, final.metrics) == ("ok", whole.metrics)
    assert (run_dir / "log.txt").read_text() == f"from 0\nfrom {done}\n"
    assert steps(run_dir) == 40
    assert final.wall_s > stopped.wall_s
    seqs = [event["seq"] for event in jobs.follow(run_dir)]
    assert seqs == list(range(1, len(seqs) + 1))


def test_a_killed_job_is_interrupted_and_resumes_from_its_checkpoint(walk: Job, tmp_path: Path) -> None:
    whole = jobs.run(walk, {"to": 30, "seed": 1}, run_dir=tmp_path / "whole")
    run_dir = tmp_path / "killed"
    handle = jobs.start(walk, {"to": 30, "seed": 1, "nap": 0.05}, run_dir=run_dir)
    until(lambda: steps(run_dir) >= 7)
    handle.process.kill()
    with pytest.raises(JobError, match=r"ended with status -9 and no result.*start it again to resume"):
        handle.wait(60)
    assert jobs.read(run_dir).status == "interrupted"
    final = jobs.start(walk, {"to": 30, "seed": 1}, run_dir=run_dir).wait(60)
    assert (final.status, final.metrics) == ("ok", whole.metrics)
    assert "from 5" in (run_dir / "log.txt").read_text() or "from 10" in (run_dir / "log.txt").read_text()


def test_a_folder_alone_is_enough_to_go_on(walk: Job, tmp_path: Path) -> None:
    whole = jobs.run(walk, {"to": 6}, run_dir=tmp_path / "whole")
    assert jobs.run(walk, {"to": 6}, run_dir=tmp_path / "a", budget=Budget(steps=2)).status == "budget_exhausted"
    assert jobs.resume(tmp_path / "a").wait(60).metrics == whole.metrics
    with pytest.raises(JobError, match="no job was started"):
        jobs.resume(tmp_path / "b")


def test_what_cannot_be_imported_any_more_says_so(walk: Job, tmp_path: Path) -> None:
    gone = replace(walk, home="no_such_module:JOB")
    jobs.run(gone, {"to": 6}, run_dir=tmp_path / "a", budget=Budget(steps=2))
    with pytest.raises(JobError, match="install what it belongs to"):
        jobs.resume(tmp_path / "a")


def test_anybody_can_cancel_and_only_one_can_run(walk: Job, tmp_path: Path) -> None:
    run_dir = tmp_path / "r"
    handle = jobs.start(walk, {"to": 10_000, "nap": 0.02}, run_dir=run_dir)
    with pytest.raises(JobError, match="a job is running in this folder"):
        jobs.start(walk, {"to": 5}, run_dir=run_dir)
    with pytest.raises(JobError, match=r"still running after 0.1 s"):
        handle.wait(0.1)
    assert jobs.cancel(run_dir) is True
    assert handle.wait(60).status == "cancelled"
    assert jobs.cancel(run_dir) is False
    assert jobs.JobHandle(run_dir).wait().status == "cancelled"


def test_followers_see_every_event_until_the_end(walk: Job, tmp_path: Path) -> None:
    handle = jobs.start(walk, {"to": 30, "nap": 0.03}, run_dir=tmp_path / "r")
    events = list(jobs.follow(tmp_path / "r", poll_s=0.02))
    handle.wait(60)
    assert events == read_lines(tmp_path / "r" / "events.jsonl")[0]
    told = [event for event in events if event["type"] == "step"]
    assert told[-1]["step"] == told[-1]["total"] == 30
    assert told[-1]["eta_s"] == 0
    assert any(event["eta_s"] for event in told)


def test_a_home_that_is_none(walk: Job, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"no home to be imported from; set Job\.home, or use run"):
        jobs.start(here(lambda params, ctx: {}), {}, run_dir=tmp_path / "a")
    lost = Job(name="walk", home="job_under_test:NOT_A_JOB", plan=walk.plan, run=walk.run)
    result = jobs.start(lost, {"to": 1}, run_dir=tmp_path / "b").wait(60)
    assert (result.status, result.exit_code) == ("failed", 1)
    assert "is no agentkit.jobs.Job" in result.error


# here


def test_a_failure_is_a_result_and_can_be_resumed(
    walk: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = jobs.run(walk, {"to": 5, "raise": True}, run_dir=tmp_path)
    assert (result.status, result.error) == ("failed", "RuntimeError: the data is gone")
    assert "Traceback" in capsys.readouterr().err
    assert jobs.read(tmp_path).resumable
    assert jobs.run(walk, {"to": 5}, run_dir=tmp_path).status == "ok"


def test_a_finished_run_is_not_run_again(walk: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = jobs.run(walk, {"to": 5}, run_dir=tmp_path)
    assert jobs.run(walk, {"to": 5}, run_dir=tmp_path) == first
    assert jobs.start(walk, {"to": 5}, run_dir=tmp_path).wait() == first
    assert capsys.readouterr().out == "from 0\n"


def test_another_configuration_sets_the_old_files_aside(walk: Job, tmp_path: Path) -> None:
    jobs.run(walk, {"to": 5}, run_dir=tmp_path)
    for to in (6, 7):
        assert jobs.run(walk, {"to": to}, run_dir=tmp_path).status == "ok"
    assert [json.loads((tmp_path / "earlier" / n / "config.json").read_text())["params"]["to"] for n in "12"] == [5, 6]
    assert steps(tmp_path) == 7


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"to": 6}, "to: 5 -> 6"),
        ({"to": 5, "rate": 2}, "deep.rate: 1 -> 2"),
        ({"to": 6, "rate": 2}, "deep.rate: 1 -> 2; to: 5 -> 6"),
        ({"to": 5, "seed": 9}, "seed: 0 -> 9"),
    ],
)
def test_resume_always_names_what_differs(walk: Job, tmp_path: Path, params: dict[str, Any], words: str) -> None:
    jobs.run(walk, {"to": 5}, run_dir=tmp_path)
    with pytest.raises(InvalidParams, match=f"the configuration differs: {words}$"):
        jobs.run(walk, params, run_dir=tmp_path, resume="always")
    assert jobs.read(tmp_path).status == "ok"


def test_resume_never_and_nothing_to_resume(walk: Job, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="nothing to resume"):
        jobs.run(walk, {"to": 5}, run_dir=tmp_path / "a", resume="always")
    jobs.run(walk, {"to": 5}, run_dir=tmp_path / "b", resume="never")
    with pytest.raises(JobError, match="holds a run of 'walk' already"):
        jobs.run(walk, {"to": 5}, run_dir=tmp_path / "b", resume="never")


def test_bad_params_leave_no_run_behind(walk: Job, tmp_path: Path) -> None:
    with pytest.raises(InvalidParams, match="/to: must be at least 1"):
        jobs.run(walk, {"to": 0}, run_dir=tmp_path)
    with pytest.raises(InvalidParams, match="/seed: 'x' is not a whole number"):
        jobs.run(walk, {"to": 1, "seed": "x"}, run_dir=tmp_path)
    with pytest.raises(JobError, match="no job was started in this folder"):
        jobs.read(tmp_path)


def test_a_budget_of_steps_ends_early_and_is_resumable(walk: Job, tmp_path: Path) -> None:
    results = [jobs.run(walk, {"to": 10}, run_dir=tmp_path, budget=Budget(steps=4)) for _ in range(3)]
    assert [result.status for result in results] == ["budget_exhausted", "budget_exhausted", "ok"]
    assert [results[0].exit_code, steps(tmp_path)] == [124, 10]
    assert results[2].metrics == jobs.run(walk, {"to": 10}, run_dir=tmp_path / "whole").metrics


def test_a_budget_of_seconds(tmp_path: Path) -> None:
    def run(params: Any, ctx: JobContext) -> None:
        while not ctx.should_stop():
            time.sleep(0.01)

    assert jobs.run(here(run), {}, run_dir=tmp_path, budget=Budget(seconds=0.05)).status == "budget_exhausted"


def test_stopping_at_the_last_step_is_being_done(tmp_path: Path) -> None:
    def run(params: Any, ctx: JobContext) -> None:
        ctx.step(1, 1)
        assert ctx.should_stop()

    assert jobs.run(here(run), {}, run_dir=tmp_path, budget=Budget(steps=1)).status == "ok"


def test_a_flag_cancels_a_run_here(tmp_path: Path) -> None:
    flag = threading.Event()

    def run(params: Any, ctx: JobContext) -> None:
        assert not ctx.should_stop()
        flag.set()
        assert ctx.should_stop()

    assert jobs.run(here(run), {}, run_dir=tmp_path, cancelled=flag).status == "cancelled"


def test_a_job_may_say_that_it_cost_too_much(tmp_path: Path) -> None:
    def run(params: Any, ctx: JobContext) -> None:
        raise BudgetExceeded("the cloud wants money")

    result = jobs.run(here(run), {}, run_dir=tmp_path)
    assert (result.status, result.error) == ("budget_exhausted", "the cloud wants money")


def test_warnings_and_named_artifacts_are_in_the_result(tmp_path: Path) -> None:
    outside = tmp_path / "outside.gguf"
    outside.write_bytes(b"GGUF")

    def run(params: Any, ctx: JobContext) -> None:
        ctx.warn("the embedded model was used")
        ctx.artifact(outside, "model")
        (ctx.artifact_dir / "sub").mkdir()
        (ctx.artifact_dir / "sub" / "card.md").write_text("card")

    result = jobs.run(here(run), {}, run_dir=tmp_path / "r")
    assert result.warnings == ("the embedded model was used",)
    assert {(artifact.path, artifact.kind) for artifact in result.artifacts} == {
        (str(outside), "model"),
        ("artifacts/sub/card.md", "md"),
    }


def test_too_little_disk_is_said_before_anything_starts(tmp_path: Path) -> None:
    greedy = Job(name="greedy", plan=lambda params: JobPlan(config={}, disk_bytes=10**18), run=lambda params, ctx: {})
    with pytest.raises(JobError, match="greedy needs 1,000,000,000,000,000,000 bytes of disk"):
        jobs.run(greedy, {}, run_dir=tmp_path)


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JobError, match="cannot be written"):
        jobs.run(here(lambda params, ctx: {}), {}, run_dir=tmp_path / "file" / "run")


def test_jobs_are_listed_newest_first(walk: Job, tmp_path: Path) -> None:
    for n in (1, 2, 3):
        jobs.run(walk, {"to": n}, run_dir=tmp_path / f"r{n}")
    (tmp_path / "not a run").mkdir()
    states = jobs.list_jobs(tmp_path)
    assert [(state.run_dir.name, state.job, state.status, state.step) for state in states] == [
        ("r3", "walk", "ok", 3),
        ("r2", "walk", "ok", 2),
        ("r1", "walk", "ok", 1),
    ]


# files and figures


def test_the_remaining_time_follows_the_rate(tmp_path: Path) -> None:
    now = [100.0]
    ctx = JobContext(
        tmp_path, run_id="r", seed=0, resumed=True, budget=Budget(), cancelled=threading.Event(), clock=lambda: now[0]
    )
    for step in range(41, 51):  # resumed at 40: two seconds a step
        now[0] += 2.0
        ctx.step(step, 100, {"loss": 1.0})
    events = read_lines(tmp_path / "events.jsonl")[0]
    assert [event["eta_s"] for event in events] == [2.0 * (100 - step) for step in range(41, 51)]
    assert ctx.wall_s == 20.0


def test_steps_are_told_at_most_twice_a_second_and_the_last_always(tmp_path: Path) -> None:
    now = [0.0]
    ctx = JobContext(
        tmp_path, run_id="r", seed=0, resumed=False, budget=Budget(), cancelled=threading.Event(), clock=lambda: now[0]
    )
    for step in range(1, 101):
        now[0] += 0.013
        ctx.step(step, 100, {"loss": step})
    told = [event["step"] for event in read_lines(tmp_path / "events.jsonl")[0]]
    assert told == [1, 40, 79, 100]
    assert steps(tmp_path) == 100


def test_a_torn_line_is_alone_in_being_lost(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    append_line(path, {"n": 1})
    with path.open("a") as file:
        file.write('{"n": 2, "tex')
    assert read_lines(path)[0] == [{"n": 1}]
    append_line(path, {"n": 3})
    assert read_lines(path)[0] == [{"n": 1}, {"n": 3}]


def test_an_atomic_write_keeps_the_old_file_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    jobs.write_atomic(path, "old")
    with pytest.raises(JobError, match="cannot be written"):
        jobs.write_atomic(tmp_path / "absent" / "a.json", "new")
    with pytest.raises(UnicodeEncodeError):
        jobs.write_atomic(path, "\udc80")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_damaged_config_says_so(walk: Job, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(JobError, match=r"config\.json: cannot be read .*another folder"):
        jobs.read(tmp_path)


def test_differences_are_by_dotted_key() -> None:
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": []}) == ["a.c: 2 -> 3", "d: absent -> []"]
    assert jobs.config_hash("j", {"a": 1, "b": 2}, 0) == jobs.config_hash("j", {"b": 2, "a": 1}, 0)
    assert jobs.config_hash("j", {"a": 1}, 0) != jobs.config_hash("j", {"a": 1}, 1)
