"""The examples run, as a reader would run them, with a scripted model in place of the default one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SPROUT = Path(__file__).parents[2] / "agentkit" / "models" / "weights" / "sprout.gguf"

Steps = list[dict[str, Any]]


def call(tool: str, **arguments: Any) -> dict[str, Any]:
    return {"call": {"tool": tool, "arguments": arguments}}


PERCENT: Steps = [call("calculator", expression="15% of 200"), {"final": "15% of 200 is 30."}]
PRODUCT: Steps = [call("calculator", expression="12 * 12"), {"final": "144"}]
VERDICT = {"severity": "page", "service": "checkout", "reason": "the connection pool is exhausted"}

EXPECTED: dict[str, tuple[Steps, str]] = {
    "quickstart.py": (PERCENT, "15% of 200 is 30.\n  calculator({'expression': '15% of 200'}) -> 30\n"),
    "own_tool.py": ([call("stock_level", item="pears"), {"final": "3 pears."}], "3 pears.\n"),
    "async_chat.py": (
        [*PERCENT, *PRODUCT],
        "> What is 15% of 200?\n15% of 200 is 30.\n> What is 12 * 12?\n144\n",
    ),
    "devops_triage.py": (
        [
            call("service_status", service="checkout"),
            call("recent_errors", service="checkout"),
            {"final": json.dumps(VERDICT)},
        ],
        json.dumps({"verdict": VERDICT, "stop_reason": "done", "steps": 2}) + "\n",
    ),
}


def run(name: str, folder: Path, model: str | None, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environ = os.environ | ({"AGENTKIT_MODEL": model} if model else {})
    command = [sys.executable, "-W", "error", str(EXAMPLES / name)]
    return subprocess.run(command, cwd=folder, env=environ, input=stdin, capture_output=True, text=True, timeout=100)


def scripted(steps: Steps, folder: Path) -> str:
    path = folder / "steps.json"
    path.write_text(json.dumps(steps), encoding="utf-8")
    return f"scripted:{path}"


@pytest.mark.parametrize("name", EXPECTED)
def test_example_prints_what_it_says(name: str, tmp_path: Path) -> None:
    steps, printed = EXPECTED[name]
    done = run(name, tmp_path, scripted(steps, tmp_path))
    assert (done.returncode, done.stdout) == (0, printed), done.stderr
    assert done.stderr == ""


def test_events_come_in_order_and_end_with_the_result(tmp_path: Path) -> None:
    done = run("stream_events.py", tmp_path, scripted(PERCENT, tmp_path))
    assert done.returncode == 0, done.stderr
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert [text for _, text in lines] == [
        "calls calculator with {'expression': '15% of 200'}",
        "got 30",
        "done: 15% of 200 is 30.",
    ]
    numbers = [int(number) for number, _ in lines]
    assert numbers == sorted(numbers)


def test_triage_takes_an_alert_and_reports_a_failure_by_its_exit_status(tmp_path: Path) -> None:
    alert = json.dumps({"alertname": "Down", "service": "search"})
    done = run("devops_triage.py", tmp_path, scripted([{"fail": "the server is gone"}], tmp_path), stdin=alert)
    assert done.returncode == 4
    assert json.loads(done.stdout) == {"verdict": None, "stop_reason": "model", "steps": 0}


@pytest.mark.slow
@pytest.mark.skipif(not SPROUT.exists(), reason="the embedded model has not been trained yet")
@pytest.mark.parametrize("name", ["quickstart.py", "stream_events.py", "async_chat.py"])
def test_example_runs_with_the_embedded_model(name: str, tmp_path: Path) -> None:
    done = run(name, tmp_path, None)
    assert done.returncode == 0, done.stderr
    assert "30" in done.stdout


def test_every_example_is_tested() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted([*EXPECTED, "stream_events.py"])
