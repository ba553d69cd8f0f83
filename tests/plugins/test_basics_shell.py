"""Programs: allowed ones only, and none outlives its call."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentkit.errors import Cancelled
from agentkit.tools import Limits, run_call
from agentkit.tools.convert import bare_context
from agentkit.types import Done, Effect, Failed, ToolCall
from agentkit_basics.process import run_program
from agentkit_basics.shell import run_command

NO_LIMITS = Limits()
SETTINGS = {"commands": ("echo", "ls", "sh", "cat", "env", "python3", "sleep", "no-such-program")}

# Ignores TERM, has a child that does so too, and says who they are.
STUBBORN = (
    "trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > child; while :; do sleep 1; done' & "
    "echo $$ > leader; while :; do sleep 1; done"
)


def run(command: str, workspace: Path, limits: Limits = NO_LIMITS, settings: Any = SETTINGS, **context: Any) -> Any:
    given = replace(bare_context(workspace), settings=settings, **context)
    call = ToolCall(id="1", tool="run_command", arguments={"command": command})
    return run_call(run_command, call, given, limits=limits)


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z")


def wait_until(condition: Any, seconds: float = 10) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


def started(folder: Path) -> bool:
    return all((folder / name).exists() and (folder / name).read_text().strip() for name in ("leader", "child"))


def pids(folder: Path) -> list[int]:
    return [int((folder / name).read_text()) for name in ("leader", "child")]


def test_a_program_runs_in_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "a b.txt").write_text("text")
    assert run("echo hello 'big  world'", tmp_path) == Done(text="hello big  world", data={"exit_status": 0})
    assert run("ls", tmp_path).text == "a b.txt\nagentkit-home" or run("ls", tmp_path).text == "a b.txt"
    assert run("cat 'a b.txt'", tmp_path).text == "text"
    assert run("sh -c ':'", tmp_path).text == "(no output)"


def test_a_failing_program_is_data(tmp_path: Path) -> None:
    outcome = run("sh -c 'echo out; echo err >&2; exit 3'", tmp_path)
    assert outcome == Failed(text="exit status 3\nout\nerr")
    assert run_command.spec.rules.failure_is_data
    assert run_command.spec.rules.effect is Effect.IRREVERSIBLE
    assert run("sh -c 'kill -9 $$'", tmp_path).text == "'sh' was ended by signal 9"


@pytest.mark.parametrize(
    ("command", "kind", "why"),
    [
        ("rm -rf /", "denied", "'rm' is not allowed; allowed are: echo"),
        ("ech hi", "denied", "did you mean 'echo'?"),
        ("/bin/echo hi", "denied", "not allowed"),
        ("../echo hi", "denied", "not allowed"),
        ("no-such-program", "error", "not installed"),
        ("echo a | cat", "invalid", "'|' needs a shell"),
        ("echo a > file", "invalid", "'>' needs a shell"),
        ("echo a && rm b", "invalid", "'&&' needs a shell"),
        ("echo a; rm b", "invalid", "';' needs a shell"),
        ("echo a &", "invalid", "'&' needs a shell"),
        ("echo 'open", "invalid", "close the quotes"),
        ("echo a\nrm b", "invalid", "one line"),
        ("echo a\x00b", "invalid", "one line"),
        ("  ", "invalid", "empty"),
    ],
)
def test_commands_that_are_refused(tmp_path: Path, command: str, kind: str, why: str) -> None:
    outcome = run(command, tmp_path)
    assert isinstance(outcome, Failed)
    assert outcome.kind == kind
    assert why in outcome.text
    assert not (tmp_path / "file").exists()


def test_nothing_is_expanded(tmp_path: Path) -> None:
    assert run("echo $HOME `id` * '|' \"a;b\"", tmp_path).text == "$HOME `id` * | a;b"


def test_the_default_list_is_the_policys(tmp_path: Path) -> None:
    assert run("echo hi", tmp_path, settings={}).text == "hi"
    assert run("sh -c ls", tmp_path, settings={}).kind == "denied"
    assert run("echo hi", tmp_path, settings={"commands": "ls, cat"}).kind == "denied"


def test_the_environment_is_bare_and_stdin_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    names = {line.split("=")[0] for line in run("env", tmp_path).text.splitlines()}
    assert names <= {"PATH", "HOME", "LANG", "TERM", "PWD", "SHLVL", "_", "LC_CTYPE"}
    assert run("cat", tmp_path).text == "(no output)"


def test_a_group_that_ignores_term_is_killed_in_time(tmp_path: Path) -> None:
    (tmp_path / "stubborn.sh").write_text(STUBBORN)
    began = time.monotonic()
    outcome = run("sh stubborn.sh", tmp_path, Limits(timeout_s=1.0))
    assert time.monotonic() - began < 6
    assert outcome.kind == "timeout"
    assert started(tmp_path)
    assert wait_until(lambda: not any(running(pid) for pid in pids(tmp_path)))


def test_cancel_kills_the_group(tmp_path: Path) -> None:
    (tmp_path / "stubborn.sh").write_text(STUBBORN)
    cancel = threading.Event()

    def when_started() -> None:
        wait_until(lambda: started(tmp_path))
        cancel.set()

    threading.Thread(target=when_started, daemon=True).start()
    with pytest.raises(Cancelled):
        run("sh stubborn.sh", tmp_path, cancel=cancel)
    assert wait_until(lambda: not any(running(pid) for pid in pids(tmp_path)))


def test_a_child_left_behind_is_killed_and_does_not_hold_the_result(tmp_path: Path) -> None:
    began = time.monotonic()
    outcome = run("sh -c 'sleep 50 & echo $! > child; echo done'", tmp_path)
    assert outcome.text == "done"
    assert time.monotonic() - began < 5
    assert wait_until(lambda: not running(int((tmp_path / "child").read_text())))


def test_output_is_cut_while_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "much.py").write_text("import sys\nfor _ in range(200): sys.stdout.write('x' * 100_000)\nprint('end')")
    outcome = run("python3 much.py", tmp_path)
    assert len(outcome.text) <= 20_000
    assert outcome.text.endswith("xend")
    assert "cut:" in outcome.text
    (tmp_path / "endless.py").write_text("while True: print('y' * 100_000)")
    flood = run("python3 endless.py", tmp_path, settings={**SETTINGS, "max_command_bytes": 5_000_000})
    assert "more than 5,000,000 bytes and was stopped" in flood.text
    assert len(flood.text) <= 20_000


def test_binary_output_is_described(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(bytes(range(256)) * 20)
    assert run("cat b", tmp_path).text.startswith("[binary data")


def test_a_program_that_closes_its_output_is_still_watched(tmp_path: Path) -> None:
    completed = run_program(
        "/bin/sh",
        ["-c", "exec >&- 2>&-; sleep 60"],
        cwd=tmp_path,
        deadline=time.monotonic() + 0.5,
        cancel=threading.Event(),
        max_bytes=1_000,
    )
    assert completed.ended == "timeout"


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_program_dies_with_a_killed_agent(tmp_path: Path) -> None:
    code = (
        "import sys, threading, time; from pathlib import Path\n"
        "from agentkit_basics.process import run_program\n"
        "run_program('/bin/sh', ['-c', 'trap \"\" TERM; echo $$ > leader; while :; do sleep 1; done'],\n"
        "  cwd=Path(sys.argv[1]), deadline=time.monotonic() + 60, cancel=threading.Event(), max_bytes=1000)\n"
    )
    agent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    leader = tmp_path / "leader"
    assert wait_until(lambda: leader.exists() and bool(leader.read_text().strip()), 20)
    assert running(int(leader.read_text()))
    agent.kill()
    agent.wait()
    assert wait_until(lambda: not running(int(leader.read_text())))


@pytest.mark.parametrize(
    "command",
    [
        "find . -name x -delete", "find . -exec rm {} +", "find . -execdir rm {} +", "find . -fprintf out x", "sort a -o b",
        "sort -uo b a", "sort --output=b a", "sort --outp b a", "sort --compress-program=./x a", "uniq a b", "date -s 2020-01-01",
        "date --set=2020-01-01", "hostname evil", "file -C -m x",
    ],
)  # fmt: skip
def test_a_program_that_looks_does_not_act(tmp_path: Path, command: str) -> None:
    (tmp_path / "a").write_text("1\n")
    before = sorted(path.name for path in tmp_path.iterdir())
    outcome = run(command, tmp_path, settings={})
    assert isinstance(outcome, Failed)
    assert outcome.kind == "denied"
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "command", ["find . -name 'a*' -print", "sort -n a", "uniq -c a", "sort --reverse a", "date -u"]
)
def test_and_looks(tmp_path: Path, command: str) -> None:
    (tmp_path / "a").write_text("1\n")
    assert isinstance(run(command, tmp_path, settings={}), Done)


def test_but_it_may_be_allowed_to(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1\n")
    assert isinstance(run("find . -name a -delete", tmp_path, settings={"commands": ("find", "find -delete")}), Done)
    assert not (tmp_path / "a").exists()
