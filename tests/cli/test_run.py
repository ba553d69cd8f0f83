"""`agentkit run` on scripted models: what goes where, and what the status says."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def call(tool: str, **arguments: object) -> dict[str, object]:
    return {"call": {"tool": tool, "arguments": arguments}}


SUM = call("calculator", expression="15% of 200")


def test_the_answer_alone_is_on_stdout(agentkit, script) -> None:
    ran = agentkit("run", "What is 15% of 200?", "-m", script(SUM, {"final": "It is 30."}))
    assert (ran.code, ran.out) == (0, "It is 30.\n")
    assert 'calculator(expression="15% of 200")' in ran.err
    assert "→ 30" in ran.err


def test_quiet_is_quiet(agentkit, script) -> None:
    ran = agentkit("run", "x", "-q", "-m", script(SUM, {"final": "30"}))
    assert (ran.code, ran.out, ran.err) == (0, "30\n", "")


def test_json_is_one_document(agentkit, script) -> None:
    ran = agentkit("run", "x", "--json", "-m", script(SUM, {"final": "It is 30."}))
    found = ran.document
    data = found["data"]
    assert (found["schema_version"], found["command"]) == (1, "run")
    assert (data["answer"], data["stop_reason"], data["exit_code"]) == ("It is 30.", "done", 0)
    step = data["steps"][0]
    assert set(step) == {"tool", "arguments", "result", "ok", "seconds"}
    assert (step["tool"], step["arguments"], step["result"], step["ok"]) == (
        "calculator",
        {"expression": "15% of 200"},
        "30",
        True,
    )
    assert {"run_id", "thread_id", "usage", "model", "detail", "blocked_calls", "data"} <= set(data)
    assert ran.out.count("\n") == 1


def test_stream_json_is_one_event_a_line(agentkit, script) -> None:
    ran = agentkit("run", "x", "--output-format", "stream-json", "-m", script(SUM, {"final": "It is 30."}))
    events = [json.loads(line) for line in ran.out.splitlines()]
    kinds = [event["type"] for event in events]
    assert kinds[0] == "run_started"
    assert kinds[-1] == "run_ended"
    assert {"tool_use", "tool_result", "text_delta"} <= set(kinds)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert all({"schema_version", "run_id", "thread_id", "ts"} <= set(event) for event in events)
    assert events[-1]["answer"] == "It is 30."


def test_the_task_from_a_file_and_from_a_pipe(agentkit, script) -> None:
    (agentkit.work / "task.txt").write_text("\ufeffsay hello\n", encoding="utf-8")
    model = script({"final": "hello"})
    for words, stdin in ((("-f", "task.txt"), ""), (("-",), "say hello\n"), (("-f", "-"), "say hello\n")):
        assert agentkit("run", *words, "-m", model, stdin=stdin).code == 0
    tasks = [row["task"] for row in agentkit("runs", "--json").document["data"]]
    assert tasks == ["say hello"] * 3


def _with(redirections: str, agentkit, *words: str) -> subprocess.CompletedProcess[str]:
    line = f'exec "$@" {redirections}'
    command = ["sh", "-c", line, "sh", *agentkit.command(*words)]
    return subprocess.run(command, capture_output=True, text=True, env=agentkit.environment(), cwd=agentkit.work)


def test_standard_input_may_be_closed(agentkit, script) -> None:
    done = _with("<&-", agentkit, "run", "-", "-m", script({"final": "x"}))
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "closed" in done.stderr
    fine = _with("<&-", agentkit, "run", "x", "-m", script(SUM, {"final": "30"}))
    assert (fine.returncode, fine.stdout) == (0, "30\n")
    alone = _with("<&-", agentkit)
    assert (alone.returncode, len(alone.stderr.strip().splitlines())) == (2, 1)


def test_standard_output_may_be_closed(agentkit, script) -> None:
    done = _with(">&-", agentkit, "run", "x", "-q", "-m", script({"final": "x"}))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_line(agentkit, script) -> None:
    done = _with(">/dev/full", agentkit, "run", "x", "-q", "-m", script({"final": "x"}))
    assert done.returncode == 70
    assert len(done.stderr.strip().splitlines()) == 1
    assert "No space left" in done.stderr


def test_words_that_are_not_unicode(agentkit, script) -> None:
    done = subprocess.run(
        [*(word.encode() for word in agentkit.command("run", "--json", "-m", script({"final": "x"}))), b"a\xffb"],
        capture_output=True,
        env=agentkit.environment(),
        cwd=agentkit.work,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["data"]["answer"] == "x"


def test_a_check_decides(agentkit, script) -> None:
    good = agentkit("run", "x", "--check", "true", "-m", script({"final": "done"}))
    bad = agentkit("run", "x", "--check", "echo broken >&2; false", "-m", script({"final": "done"}))
    assert (good.code, bad.code, bad.out) == (0, 1, "done\n")
    assert "unverified" in bad.err
    assert "broken" in bad.err


@pytest.mark.parametrize(
    ("steps", "flags", "code", "reason"),
    [
        ([{"ask": "Which file?"}], (), 8, "needs_input"),
        ([{"fail": "out of memory"}], (), 4, "model"),
        ([SUM, SUM], ("--max-turns", "1"), 124, "budget"),
        (
            [call("write_file", path="a.txt", content="x"), {"final": "done"}],
            ("--approval-mode", "manual"),
            5,
            "blocked",
        ),
    ],
)
def test_the_status_says_how_it_ended(agentkit, script, steps, flags, code: int, reason: str) -> None:
    ran = agentkit("run", "x", "--json", *flags, "-m", script(*steps))
    assert ran.code == code, ran.err
    assert (ran.document["data"]["stop_reason"], ran.document["data"]["exit_code"]) == (reason, code)


def test_a_denied_call_is_in_the_document_and_has_not_happened(agentkit, script) -> None:
    model = script(call("write_file", path="a.txt", content="x"), {"final": "done"})
    ran = agentkit("run", "x", "--json", "--approval-mode", "manual", "-m", model)
    assert [blocked["tool"] for blocked in ran.document["data"]["blocked_calls"]] == ["write_file"]
    assert not (agentkit.work / "a.txt").exists()


def test_a_queued_call_is_approved_and_done_once(agentkit, script) -> None:
    write = call("write_file", path="a.txt", content="hello")
    flags = ("--approval-mode", "manual", "--on-approval", "queue")
    first = agentkit("run", "x", "--json", *flags, "-m", script(write, {"final": "done"}))
    assert first.code == 8
    run = first.document["data"]["run_id"]
    waiting = agentkit("approvals", "--json").document["data"]
    assert [(row["tool"], row["state"]) for row in waiting] == [("write_file", "pending")]
    assert not (agentkit.work / "a.txt").exists()
    assert agentkit("approvals", "approve", waiting[0]["id"][:8]).code == 0
    assert agentkit("approvals", "deny", waiting[0]["id"]).code == 2  # decided already
    second = agentkit("run", "--resume", run, "--json", *flags, "-m", script({"final": "done"}))
    assert second.code == 0, second.err
    assert (agentkit.work / "a.txt").read_text() == "hello"
    assert second.document["data"]["run_id"] == run


def test_a_conversation_goes_on(agentkit, script) -> None:
    first = agentkit("run", "my name is Ada", "--json", "-m", script({"final": "Hello Ada."})).document["data"]
    second = agentkit("run", "and now?", "-c", "--json", "-m", script({"final": "Ada."})).document["data"]
    third = agentkit("run", "x", "--thread", first["thread_id"][:8], "--json", "-m", script({"final": "y"}))
    assert second["thread_id"] == first["thread_id"] == third.document["data"]["thread_id"]
    assert "my name is Ada" in agentkit("threads", "show", first["thread_id"][:8]).out


def test_only_the_tools_named(agentkit, script) -> None:
    flags = ("run", "x", "--json", "-T", "now", "-m", script(SUM, {"final": "no"}))
    step = agentkit(*flags).document["data"]["steps"][0]
    assert not step["ok"]
    assert "calculator" in step["result"]


def test_an_answer_of_a_schema(agentkit, script) -> None:
    (agentkit.work / "schema.json").write_text(json.dumps({"type": "object", "properties": {"n": {"type": "integer"}}}))
    ran = agentkit("run", "x", "--json", "--schema", "schema.json", "-m", script({"final": '{"n": 3}'}))
    assert ran.document["data"]["data"] == {"n": 3}


def _until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"{text!r} did not come: {process.stderr.read() if process.stderr else ''}")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_one_signal_cancels_and_keeps_what_was_done(agentkit, script, number: int, code: int) -> None:
    slow = {"final": "a long answer that takes its time", "seconds": 30}
    process = agentkit.start("run", "x", "--output-format", "stream-json", "-m", script(SUM, slow))
    _until(process, '"tool_result"')
    time.sleep(0.3)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == code, err
    last = json.loads(out.splitlines()[-1])
    assert (last["type"], last["stop_reason"], last["exit_code"]) == ("run_ended", "cancelled", code)
    assert "Traceback" not in err
    assert f"--resume {last['run_id']}" in err
    resumed = agentkit("run", "--resume", last["run_id"], "--json", "-m", script({"final": "30"}))
    assert resumed.code == 0, resumed.err
    assert [step["tool"] for step in resumed.document["data"]["steps"]] == ["calculator"]


def test_a_second_ctrl_c_leaves_at_once(agentkit, script) -> None:
    (agentkit.work / "deaf.py").write_text(
        "import sys, time\n"
        "from agentkit.cli.interrupts import Interrupts\n"
        "with Interrupts(notice='stopping') as stop:\n"
        "    print('ready', flush=True)\n"
        "    end = time.monotonic() + 20\n"
        "    while time.monotonic() < end: time.sleep(0.05)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "deaf.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=agentkit.work,
        env={**agentkit.environment(), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    _until(process, "ready")
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None  # the first one only asks
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=5)
    assert process.returncode == 130
    assert "stopping" in err


@pytest.mark.parametrize("form", ["text", "json", "stream-json"])
def test_a_closed_pipe_is_quiet(agentkit, script, form: str) -> None:
    process = agentkit.start("run", "x", "-q", "--output-format", form, "-m", script({"final": "to nobody"}))
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=30) == 141


def test_debug_shows_the_traceback(agentkit) -> None:
    ran = agentkit("run", "x", "-m", "sprot", env={"AGENTKIT_LOG_LEVEL": "debug"})
    assert ran.code == 3
    assert "Traceback" in ran.err
