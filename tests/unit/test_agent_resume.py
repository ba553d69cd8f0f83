"""Nothing is done twice: a run is killed at the worst moments, cancelled, left behind, and gone on with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from agentkit import tool
from agentkit.errors import UsageError
from agentkit.store import open_store
from agentkit.testing import Slowly
from agentkit.types import Done, Effect, StopReason

VICTIM = """
    import os, signal, sys
    from agentkit import tool
    from agentkit.agent import Agent
    from agentkit.config import Settings
    from agentkit.store import open_store
    from agentkit.store import SqliteStore
    from agentkit.testing import ScriptedEngine
    from agentkit.types import Step, ToolCall

    database, log, rules, when = sys.argv[1:]

    @tool(egress=False, **eval(rules))
    def work(n: int) -> str:
        "Work."
        with open(log, "a") as file: file.write(f"{n} ")
        if when == "inside": os.kill(os.getpid(), signal.SIGKILL)
        return f"worked {n}"

    class Dying(SqliteStore):
        def intend(self, row):
            found = super().intend(row)
            if when == "after_intent": os.kill(os.getpid(), signal.SIGKILL)
            return found
        def complete(self, effect_id, result):
            super().complete(effect_id, result)
            if when == "after_done": os.kill(os.getpid(), signal.SIGKILL)

    from pathlib import Path
    calls = (ToolCall(id="x", tool="work", arguments={"n": 1}), ToolCall(id="y", tool="work", arguments={"n": 2}))
    engine = ScriptedEngine([Step(kind="calls", calls=calls), Step(kind="final", text="all worked")])
    Agent(engine, [work], settings=Settings(), store=Dying(Path(database)), system="").run("work")
    raise SystemExit("it should have been killed")
