"""Tools in processes of their own: each of their times, their output, their limits, and their end."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentkit.errors import Cancelled
from agentkit.protocols import Tool, ToolContext
from agentkit.tools import Limits, run_call
from agentkit.tools.children import bubblewrap
from agentkit.tools.convert import bare_context
from agentkit.tools.worker import close_workers
from agentkit.types import CONFINED, Done, Failed, Pending, ToolCall

NO_LIMITS = Limits()
OPEN = replace(CONFINED, sandbox="off")  # process ids are those of this system, and /tmp is there


def run(tool: Tool, context: ToolContext | None = None, limits: Limits = NO_LIMITS, /, **arguments: Any) -> Any:
    call = ToolCall(id="c1", tool=tool.name, arguments=arguments)
    return run_call(tool, call, context or replace(bare_context(), confine=OPEN), limits=limits)


_MODULE = '''
import ctypes, os, signal, socket, subprocess, sys, time
from pathlib import Path
from agentkit.protocols import ToolContext
from agentkit.tools import tool

@tool(isolation="worker", timeout_s=20)
def pid(context: ToolContext) -> str:
    """Say who runs."""
    print("this must not break the pipe")
    os.write(1, b"nor this")
    context.emit("tool_progress", {"at": 1})
    return f"{os.getpid()} {context.call('other', {'a': 1}).text} {context.settings['s']}{context.waiting.handle}"

@tool(isolation="worker", timeout_s=1.0)
def hang(file: str) -> str:
    """Hang, with a child."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    with open(file, "w") as out:
        out.write(f"{os.getpid()} {child.pid}")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(100)
    return "never"

@tool(isolation="worker", timeout_s=20)
def die() -> str:
    """Die."""
    os.kill(os.getpid(), signal.SIGSEGV)
    return "never"

@tool(isolation="worker", timeout_s=20)
def flood() -> str:
    """Say much."""
    return "z" * 50_000_000

@tool(isolation="worker", timeout_s=20)
def yes() -> str:
    """Let a program write without end, past Python."""
    try:
        subprocess.run(["yes"], timeout=1)
    except subprocess.TimeoutExpired:
        pass
    return "stopped it"

@tool(isolation="worker", timeout_s=20, idle_s=0.6)
def mute(talk: bool) -> str:
    """Say something now and then, or nothing."""
    for _ in range(12):
        if talk:
            print("still here")
        time.sleep(0.1)
    return "done"

@tool(isolation="worker", timeout_s=20)
def polite(context: ToolContext) -> str:
    """Stop when told to."""
    while not context.cancel.is_set():
        time.sleep(0.02)
    return "stopped by myself"

@tool(isolation="worker", timeout_s=20)
def greedy(what: str, workspace: str = ".") -> str:
    """Take too much of something."""
    if what == "memory":
        return str(len(bytearray(8 << 30)))
    if what == "file":
        with open(os.path.join(workspace, "big"), "wb") as out:
            for _ in range(64):
                out.write(bytes(1 << 20))
        return "written"
    while True:
        pass

@tool(isolation="worker", timeout_s=20)
def chatter(context: ToolContext) -> str:
    """Send many events."""
    for n in range(5_000):
        context.emit("tool_progress", {"n": n})
    return "said all"

@tool(isolation="worker", timeout_s=20)
def orphan() -> str:
    """Leave a child behind."""
    return str(subprocess.Popen(["sleep", "100"]).pid)

@tool(isolation="worker", timeout_s=20)
def environment() -> dict:
    """Show the environment."""
    return dict(os.environ)

@tool(isolation="worker", timeout_s=20)
def garble() -> str:
    """Write what is no message into the pipe of messages."""
    for fd in range(3, 20):
        try:
            os.write(fd, b"\\xff\\xff\\xff\\xff not a message" * 100)
        except OSError:
            pass
    time.sleep(5)
    return "done"

@tool(isolation="worker", effect="write", egress=False, timeout_s=20)
def explore(home: str, workspace: str) -> dict:
    """See what can be seen."""
    found = {"home": os.path.exists(home)}
    for name, path in (("etc", "/etc/agentkit-test"), ("workspace", os.path.join(workspace, "made"))):
        try:
            Path(path).write_text("x")
            found[name] = True
        except OSError:
            found[name] = False
    try:
        socket.create_connection(("1.1.1.1", 53), 0.5).close()
        found["network"] = "reached"
    except OSError as error:
        found["network"] = error.strerror or str(error)
    found["interfaces"] = [name for _, name in socket.if_nameindex()]
    return found

