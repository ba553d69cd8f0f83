"""Training as tools: which models and files they take, and real trainings in a run and in a chat."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agentkit import jobs
from agentkit.errors import InvalidParams
from agentkit_training.tool_models import local_model
from agentkit_training.tool_texts import result_texts

# names


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


# what a job came to


@pytest.mark.parametrize(
    ("figures", "text", "brief"),
    [
        (
            {"eval_loss_before": 0.5, "eval_loss": 0.25, "eval_accuracy_before": 0.5, "eval_accuracy": 0.75, "rows_held_out": 40},
            "It got better in 3 steps: loss 0.5 -> 0.25, accuracy 50% -> 75%, on 40 held-out rows",
            "it got better",
        ),
        (
            {"eval_loss_before": 0.5, "eval_loss": 0.5001, "rows_held_out": 12},
            "It stayed the same in 3 steps: loss 0.5 -> 0.5001, on 12 held-out rows, which is too few to be sure",
            "it stayed the same",
        ),
        ({"loss_first": 2.0, "loss_last": 1.0}, "whether it got better is not known, for no rows were held out", "it is trained"),
    ],
)  # fmt: skip
def test_better_or_not_is_said_in_words(figures: dict[str, Any], text: str, brief: str) -> None:
    result = jobs.JobResult(status="ok", metrics={"steps": 3, **figures}, wall_s=70.0, warnings=("few rows.",))
    state = jobs.JobState(run_dir=Path("run"), job="dpo", status="ok", started_at=0.0, result=result)
    told, shortly = result_texts(state, "prefs-dpo")
    assert text in told
    assert told.endswith("It took 1 min 10 s. The model is in prefs-dpo. Note: few rows")
    assert shortly == brief


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
