"""Jobs as tools: planned before a person is asked, awaited, joined, cancelled with the run, and gone on with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentkit import Agent, jobs
from agentkit.approvals import ApprovalRequest
from agentkit.config import PolicySettings, Settings, StoreSettings
from agentkit.errors import InvalidParams
from agentkit.events import Event
from agentkit.job_tools import Wanted, job_tool, within
from agentkit.jobs import JobState
from agentkit.protocols import Tool, ToolContext
from agentkit.testing import ScriptedEngine
from agentkit.types import RunResult, Step, StopReason, ToolCall

WALK = """
import json, time
from pathlib import Path
from agentkit.errors import InvalidParams
from agentkit.jobs import Job, JobPlan, write_atomic

def plan(params):
    if params["to"] < 1:
        raise InvalidParams("/to: must be at least 1")
    return JobPlan(config={"to": params["to"]}, seconds=70.0, memory_bytes=3_000_000, disk_bytes=1_000_000, why=f"a walk of {params['to']} steps")

def run(params, context):
    saved = context.checkpoint_dir / "at.json"
    start = json.loads(saved.read_text()) if saved.exists() else 0
    print("from", start, flush=True)
    for step in range(start + 1, params["to"] + 1):
        time.sleep(params["nap"])
        context.step(step, params["to"], {"loss": 1 / step})
        if context.should_stop():
            write_atomic(saved, json.dumps(step))
            return {}
    if params["to"] == 13:
        raise InvalidParams("/to: thirteen brings bad luck")
    Path(params["out"]).mkdir()
    (Path(params["out"]) / "end.txt").write_text("here")
    context.artifact(Path(params["out"]) / "end.txt", "text")
    return {"steps": params["to"]}

