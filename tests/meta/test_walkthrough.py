"""What the pages tell people to type, one command after another, with the outcome that they promise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


class Terminal:
    """Types commands in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def script(self, *steps: dict[str, Any]) -> None:
        """Let the default model take these steps."""
        (self.folder / "steps.json").write_text(json.dumps(steps), encoding="utf-8")
        (self.folder / "agentkit.toml").write_text('[engine]\nmodel = "scripted:steps.json"\n', encoding="utf-8")

    def __call__(self, *words: str, code: int = 0, stdin: str = "") -> str:
        done = subprocess.run(
            [sys.executable, "-m", "agentkit", *words],
            cwd=self.folder,
            env=dict(os.environ),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    def data(self, *words: str, code: int = 0) -> Any:
        return json.loads(self(*words, "--json", code=code))["data"]


@pytest.fixture
def agentkit(tmp_path: Path) -> Terminal:
    """A terminal in an empty folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    return Terminal(folder)


LIST: dict[str, Any] = {"call": {"tool": "run_command", "arguments": {"command": "ls -a"}}}
SUM: list[dict[str, Any]] = [
    {"call": {"tool": "read_file", "arguments": {"path": "numbers.txt"}}},
    {"call": {"tool": "calculator", "arguments": {"expression": "sum($1)"}}},
    {"final": "The sum is 49.5."},
]


def test_the_answer_alone_goes_to_stdout(agentkit: Terminal) -> None:
    agentkit.script({"final": "30"})
    assert agentkit("run", "What is 15% of 200?") == "30\n"


def test_adding_up_a_file_shows_each_step_in_the_json(agentkit: Terminal) -> None:
    (agentkit.folder / "numbers.txt").write_text("12\n30\n7.5\n", encoding="utf-8")
    agentkit.script(*SUM)
    result = agentkit.data("run", "add up the numbers in numbers.txt")
    assert [(step["tool"], step["arguments"], step["result"]) for step in result["steps"]] == [
        ("read_file", {"path": "numbers.txt"}, "12\n30\n7.5\n"),
        ("calculator", {"expression": "sum($1)"}, "49.5"),
    ]


@pytest.mark.parametrize(("check", "code", "reason"), [("true", 0, "done"), ("false", 1, "unverified")])
def test_a_run_ends_with_0_only_if_the_check_does(agentkit: Terminal, check: str, code: int, reason: str) -> None:
    agentkit.script({"final": "All tests pass."})
    assert agentkit.data("run", "make the tests pass", "--check", check, code=code)["stop_reason"] == reason


def test_where_nobody_can_be_asked_a_call_is_refused_and_reported(agentkit: Terminal) -> None:
    agentkit.script(LIST, {"final": "I could not."})
    result = agentkit.data("run", "clean up", code=5)
    assert [call["tool"] for call in result["blocked_calls"]] == ["run_command"]


def test_an_allowed_tool_is_not_asked_about(agentkit: Terminal) -> None:
    agentkit.script(LIST, {"final": "Done."})
    result = agentkit.data("run", "run `ls -a`", "--allow-tool", "run_command")
    assert "steps.json" in result["steps"][0]["result"]


def test_a_queued_call_waits_is_approved_and_runs_once(agentkit: Terminal) -> None:
    agentkit.script(LIST, {"final": "Removed."})
    run = agentkit.data("run", "remove the old logs", "--on-approval", "queue", code=8)["run_id"]
    agentkit.script({"final": "Removed."})
    assert agentkit.data("run", "--resume", run, code=8)["stop_reason"] == "needs_input"

    waiting = agentkit.data("approvals")
    assert [row["tool"] for row in waiting] == ["run_command"]
    agentkit("approvals", "approve", waiting[0]["id"][:8])
    result = agentkit.data("run", "--resume", run[:8])
    assert [step["ok"] for step in result["steps"]] == [True]
    assert result["stop_reason"] == "done"
    assert agentkit.data("run", "--resume", run)["steps"] == result["steps"]


def test_a_denied_call_does_not_run(agentkit: Terminal) -> None:
    agentkit.script(LIST, {"final": "Removed."})
    run = agentkit.data("run", "remove the old logs", "--on-approval", "queue", code=8)["run_id"]
    agentkit("approvals", "deny", agentkit.data("approvals")[0]["id"])
    agentkit.script({"final": "I was not allowed to."})
    result = agentkit.data("run", "--resume", run, code=5)
    assert [step["ok"] for step in result["steps"]] == [False]


def test_out_of_turns_is_124_with_the_best_answer_so_far(agentkit: Terminal) -> None:
    (agentkit.folder / "numbers.txt").write_text("1\n2\n", encoding="utf-8")
    agentkit.script(SUM[0], {"final": "I have read the numbers."})
    result = agentkit.data("run", "add up the numbers in numbers.txt", "--max-turns", "1", code=124)
    assert result["answer"] == "I have read the numbers."


def test_the_task_comes_from_standard_input(agentkit: Terminal) -> None:
    agentkit.script({"final": "30"})
    assert agentkit("run", "-", stdin="What is 15% of 200?\n") == "30\n"


def test_without_a_terminal_chat_is_a_usage_error(agentkit: Terminal) -> None:
    assert agentkit(code=2) == ""


def test_a_conversation_goes_on(agentkit: Terminal) -> None:
    agentkit.script({"final": "Hello Ada."})
    thread = agentkit.data("run", "I am Ada.")["thread_id"]
    agentkit.script({"final": "You are Ada."})
    assert agentkit.data("run", "Who am I?", "-c")["thread_id"] == thread
    assert len(agentkit.data("runs", "list", "--thread", thread)) == 2


def test_a_misspelt_setting_is_named_with_the_right_one(agentkit: Terminal) -> None:
    (agentkit.folder / "agentkit.toml").write_text("[run]\nmax_turn = 3\n", encoding="utf-8")
    error = json.loads(agentkit("run", "x", "--json", code=3))["error"]
    assert "did you mean 'run.max_turns'?" in error["message"]
    assert error["exit_code"] == 3
