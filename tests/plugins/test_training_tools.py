"""Training as tools: planned before a person is asked, awaited, joined, cancelled with the run, and gone on with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agentkit import Agent, jobs
from agentkit.approvals import ApprovalRequest
from agentkit.config import PolicySettings, Settings, StoreSettings
from agentkit.errors import InvalidParams
from agentkit.events import Event
from agentkit.job_tools import Wanted, job_tool, within
from agentkit.protocols import Tool, ToolContext
from agentkit.testing import ScriptedEngine
from agentkit.types import RunResult, Step, StopReason, ToolCall
from agentkit_training.tool_models import local_model
from agentkit_training.tool_texts import result_texts

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
    return {"steps": params["to"], "rows_held_out": 40, "eval_loss_before": 0.5, "eval_loss": 0.25, "eval_accuracy_before": 0.5, "eval_accuracy": 0.75}

WALK = Job(name="walk", home="walking:WALK", plan=plan, run=run)
"""


@job_tool(result_texts, data="context")
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
    assert result.steps[0].result.startswith(
        "It got better in 3 steps: loss 0.5 -> 0.25, accuracy 50% -> 75%, on 40 held-out rows. It took "
    )
    assert result.steps[0].result.endswith("The model is in prefs-walk")
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
        shown = _agentkit(bench, "approvals", "show", str(row["id"])).stdout
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


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("missing", "there is no folder missing"),
        ("no-such-owner/no-such-model", "is not on this machine"),
        ("adapter", "is an adapter of some-owner/some-model"),
        ("../tuned", "outside the workspace"),
    ],
)
def test_a_model_is_here_or_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, why: str) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    work = tmp_path / "work"
    (work / "adapter").mkdir(parents=True)
    (work / "adapter" / "adapter_config.json").write_text('{"base_model_name_or_path": "some-owner/some-model"}')
    with pytest.raises(InvalidParams, match=why):
        local_model(name, work)


# the tools themselves