@tool(isolation="worker", effect="read", egress=False, timeout_s=20)
def look(workspace: str) -> str:
    """Try to write, though the tool only looks."""
    (Path(workspace) / "made").write_text("x")
    return "written"

@tool(isolation="worker", timeout_s=20)
def abort() -> str:
    """End as GGML does."""
    os.write(2, b"GGML_ASSERT(n > 0) failed\\n")
    os.abort()
'''


@pytest.fixture
def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "tools_in_workers.py").write_text(_MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    tools_in_workers = importlib.import_module("tools_in_workers")

    yield tools_in_workers
    close_workers()
    sys.modules.pop("tools_in_workers")


def gone(pid: int) -> bool:
    for _ in range(100):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat")
            if state.exists() and state.read_text().split()[2] == "Z":
                return True
            time.sleep(0.02)
            continue
        return True
    return False


def test_a_worker_is_another_process_kept_warm(workers: Any) -> None:
    told: list[str] = []
    context = replace(
        bare_context(),
        confine=OPEN,
        emit=lambda kind, data: told.append(kind),
        call=lambda name, arguments: Done(text=f"{name}{arguments['a']}"),
        settings={"s": "set"},
        waiting=Pending(kind="job", handle="/7"),
    )
    first = run(workers.pid, context)
    assert first.text.endswith(" other1 set/7")
    assert int(first.text.split()[0]) != os.getpid()
    assert run(workers.pid, context) == first
    assert "tool_progress" in told


def test_a_worker_that_hangs_is_killed_with_its_children_and_replaced(workers: Any, tmp_path: Path) -> None:
    file = tmp_path / "pids"
    outcome = run(workers.hang, None, Limits(grace_s=0.1), file=str(file))
    assert outcome.kind == "timeout"
    for pid in file.read_text().split():
        assert gone(int(pid)), pid
    assert len(run(workers.flood).text) <= 20_000


def test_a_worker_that_dies_is_a_failure(workers: Any) -> None:
    outcome = run(workers.die)
    assert isinstance(outcome, Failed)
    assert f"signal {int(signal.SIGSEGV)}" in outcome.text
    assert isinstance(run(workers.flood), Done)


def test_cancel_stops_a_worker(workers: Any, tmp_path: Path) -> None:
    cancel = threading.Event()
    file = tmp_path / "pids"

    def when_started() -> None:
        while not (file.exists() and len(file.read_text().split()) == 2):
            time.sleep(0.01)
        cancel.set()

    threading.Thread(target=when_started, daemon=True).start()
    with pytest.raises(Cancelled):
        run(workers.hang, replace(bare_context(), confine=OPEN, cancel=cancel), Limits(grace_s=30), file=str(file))
    assert gone(int(file.read_text().split()[0]))


def test_a_worker_goes_when_its_program_is_killed(workers: Any, tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import tools_in_workers as t\n"
        "from agentkit.tools import run_call, Limits\nfrom agentkit.tools.convert import bare_context\n"
        "from agentkit.types import CONFINED, ToolCall\nfrom dataclasses import replace\n"
        "call = ToolCall(id='1', tool='hang', arguments={'file': sys.argv[2]})\n"
        "context = replace(bare_context(), confine=replace(CONFINED, sandbox='off'))\n"
        "run_call(t.hang, call, context, limits=Limits(grace_s=90))\n"
    )
    file = tmp_path / "pids"
    program = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(file)])
    until = time.monotonic() + 20
    while not (file.exists() and len(file.read_text().split()) == 2) and time.monotonic() < until:
        time.sleep(0.02)
    program.kill()
    program.wait()
    for pid in file.read_text().split():
        assert gone(int(pid)), pid


def test_what_is_written_past_python_is_capped_and_told(workers: Any) -> None:
    told: list[Any] = []
    context = replace(bare_context(), confine=OPEN, emit=lambda kind, data: told.append(data))
    outcome = run(workers.yes, context)
    assert outcome == Done(text="stopped it")
    (said,) = told
    assert len(said["text"]) <= 2_000
    assert "in all; SHA-256" in said["text"]


def test_a_tool_that_says_nothing_is_stopped_and_one_that_talks_is_not(workers: Any) -> None:
    assert run(workers.mute, talk=True) == Done(text="done")
    outcome = run(workers.mute, None, Limits(grace_s=0.1), talk=False)
    assert outcome.kind == "timeout"
    assert "said nothing for 0.6 s" in outcome.text


def test_a_tool_that_hangs_while_it_is_imported_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "slow_to_import.py"
    module.write_text(_MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    slow = importlib.import_module("slow_to_import")
    module.write_text("import time\ntime.sleep(60)\n")
    context = replace(bare_context(), confine=replace(OPEN, start_s=1.5))
    outcome = run(slow.pid, context, Limits(grace_s=0.1))
    assert outcome.kind == "timeout"
    assert "its worker was not ready within 1.5 s" in outcome.text
    sys.modules.pop("slow_to_import")
    close_workers()


def test_a_tool_that_listens_stops_by_itself_when_cancelled(workers: Any) -> None:
    cancel = threading.Event()
    threading.Timer(1.0, cancel.set).start()
    outcome = run(workers.polite, replace(bare_context(), confine=OPEN, cancel=cancel))
    assert outcome == Done(text="stopped by myself"), "what was done is not lost"


def test_the_runs_time_is_up_before_the_tools(workers: Any) -> None:
    context = replace(bare_context(), confine=OPEN, deadline=time.monotonic() + 1.0)
    started = time.monotonic()
    outcome = run(workers.polite, context, Limits(grace_s=2.0))
    assert outcome == Done(text="stopped by myself")
    assert time.monotonic() - started < 4


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's limits are Linux's")
@pytest.mark.parametrize(
    ("what", "limit", "said"),
    [
        ("memory", {"memory_mb": 2_048}, "MemoryError"),
        ("file", {"file_mb": 8}, "File too large"),
        ("cpu", {"cpu_s": 1}, "SIGXCPU"),
    ],
)
def test_limits_of_the_kernel_hold(workers: Any, tmp_path: Path, what: str, limit: Any, said: str) -> None:
    context = replace(bare_context(), confine=replace(OPEN, **limit))
    outcome = run(workers.greedy, context, what=what, workspace=str(tmp_path))
    assert isinstance(outcome, Failed)
    assert said in outcome.text


def test_events_without_end_are_dropped(workers: Any) -> None:
    told: list[Any] = []
    context = replace(bare_context(), confine=OPEN, emit=lambda kind, data: told.append(data))
    assert run(workers.chatter, context) == Done(text="said all")
    assert len(told) == 1_000


def test_a_child_left_behind_takes_its_worker_with_it(workers: Any) -> None:
    first = run(workers.orphan)
    assert gone(int(first.text))


def test_the_environment_is_bare(workers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    close_workers()
    outcome = run(workers.environment)
    assert "hunter2" not in outcome.text
    assert "PATH" in outcome.data


def test_a_worker_that_garbles_its_pipe_is_a_failure(workers: Any) -> None:
    outcome = run(workers.garble)
    assert isinstance(outcome, Failed)
    assert "broke off" in outcome.text
    assert isinstance(run(workers.flood), Done)


def test_an_abort_is_told_with_the_last_words(workers: Any) -> None:
    outcome = run(workers.abort)
    assert "signal 6, SIGABRT" in outcome.text
    assert "GGML_ASSERT(n > 0) failed" in outcome.text


# ── bubblewrap ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def boxed(workers: Any, tmp_path: Path) -> Callable[..., ToolContext]:
    if bubblewrap() is None:
        pytest.skip("there is no bubblewrap that works here")
    (tmp_path / "work").mkdir()
    return lambda **given: replace(bare_context(tmp_path / "work"), **given)


def test_in_the_sandbox_there_is_the_workspace_and_no_home_and_no_network(
    workers: Any, boxed: Callable[..., ToolContext], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secret = tmp_path_factory.mktemp("home") / "id_rsa"
    secret.write_text("key")
    outcome = run(workers.explore, boxed(), home=str(secret), workspace=str(tmp_path / "work"))
    assert outcome.data["home"] is False
    assert outcome.data["etc"] is False
    assert outcome.data["workspace"] is True
    assert outcome.data["interfaces"] in ([], ["lo"])
    assert (tmp_path / "work" / "made").read_text() == "x"


def test_in_the_sandbox_a_tool_that_looks_cannot_write(
    workers: Any, boxed: Callable[..., ToolContext], tmp_path: Path
) -> None:
    outcome = run(workers.look, boxed(), workspace=str(tmp_path / "work"))
    assert isinstance(outcome, Failed)
    assert "Read-only file system" in outcome.text


def test_in_the_sandbox_a_signal_is_told_as_one(workers: Any, boxed: Callable[..., ToolContext]) -> None:
    assert "signal 11, SIGSEGV" in run(workers.die, boxed()).text


def test_a_sandbox_that_is_required_and_not_there_is_a_failure(workers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentkit.tools.children.bubblewrap", lambda: None)
    context = replace(bare_context(), confine=replace(CONFINED, sandbox="require"))
    outcome = run(workers.flood, context)
    assert "tools.sandbox is 'require'" in outcome.text