WALK = Job(name="walk", home="walking:WALK", plan=plan, run=run)
"""


def texts(state: JobState, out: str | None) -> tuple[str, str]:
    assert state.result is not None
    return f"{state.result.metrics['steps']} steps, loss 0.25; it is in {out}", "it has walked"


@job_tool(texts, data="context")
def walk(data: str, context: ToolContext, to: int, nap: float = 0.0, out: str | None = None) -> Wanted:
    """Walk some steps.

    Args:
        data: what to walk on.
        to: how many steps.
        nap: seconds a step takes.
        out: where it ends.
    """
    path = within(data, context.workspace)
    params = {"data": str(path), "to": to, "nap": nap}
    place = None if out is None else within(out, context.workspace)
    return Wanted(
        home="walking:WALK", params=params, about=path, out=place, default_out=f"{path.stem}-walk", reads=(path,)
    )


class Bench:
    """Agents on scripted models with the tool, in a workspace of their own."""

    def __init__(self, place: Path) -> None:
        self.home, self.work = place / "home", place / "work"
        self.work.mkdir()
        (self.work / "prefs.jsonl").write_text("{}\n")
        self.events: list[Event] = []
        self.asked: list[ApprovalRequest] = []

    def agent(
        self, *calls: dict[str, Any], allowed: bool = True, tools: Sequence[Tool] = (walk,), answer: bool | None = None,
        timeout_s: float = 60.0, **policy: Any,
    ) -> Agent:  # fmt: skip
        steps = [
            Step(kind="calls", calls=(ToolCall(id=f"c{n}", tool="walk", arguments=call),))
            for n, call in enumerate(calls)
        ]
        settings = Settings(
            store=StoreSettings(url=str(self.home / "agentkit.db")),
            policy=PolicySettings(allow_tools=("walk",) if allowed else (), **policy),
        )
        settings = replace(settings, run=replace(settings.run, timeout_s=timeout_s))
        engine = ScriptedEngine([*steps, Step(kind="final", text="That is all.")])
        approve = None if answer is None else self._approve(answer)
        return Agent(engine, tools, settings=settings, workspace=self.work, approve=approve)

    def run(self, *calls: dict[str, Any], **options: Any) -> RunResult:
        cancel = options.pop("cancel", None)
        with self.agent(*calls, **options) as agent:
            return agent.run("walk", on_event=self.events.append, cancel=cancel)

    def _approve(self, answer: bool) -> Callable[[ApprovalRequest], bool]:
        def approve(request: ApprovalRequest) -> bool:
            self.asked.append(request)
            assert jobs.list_jobs(self.home / "jobs") == []  # nothing runs before the answer
            return answer

        return approve

    @property
    def jobs(self) -> list[jobs.JobState]:
        return jobs.list_jobs(self.home / "jobs")

    def starts(self) -> list[str]:
        """What each start of the one job has printed."""
        (state,) = self.jobs
        return (state.run_dir / "log.txt").read_text().splitlines()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    code = tmp_path / "code"
    code.mkdir()
    (code / "walking.py").write_text(WALK)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(code), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.setenv("AGENTKIT_HOME", str(tmp_path / "home"))
    monkeypatch.syspath_prepend(str(code))
    monkeypatch.delitem(sys.modules, "walking", raising=False)
    (tmp_path / "home").mkdir()
    return Bench(tmp_path)


# with a job of a moment


def test_a_job_is_awaited_and_its_figures_are_the_result(bench: Bench) -> None:
    result = bench.run({"data": "prefs.jsonl", "to": 3, "nap": 0.3})
    assert result.stop_reason is StopReason.DONE
    assert result.steps[0].result == "3 steps, loss 0.25; it is in prefs-walk"
    told = [event.data for event in bench.events if event.type == "job"]
    assert [(one["job"], one["state"]) for one in told] == [(bench.jobs[0].run_dir.name, "started")]
    assert "a walk of 3 steps; about 1 min 10 s, 3 MB of memory, 1 MB of disk; writes prefs-walk" in told[0]["plan"]
    assert any("step 0" in event.data["text"] for event in bench.events if event.type == "tool_progress")


def test_the_plan_is_shown_before_a_person_answers(bench: Bench) -> None:
    call = {"data": "prefs.jsonl", "to": 2}
    denied = bench.run(call, allowed=False, answer=False)
    assert (denied.stop_reason, bench.jobs) == (StopReason.BLOCKED, [])
    assert bench.asked[0].why == "it changes something and may take long"
    assert (
        bench.asked[0].foreseen
        == "a walk of 2 steps; about 1 min 10 s, 3 MB of memory, 1 MB of disk; writes prefs-walk"
    )
    assert bench.run(call, allowed=False, answer=True).steps[0].ok


def test_a_call_that_cannot_work_is_nobodys_question(bench: Bench) -> None:
    result = bench.run({"data": "prefs.jsonl", "to": 0}, allowed=False, answer=True)
    assert (bench.asked, bench.jobs) == ([], [])
    assert result.steps[0].result == "/to: must be at least 1"
    assert not result.steps[0].ok


def test_the_plan_waits_in_the_queue_with_the_call(bench: Bench) -> None:
    with bench.agent({"data": "prefs.jsonl", "to": 2}, allowed=False, on_approval="queue") as agent:
        stopped = agent.run("walk")
        assert (stopped.stop_reason, bench.jobs) == (StopReason.NEEDS_INPUT, [])
        (row,) = agent.store.approvals(state="pending")
        assert row["foreseen"].startswith("a walk of 2 steps; about 1 min 10 s")
        shown = subprocess.run(
            [sys.executable, "-m", "agentkit", "approvals", "show", str(row["id"])],
            capture_output=True, text=True, cwd=bench.work, check=True, env={**os.environ, "AGENTKIT_HOME": str(bench.home)},
        ).stdout  # fmt: skip
        assert "a walk of 2 steps; about 1 min 10 s" in shown
        agent.store.resolve_approval(row["id"], "approved", "a test")
        assert agent.resume(stopped.run_id).steps[0].ok


def test_the_same_call_joins_the_job_and_runs_nothing_twice(bench: Bench) -> None:
    call = {"data": "prefs.jsonl", "to": 2}
    first = bench.run(call, call)  # and is not waited for a second time, although it says the same
    second = bench.run(call)
    assert [step.result for step in (*first.steps, *second.steps)] == [first.steps[0].result] * 3
    assert bench.starts() == ["from 0"]
    (bench.work / "prefs.jsonl").write_text('{"other": 1}\n')
    assert bench.run(call).steps[0].result.split(" in ")[-1].startswith("prefs-walk-")  # other rows, another place
    assert len(bench.jobs) == 2


def test_cancelling_the_run_cancels_the_job_which_goes_on_with_the_run(bench: Bench) -> None:
    cancel = threading.Event()

    def stop_when_it_walks() -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end and not any(state.step for state in bench.jobs):
            time.sleep(0.05)
        cancel.set()

    thread = threading.Thread(target=stop_when_it_walks)
    thread.start()
    call = {"data": "prefs.jsonl", "to": 12, "nap": 0.3}
    result = bench.run(call, cancel=cancel)
    thread.join()
    assert result.stop_reason is StopReason.CANCELLED
    stopped = jobs.JobHandle(bench.jobs[0].run_dir).wait(60)
    assert stopped.status == "cancelled"
    with bench.agent(call) as agent:
        done = agent.resume(result.run_id)
    assert done.steps[0].ok
    first, second = bench.starts()
    assert (first, int(second.split()[1]) > 0) == ("from 0", True)


def test_a_run_without_time_leaves_the_job_running_and_says_where(bench: Bench) -> None:
    result = bench.run({"data": "prefs.jsonl", "to": 100, "nap": 0.3}, timeout_s=6.0)
    (state,) = bench.jobs
    assert state.status == "running"
    assert f"job {state.run_dir.name}: a walk of 100 steps; about 1 min 10 s" in result.steps[0].result
    assert f"agentkit jobs watch {state.run_dir.name}" in result.steps[0].result
    jobs.cancel(state.run_dir)
    jobs.JobHandle(state.run_dir).wait(60)


def test_a_job_that_fails_is_a_failed_call_and_is_tried_again_when_it_is_asked_again(bench: Bench) -> None:
    call = {"data": "prefs.jsonl", "to": 13}
    for starts in (1, 2):
        result = bench.run(call)
        assert result.steps[0].result == "walk failed: InvalidParams: /to: thirteen brings bad luck"
        assert not result.steps[0].ok
        assert len([line for line in bench.starts() if line.startswith("from")]) == starts


def test_what_was_made_and_is_gone_is_made_again(bench: Bench) -> None:
    call = {"data": "prefs.jsonl", "to": 1}
    bench.run(call)
    shutil.rmtree(bench.work / "prefs-walk")
    assert bench.run(call).steps[0].ok
    assert (bench.work / "prefs-walk").is_dir()
    assert bench.starts() == ["from 0", "from 0"]


# names


@pytest.mark.parametrize("name", ["../prefs.jsonl", "/etc/passwd", "", ".", "link/prefs.jsonl", "a\0b"])
def test_a_name_stays_in_the_workspace(tmp_path: Path, name: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "link").symlink_to(tmp_path)
    with pytest.raises(InvalidParams, match=r"outside the workspace|cannot be followed"):
        within(name, work)