"""
KEYED = {"effect": Effect.WRITE, "idempotent": True}
PLAIN = {"effect": Effect.WRITE}


def kill(database: Path, log: Path, rules: dict[str, object], when: str) -> str:
    """Run the victim until it is killed; return its run id."""
    words = {key: str(value) for key, value in rules.items() if key == "effect"} | {
        key: value for key, value in rules.items() if key != "effect"
    }
    code = log.with_suffix(".py")
    code.write_text(textwrap.dedent(VICTIM))
    done = subprocess.run(
        [sys.executable, str(code), str(database), str(log), repr(words), when],
        capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    with closing(open_store(url=str(database))) as store:
        row = store.runs()[0]
        assert row["state"] == "running"  # abandoned
        return str(row["run_id"])


def worker(log: Path, rules: dict[str, object], **more):
    def work(n: int) -> str:
        """Work."""
        with log.open("a") as file:
            file.write(f"{n} ")
        return f"worked {n}"

    return replace(tool(egress=False, **rules)(work), **more)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize(
    ("rules", "when", "logged", "results"),
    [
        # before anything happened, and nobody knows that: only what may be repeated is
        (PLAIN, "after_intent", "2 ", ["unknown", "worked 2"]),
        (KEYED, "after_intent", "1 2 ", ["worked 1", "worked 2"]),
        ({"effect": Effect.READ}, "after_intent", "1 2 ", ["worked 1", "worked 2"]),
        # it happened, and was not written down
        (PLAIN, "inside", "1 2 ", ["unknown", "worked 2"]),
        (KEYED, "inside", "1 1 2 ", ["worked 1", "worked 2"]),
        # it is written down: answered from the ledger
        (PLAIN, "after_done", "1 2 ", ["worked 1", "worked 2"]),
        (KEYED, "after_done", "1 2 ", ["worked 1", "worked 2"]),
    ],
)
def test_kill_9(make, script, database, tmp_path, rules, when: str, logged: str, results: list[str]) -> None:
    log = tmp_path / "log"
    run_id = kill(database, log, rules, when)
    made = make([script.final("all worked")], [worker(log, rules)])
    result = made.resume(run_id)
    assert log.read_text() == logged
    shown = ["unknown" if "nobody knows" in step.result else step.result for step in result.steps]
    reason = StopReason.UNVERIFIED if "unknown" in results else StopReason.DONE
    assert (shown, result.stop_reason, result.answer) == (results, reason, "all worked")
    states = [row.state for row in made.agent.store.effects(run_id)]
    assert states == ["unknown" if one == "unknown" else "done" for one in results]
    seqs = [event["seq"] for event in made.agent.store.events(run_id)]
    assert seqs == sorted(set(seqs))
    assert made.resume(run_id).steps == result.steps
    assert log.read_text() == logged


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_tool_that_can_find_out_is_asked(make, script, database, tmp_path) -> None:
    log = tmp_path / "log"
    run_id = kill(database, log, PLAIN, "inside")
    tool_ = worker(log, PLAIN, reconcile=lambda effect_id, context: Done(text="found it"))
    result = make([script.final("x")], [tool_]).resume(run_id)
    assert [step.result for step in result.steps] == ["found it", "worked 2"]
    assert log.read_text() == "1 2 "


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_new_task_in_the_thread_of_a_killed_run(make, script, database, tmp_path) -> None:
    log = tmp_path / "log"
    run_id = kill(database, log, PLAIN, "inside")
    made = make([script.final("hello")], [worker(log, PLAIN)])
    thread = made.agent.store.run(run_id)["thread_id"]
    assert made.run("hello?", thread_id=thread).answer == "hello"
    old = made.agent.store.run(run_id)
    assert (old["state"], old["stop_reason"]) == ("ended", "cancelled")
    open_calls = [m for m in made.engine.requests[0].messages if m.type == "tool"]
    assert ["not known" in str(m.content) for m in open_calls] == [True, True]
    assert log.read_text() == "1 "


def test_cancelled_in_the_model_and_gone_on_with(make, script) -> None:
    ran: list[int] = []

    @tool(effect=Effect.WRITE, egress=False)
    def work(n: int) -> str:
        """Work."""
        ran.append(n)
        return "ok"

    stop = threading.Event()
    made = make([script.call("work", n=1), Slowly(step=script.final("late"), seconds=30)], [work])
    threading.Timer(0.5, stop.set).start()
    result = made.run(cancel=stop)
    assert (result.stop_reason, result.exit_code) == (StopReason.CANCELLED, 130)
    assert [step.result for step in result.steps] == ["ok"]
    again = make([script.final("done")], [work])
    after = again.resume(result.run_id)
    assert (after.stop_reason, after.answer, ran) == (StopReason.DONE, "done", [1])
    assert [step.result for step in after.steps] == ["ok"]
    seqs = [event["seq"] for event in again.agent.store.events(result.run_id)]
    assert seqs == sorted(set(seqs))
    kinds = [event.type for event in again.events]
    assert (kinds[0], kinds[-1]) == ("run_started", "run_ended")
    assert dict(again.events[0].data)["resumed"] is True
    shown = [event.seq for event in (*made.events, *again.events)]
    assert shown == list(range(1, len(shown) + 1))


def test_cancelled_in_a_tool(make, script) -> None:
    @tool(effect=Effect.READ, egress=False)
    def hang() -> str:
        """Hang."""
        time.sleep(3)
        return "late"

    stop = threading.Event()
    made = make([script.call("hang")], [hang])
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    result = made.run(cancel=stop)
    assert result.stop_reason is StopReason.CANCELLED
    assert time.monotonic() - began < 2.8


def test_cancelled_in_the_check(make, script) -> None:
    stop = threading.Event()
    threading.Timer(0.4, stop.set).start()
    made = make([script.final("x")])
    began = time.monotonic()
    assert made.run(check="sleep 20", cancel=stop).stop_reason is StopReason.CANCELLED
    assert time.monotonic() - began < 5


def test_a_finished_run_returns_its_result_though_the_thread_went_on(make, script) -> None:
    made = make([script.final("one"), script.final("two")])
    first = made.run()
    made.run("more", thread_id=first.thread_id)
    again = made.resume(first.run_id)
    assert (again.answer, again.stop_reason, again.run_id) == ("one", StopReason.DONE, first.run_id)


def test_no_such_run(make) -> None:
    with pytest.raises(UsageError, match="there is no run 'nothing'"):
        make([]).resume("nothing")


def test_a_run_that_was_killed_before_its_first_step_begins(make, script, database) -> None:
    ready = make([script.final("hello")])
    thread = ready.run().thread_id
    code = (
        "import sys; from pathlib import Path; from agentkit import failpoints; from agentkit.agent import Agent\n"
        "from agentkit.config import Settings; from agentkit.store import SqliteStore\n"
        "from agentkit.testing import ScriptedEngine\n"
        "agent = Agent(ScriptedEngine([]), [], settings=Settings(), store=SqliteStore(Path(sys.argv[1])), system='')\n"
        "agent.run('a task that was accepted', thread_id=sys.argv[2] or None)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "AGENTKIT_FAILPOINT": "before_first_checkpoint"}
    for where in (thread, ""):
        done = subprocess.run([sys.executable, "-c", code, str(database), where], capture_output=True, env=env)
        assert done.returncode == -signal.SIGKILL, done.stderr
        with closing(open_store(url=str(database))) as store:
            lost = store.runs(limit=1)[0]
        made = make([script.final("I did it")])
        result = made.resume(lost["run_id"])
        assert (result.answer, result.stop_reason) == ("I did it", StopReason.DONE)
        assert "a task that was accepted" in str(made.engine.requests[0].messages[-1].content)
        assert make([]).resume(lost["run_id"]).answer == "I did it"


def test_a_run_whose_start_is_not_known_says_so(make) -> None:
    made = make([])
    made.agent.store.start_run("early", "thread", {"task": "x"})
    with pytest.raises(UsageError, match="before its first step"):
        made.resume("early")


def test_a_run_that_kills_its_process_every_time_is_poisoned(make, script, database, tmp_path) -> None:
    log = tmp_path / "log"
    run_id = kill(database, log, PLAIN, "inside")
    with closing(open_store(url=str(database))) as store:
        assert [store.recovered(run_id) for _ in range(3)] == [1, 2, 3]
    made = make([script.final("x")], [worker(log, PLAIN)], run={"max_recoveries": 3})
    with pytest.raises(UsageError, match=r"poisoned: its process ended before it did 4 times.*run\.max_recoveries"):
        made.resume(run_id)
    assert log.read_text() == "1 "
    more = make([script.final("x")], [worker(log, PLAIN)], run={"max_recoveries": None})
    assert more.resume(run_id).answer == "x"


def test_a_call_whose_outcome_is_unknown_is_not_made_again(make, script, database, tmp_path) -> None:
    log = tmp_path / "log"
    run_id = kill(database, log, PLAIN, "inside")
    steps = [script.call("work", n=1), script.call("work", n=3), script.final("x")]
    made = make(steps, [worker(log, PLAIN)], policy={"mode": "yolo"})
    result = made.resume(run_id)
    assert log.read_text() == "1 2 3 "
    assert ["nobody knows" in step.result for step in result.steps] == [True, False, True, False]
    assert (result.stop_reason, result.exit_code) == (StopReason.UNVERIFIED, 1)
    assert "work: interrupted, and nobody knows" in result.detail


def test_the_row_says_what_produced_the_run(make, script) -> None:
    made = make([script.final("x")])
    row = made.agent.store.run(made.run().run_id)
    assert {"model", "model_sha256", "adapters", "planner", "plugins", "prompts", "seed", "version"} <= set(row)
    assert all("@" in found for found in row["prompts"].values())
    assert "system" in row["prompts"]


def test_one_run_at_a_time_in_a_thread(make, script, database) -> None:
    made = make([script.final("x"), script.final("y")])
    thread = made.run().thread_id
    here = rf"run 'r1' is active in pid {os.getpid()};"
    with (
        closing(open_store(url=str(database))) as other,
        other.lease(thread, "r1"),
        pytest.raises(UsageError, match=here),
    ):
        made.run("more", thread_id=thread)
    assert made.run("more", thread_id=thread).answer == "y"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
def test_a_lease_holds_between_processes_and_dies_with_its_owner(database) -> None:
    text = (
        "import sys, time; from agentkit.store import open_store\n"
        "with open_store(url=sys.argv[1]).lease('t', 'theirs'): print('have it', flush=True); time.sleep(60)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    other = subprocess.Popen([sys.executable, "-c", text, str(database)], stdout=subprocess.PIPE, text=True, env=env)
    assert other.stdout is not None
    with other, closing(open_store(url=str(database))) as store:
        assert other.stdout.readline() == "have it\n"
        with pytest.raises(UsageError, match=f"run 'theirs' is active in pid {other.pid}"), store.lease("t", "mine"):
            raise AssertionError("two have it")
        with store.lease("another", "mine") as epoch:
            assert epoch == 1
        other.kill()
        other.wait()
        with store.lease("t", "mine") as epoch:
            assert epoch == 2


@pytest.mark.skipif(sys.platform == "win32", reason="there are no process groups")
def test_what_a_killed_run_left_running_is_ended(make, script, database, tmp_path) -> None:
    log = tmp_path / "log"
    run_id = kill(database, log, KEYED, "inside")
    orphan = subprocess.Popen(["sleep", "60"], start_new_session=True)
    with closing(open_store(url=str(database))) as store:
        store.add_child(run_id, orphan.pid)
    make([script.final("x")], [worker(log, KEYED)]).resume(run_id)
    assert orphan.wait(timeout=5) == -signal.SIGKILL