def test_the_tools_say_what_they_are_and_load_nothing_heavy() -> None:
    code = (
        "import sys; from agentkit_training import plugin; tools = plugin.tools(); "
        "assert not {'torch', 'transformers', 'trl'} & set(sys.modules); print(*(tool.name for tool in tools))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = "fine_tune sft dpo reward grpo evaluate export_gguf quantize merge_adapter"
    assert done.stdout.split() == names.split()
    from agentkit_training.tools import TOOLS

    for tool in TOOLS:
        rules = tool.spec.rules
        assert (rules.cost, rules.polls, rules.idempotent, rules.egress, rules.predict) == (
            True,
            True,
            True,
            False,
            True,
        )


def test_without_the_extra_there_are_no_tools_and_it_is_said_why(monkeypatch: pytest.MonkeyPatch) -> None:
    import agentkit_training
    from agentkit.cli.plugins import _state
    from agentkit.extensions import installed

    monkeypatch.setattr(agentkit_training, "find_spec", lambda name: None)
    monkeypatch.setattr("agentkit.extensions.find_spec", lambda name: None)
    assert agentkit_training.plugin.tools() == ()
    state = _state("agentkit.plugins", installed("agentkit.plugins")["training"])
    assert state["status"] == "limited"
    assert "pip install 'agentkit-local[train]'" in state["detail"]


# real trainings


def _agentkit(place: Any, *words: str, timeout: float = 500) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "AGENTKIT_HOME": str(place.home), "AGENTKIT_EXTENSIONS__ONLY": "basics,training"}
    return subprocess.run(
        [sys.executable, "-m", "agentkit", *words],
        capture_output=True, text=True, cwd=place.work, env=environment, timeout=timeout, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A workspace with pairs, texts and rows that cannot be used, which real trainings share."""
    pytest.importorskip("trl")
    folder = tmp_path_factory.mktemp("training")
    home, work = folder / "home", folder / "work"
    home.mkdir()
    work.mkdir()
    pairs = [{"prompt": f"say {n}", "chosen": f"{n} it is", "rejected": f"no {n}"} for n in range(2, 26)]
    rows = {
        "prefs.jsonl": pairs,
        "chats.jsonl": [{"prompt": one["prompt"], "completion": one["chosen"]} for one in pairs],
        "broken.jsonl": [*pairs, {"prompt": "say 1", "chosen": "1 it is"}],
    }
    for name, of in rows.items():
        (work / name).write_text("".join(f"{json.dumps(one)}\n" for one in of))
    yield SimpleNamespace(home=home, work=work, script=_scripts(folder))
    for state in jobs.list_jobs(home / "jobs"):
        jobs.cancel(state.run_dir)


def _scripts(folder: Path) -> Callable[..., str]:
    def write(*entries: dict[str, Any]) -> str:
        path = folder / f"script-{len(list(folder.glob('script-*')))}.json"
        path.write_text(json.dumps([*entries, {"final": "See the figures."}]))
        return f"scripted:{path}"

    return write


def _call(tool: str, **arguments: Any) -> dict[str, Any]:
    return {"call": {"tool": tool, "arguments": arguments}}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fine_tuning_in_a_run_takes_the_method_from_the_file(place: Any) -> None:
    model = place.script(
        _call("fine_tune", data="prefs.jsonl", steps=4), _call("fine_tune", data="prefs.jsonl", steps=4)
    )
    done = json.loads(_agentkit(place, "run", "go", "-m", model, "--allow-tool", "fine_tune", "--json").stdout)["data"]
    assert done["stop_reason"] == "done"
    first, second = done["steps"]
    assert (first["ok"], first["result"]) == (True, second["result"])
    assert second["seconds"] < 1.0 < first["seconds"]
    (state,) = jobs.list_jobs(place.home / "jobs")
    assert (state.job, state.status, state.result.metrics["steps"]) == ("dpo", "ok", 4)
    figures = state.result.metrics
    assert f"loss 0.6931 -> {figures['eval_loss']:.4g}" in first["result"]
    assert f"on {figures['rows_held_out']} held-out rows" in first["result"]
    assert (place.work / "prefs-dpo" / "model.safetensors").is_file()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_without_leave_the_plan_waits_and_what_is_wrong_with_a_file_is_said(place: Any) -> None:
    model = place.script(_call("fine_tune", data="broken.jsonl"), _call("fine_tune", data="chats.jsonl", steps=3))
    stopped = _agentkit(place, "run", "go", "-m", model, "--on-approval", "queue", "--json")
    assert stopped.returncode == 8, stopped.stderr
    (broken,) = json.loads(stopped.stdout)["data"]["steps"]
    assert not broken["ok"]
    assert "/data: " in broken["result"]
    assert "line 25: has no `rejected`" in broken["result"]
    (row,) = json.loads(_agentkit(place, "approvals", "--json").stdout)["data"]
    assert "sprout (embedded); 3 steps of 8 of " in row["foreseen"]
    assert "writes chats-sft" in row["foreseen"]
    assert not (place.work / "chats-sft").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed: no terminal to type into")
def test_a_chat_shows_the_plan_asks_and_waits(place: Any) -> None:
    model = place.script(_call("sft", data="chats.jsonl", steps=4))
    command = f"AGENTKIT_HOME={place.home} AGENTKIT_EXTENSIONS__ONLY=basics,training {sys.executable} -m agentkit chat -m {model}"
    tmux = ["tmux", "-L", f"training-{os.getpid()}"]

    def keys(*words: str) -> None:
        subprocess.run([*tmux, "send-keys", *words], check=True)

    def wait(text: str) -> str:
        end = time.monotonic() + 400
        while time.monotonic() < end:
            shown = subprocess.run([*tmux, "capture-pane", "-pJ", "-S-200"], capture_output=True, text=True).stdout
            if text in shown:
                return shown
            time.sleep(0.2)
        raise AssertionError(f"{text!r} did not appear on:\n{shown}")

    line = f"cd {place.work} && {command}; sleep 60"
    subprocess.run(
        [*tmux, "-f", "/dev/null", "new-session", "-d", "-x", "160", "-y", "50", "sh", "-c", line], check=True
    )
    try:
        wait(" · ctx ")
        keys("-l", "train on chats.jsonl")
        keys("Enter")
        asked = wait("allow it?")
        assert "sprout (embedded); 4 steps of 8 of " in asked
        assert "MB of disk" in asked
        assert not any(state.job == "sft" for state in jobs.list_jobs(place.home / "jobs"))
        keys("-l", "y")
        keys("Enter")
        shown = wait("See the figures.")
        assert "It got " in shown or "It stayed the same" in shown
        assert shown.count("thinking") < 3  # the line that moves is drawn over itself, however long a plan takes
        assert (place.work / "chats-sft").is_dir()
    finally:
        subprocess.run([*tmux, "kill-server"], capture_output=True, check=False)
