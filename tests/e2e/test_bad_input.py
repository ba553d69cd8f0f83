"""Whatever goes in, one line that says what is wrong and how to mend it comes out, with the right status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def call(tool: str, **arguments: object) -> dict[str, object]:
    return {"call": {"tool": tool, "arguments": arguments}}


def refused(program: Any, *words: str, code: int, said: str, **options: Any) -> None:
    """Run it as text and as JSON: one line, no traceback, stdout empty or one document."""
    ran = program(*words, **options)
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert said in ran.one_line()
    ran = program(*words, "--json", **options)
    assert ran.code == code
    assert ran.document["error"]["exit_code"] == code
    assert said in ran.document["error"]["message"]
    assert said in ran.one_line()


def test_an_unknown_option(agentkit) -> None:
    refused(agentkit, "run", "x", "--max-turn", "3", code=2, said="did you mean --max-turns?")


def test_an_unknown_model(agentkit) -> None:
    refused(agentkit, "run", "x", "-m", "sprowt", code=3, said="did you mean 'sprout'?")


def _model(agentkit, content: bytes) -> str:
    (agentkit.work / "bad.gguf").write_bytes(content)
    return "bad.gguf"


def test_a_truncated_gguf(agentkit, tiny_model) -> None:
    whole = tiny_model.read_bytes()
    for size in (10, 1_000, len(whole) // 2, len(whole) - 1):
        refused(agentkit, "run", "x", "-m", _model(agentkit, whole[:size]), code=3, said="bad.gguf")


def test_an_empty_gguf(agentkit) -> None:
    refused(agentkit, "run", "x", "-m", _model(agentkit, b""), code=3, said="empty")


def test_an_lfs_pointer_for_a_gguf(agentkit) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 4096\n" % (b"0" * 64)
    refused(agentkit, "run", "x", "-m", _model(agentkit, pointer), code=3, said="LFS")


def test_an_html_page_for_a_gguf(agentkit) -> None:
    page = b"<!DOCTYPE html><html><body>404</body></html>"
    refused(agentkit, "run", "x", "-m", _model(agentkit, page), code=3, said="a web page, not a model")


def test_a_gguf_that_llama_cpp_itself_refuses(agentkit, tiny_model) -> None:
    broken = tiny_model.read_bytes().replace(b"blk.1.ffn_up.weight", b"blk.1.ffn_xx.weight")
    refused(agentkit, "run", "x", "-m", _model(agentkit, broken), code=3, said="bad.gguf")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[engine]\nctx_sze = 3", "did you mean 'engine.context'?"),
        ("[engine]\nmodle = 'x'", "did you mean 'engine.model'?"),
        ("[run]\ntimeout = 3", "did you mean 'run.timeout_s'?"),
        ("[engine]\ncontext = 'big'", "engine.context"),
        ("[plugins.basics]\nnothing = 1", "plugins.basics.nothing"),
    ],
)
def test_a_key_that_no_setting_has(agentkit, script, line: str, said: str) -> None:
    (agentkit.work / "agentkit.toml").write_text(f"{line}\n")
    refused(agentkit, "run", "x", "-m", script({"final": "y"}), code=3, said=said)


def test_a_variable_that_no_setting_has(agentkit, script) -> None:
    said = "env AGENTKIT_CTX_SIZE; did you mean 'engine.context'?"
    refused(agentkit, "run", "x", "-m", script({"final": "y"}), code=3, said=said, env={"AGENTKIT_CTX_SIZE": "9"})


def test_a_prompt_larger_than_the_context(agentkit, tiny_model) -> None:
    flags = ("-q", "-T", "calculator", "--max-turns", "2", "-m", str(tiny_model))
    small = {"AGENTKIT_CTX": "512"}
    text = agentkit("run", "-", *flags, stdin="many words " * 400, env=small)
    assert (text.code, text.out) == (7, "")
    assert "fit" in text.one_line()
    ran = agentkit("run", "-", *flags, "--json", stdin="many words " * 400, env=small)
    assert ran.code == 7
    ran.one_line()
    data = ran.document["data"]
    assert (data["stop_reason"], data["exit_code"]) == ("context", 7)
    again = agentkit("run", "hello", "--thread", data["thread_id"], *flags, "--json", env=small)
    assert again.document["data"]["stop_reason"] != "context"
    assert "Traceback" not in again.err
    kept = json.loads(agentkit("runs", "show", data["run_id"], "--json").out)["data"]
    assert str(kept).count("many words") >= 400  # nothing is lost


def test_standard_input_is_closed(agentkit, script) -> None:
    for more in ((), ("--json",)):
        words = agentkit.command("run", "-", "-m", script({"final": "x"}), *more)
        done = subprocess.run(
            ["sh", "-c", 'exec "$@" <&-', "sh", *words],
            capture_output=True,
            text=True,
            env=agentkit.environment(),
            cwd=agentkit.work,
        )
        assert done.returncode == 2
        assert "standard input is closed" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert (json.loads(done.stdout)["error"]["exit_code"] if more else done.stdout) == (2 if more else "")


def test_a_folder_that_cannot_be_written(agentkit, script) -> None:
    (agentkit.work / "file").write_text("in the way")
    model = script({"final": "y"})
    below = str(agentkit.work / "file" / "below")
    refused(agentkit, "run", "x", "-m", model, code=3, said="file", env={"AGENTKIT_HOME": below})
    refused(agentkit, "run", "x", "-m", model, code=3, said="file", env={"AGENTKIT_STORE__URL": f"{below}/a.db"})


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system has no /proc")
def test_a_folder_that_nobody_can_write(agentkit, script) -> None:
    refused(agentkit, "run", "x", "-m", script({"final": "y"}), code=3, said="/proc", env={"AGENTKIT_HOME": "/proc/a"})


def test_a_database_that_is_none(agentkit, script) -> None:
    (agentkit.home / "agentkit.db").write_bytes(b"this is no database at all " * 400)
    refused(agentkit, "run", "x", "-m", script({"final": "y"}), code=3, said="agentkit.db")


def test_a_long_result_that_cannot_be_kept(nasty, script) -> None:
    (nasty.program.home / "results").write_text("in the way")
    ran = nasty("run", "x", "--json", "-m", script(call("returns"), {"final": "x"}))
    assert ran.code == 70
    assert "results" in ran.one_line()
    assert ran.document["data"]["stop_reason"] == "error"


def _step(ran: Any) -> dict[str, Any]:
    assert ran.code == 0, ran.err
    assert "Traceback" not in ran.err
    (step,) = ran.document["data"]["steps"]
    return step


def test_a_tool_that_raises(nasty, script) -> None:
    step = _step(nasty("run", "x", "--json", "-m", script(call("raises"), {"final": "it failed"})))
    assert (step["ok"], step["result"]) == (False, "ValueError: first line second line of a strange error")
    text = nasty("run", "x", "-m", script(call("raises"), {"final": "it failed"}))
    assert (text.code, text.out) == (0, "it failed\n")
    assert "raises() " in text.one_line()


def test_a_tool_that_leaves_the_process(nasty, script) -> None:
    step = _step(nasty("run", "x", "--json", "-m", script(call("exits"), {"final": "x"})))
    assert (step["ok"], step["result"]) == (False, "SystemExit: so long")


def test_a_tool_that_hangs(nasty, script) -> None:
    began = time.monotonic()
    step = _step(nasty("run", "x", "--json", "-m", script(call("hangs"), {"final": "x"})))
    assert not step["ok"]
    assert "did not finish in time" in step["result"]
    assert time.monotonic() - began < 40  # and the process ends, though the thread does not


def test_a_tool_that_prints_100_mb(nasty, script) -> None:
    ran = nasty("run", "x", "--json", "-m", script(call("prints"), {"final": "x"}))
    step = _step(ran)
    assert step["ok"]
    assert "100,000,100 characters in all" in step["result"]
    assert len(ran.out) < 100_000
    assert "spam spam" not in ran.err


def test_a_tool_that_prints_past_python(nasty, script) -> None:
    model = script(call("prints_beside"), {"final": "x"})
    ran = nasty("run", "x", "--json", "-m", model)
    assert _step(ran)["result"] == "printed"
    assert "from a child" in ran.err
    stream = nasty("run", "x", "--output-format", "stream-json", "-m", model)
    assert all(json.loads(line)["type"] for line in stream.out.splitlines())
    assert nasty("run", "x", "-q", "-m", model).out == "x\n"


def test_a_tool_that_returns_100_mb(nasty, script) -> None:
    ran = nasty("run", "x", "--json", "-m", script(call("returns"), {"final": "x"}))
    assert "100,000,000 characters in all" in _step(ran)["result"]
    assert len(ran.out) < 100_000


def test_a_tool_that_gives_binary(nasty, script) -> None:
    step = _step(nasty("run", "x", "--json", "-m", script(call("binary"), {"final": "x"})))
    assert step["result"].startswith("[binary data: ")
    text = nasty("run", "x", "-m", script(call("escapes"), {"final": "x"}))
    assert text.code == 0
    assert not set("\x1b\x00\x07") & set(text.err + text.out)


def test_two_strangers_with_one_name_harm_only_each_other(agentkit, script, installed, tmp_path) -> None:
    install, on_path = installed
    plugin = "from agentkit import Plugin\nplugin = Plugin(name='twin')\n"
    points = "[agentkit.plugins]\ntwin = {0}:plugin\n[agentkit.planners]\ntwin = {0}:plugin\n"
    for name in ("twin_one", "twin_two"):
        install(tmp_path / "site", name.replace("_", "-"), points.format(name), **{name: plugin})
    env = on_path(tmp_path / "site", only="basics,twin")
    ran = agentkit("run", "x", "-m", script(call("calculator", expression="1+1"), {"final": "2"}), env=env)
    assert (ran.code, ran.out) == (0, "2\n")
    assert "both twin-one and twin-two offer it" in ran.err
    rows = agentkit("plugins", "--json", env=env).document["data"]
    twins = [row for row in rows if row["name"] == "twin"]
    assert {(row["distribution"], row["status"]) for row in twins} == {
        ("twin-one 6.6.6", "broken"),
        ("twin-two 6.6.6", "broken"),
    }
    assert all("both twin-one and twin-two" in row["detail"] for row in twins)
    planned = agentkit("run", "x", "-m", script({"final": "2"}), env={**env, "AGENTKIT_RUN__PLANNER": "twin"})
    assert (planned.code, planned.out) == (3, "")
    assert planned.err.splitlines()[-1] == (
        "agentkit: agentkit.planners 'twin': both twin-one and twin-two offer it; uninstall one"
    )


def _until(process: subprocess.Popen[str], text: str) -> list[str]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError(f"{text!r} did not come")


def _start(nasty: Any, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        nasty.program.command(*words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        cwd=nasty.program.work,
        env=nasty.program.environment({**nasty.environ, "AGENTKIT_RUN__TIMEOUT_S": "60"}),
    )


def test_ctrl_c_in_a_tool_cancels_the_turn_and_the_run_goes_on_later(nasty, script) -> None:
    sleeper = nasty.environ["PYTHONPATH"].split(os.pathsep)[0]
    code = Path(sleeper) / "nasty_plugin.py"
    code.write_text(code.read_text().replace("timeout_s=0.5", "timeout_s=50"))
    process = _start(nasty, "run", "x", "--output-format", "stream-json", "-m", script(call("hangs"), {"final": "x"}))
    _until(process, '"tool_use"')
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    last = json.loads(out.splitlines()[-1])
    assert (last["type"], last["stop_reason"], last["exit_code"]) == ("run_ended", "cancelled", 130)
    code.write_text(code.read_text().replace("    while True:\n        time.sleep(60)", "    return 'woke up'"))
    resumed = nasty("run", "--resume", last["run_id"], "--json", "-m", script({"final": "done"}))
    assert resumed.code == 0, resumed.err
    assert [step["result"] for step in resumed.document["data"]["steps"]] == ["woke up"]


def test_ctrl_c_twice_leaves_at_once(nasty, script) -> None:
    code = Path(nasty.environ["PYTHONPATH"].split(os.pathsep)[0]) / "nasty_plugin.py"
    code.write_text(code.read_text().replace("timeout_s=0.5", "timeout_s=50"))
    process = _start(nasty, "run", "x", "--output-format", "stream-json", "-m", script(call("hangs"), {"final": "x"}))
    seen = _until(process, '"tool_use"')
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    killer = threading.Timer(15, process.kill)
    killer.start()
    _, err = process.communicate()
    killer.cancel()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    run_id = json.loads(seen[-1])["run_id"]  # abandoned, and still there to be finished
    code.write_text(code.read_text().replace("    while True:\n        time.sleep(60)", "    return 'woke up'"))
    resumed = nasty("run", "--resume", run_id, "--json", "-m", script({"final": "done"}))
    assert resumed.code == 0, resumed.err
    assert resumed.document["data"]["answer"] == "done"
