"""Who may run what: policy's answers, people's answers, and answers that come to another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from contextlib import closing

import pytest

from agentkit import tool
from agentkit.errors import UsageError
from agentkit.store import open_store
from agentkit.types import Effect, StopReason

RAN: list[str] = []


@tool(effect=Effect.IRREVERSIBLE, egress=False)
def wipe(what: str) -> str:
    """Wipe it."""
    RAN.append(what)
    return f"wiped {what}"


@tool(effect=Effect.PURE, egress=False)
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    RAN.clear()


def test_what_policy_denies_is_not_run_and_said(make, script) -> None:
    made = make(
        [script.call("wipe", what="disk"), script.final("not allowed")], [wipe], policy={"deny_tools": ("wipe",)}
    )
    result = made.run()
    assert (result.stop_reason, result.exit_code, RAN) == (StopReason.BLOCKED, 5, [])
    assert result.blocked_calls[0]["tool"] == "wipe"
    assert result.blocked_calls[0]["arguments"] == {"what": "disk"}
    assert "wipe" in result.detail


def test_without_anybody_to_ask_it_is_denied(make, script) -> None:
    result = make([script.call("wipe", what="disk"), script.final("no")], [wipe]).run()
    assert (result.stop_reason, RAN) == (StopReason.BLOCKED, [])
    assert "nobody can be asked" in result.steps[0].result


@pytest.mark.parametrize(("answer", "reason"), [(True, StopReason.DONE), (False, StopReason.BLOCKED)])
def test_a_person_is_asked_about_exactly_this_call(make, script, answer: bool, reason: StopReason) -> None:
    asked = []

    def approve(request) -> bool:
        asked.append((request.tool, request.arguments, request.effect))
        return answer

    made = make([script.call("wipe", what="disk"), script.final("x")], [wipe], approve=approve)
    assert made.run().stop_reason is reason
    assert asked == [("wipe", {"what": "disk"}, "irreversible")]
    assert (["disk"] if answer else []) == RAN
    row = made.agent.store.approvals()[0]
    assert (row["state"], row["resolved_by"]) == ("approved" if answer else "denied", "user")
    assert made.of("approval_required")[0]["tool"] == "wipe"


def test_each_of_several_calls_is_asked_about(make, script) -> None:
    both = script.calls(("wipe", {"what": "a"}), ("add", {"a": 1, "b": 1}), ("wipe", {"what": "b"}))
    answers = iter([True, False])
    made = make([both, script.final("x")], [wipe, add], approve=lambda request: next(answers))
    result = made.run()
    assert RAN == ["a"]
    assert [step.ok for step in result.steps] == [True, True, False]


def test_what_does_not_fit_never_reaches_a_person(make, script) -> None:
    def approve(request) -> bool:
        raise AssertionError("nobody should be asked")

    steps = [script.call("wipe", what={"not": "text"}), script.call("wipe"), script.call("nothing"), script.final("x")]
    made = make(steps, [wipe], approve=approve)
    result = made.run()
    assert [step.ok for step in result.steps] == [False] * 3
    assert made.agent.store.approvals() == []
    assert result.blocked_calls == ()


def test_the_queue_then_another_agent_on_the_same_database(make, script) -> None:
    queue = {"on_approval": "queue"}
    first = make([script.call("wipe", what="disk")], [wipe], policy=queue)
    waiting = first.run()
    assert (waiting.stop_reason, waiting.exit_code, RAN) == (StopReason.NEEDS_INPUT, 8, [])
    row = first.agent.store.approvals(state="pending")[0]
    assert row["id"] in waiting.detail
    assert first.resume(waiting.run_id).stop_reason is StopReason.NEEDS_INPUT  # still nobody
    assert len(first.of("approval_required")) == 1
    assert first.agent.store.resolve_approval(row["id"], "approved", "test")
    second = make([script.final("wiped")], [wipe])  # asks nobody: the answer is there
    result = second.resume(waiting.run_id)
    assert (result.stop_reason, result.answer, RAN) == (StopReason.DONE, "wiped", ["disk"])
    again = second.resume(waiting.run_id)
    assert (again.answer, again.steps, RAN) == (result.answer, result.steps, ["disk"])
    seqs = [event.seq for event in (*first.events, *second.events)]
    assert seqs == list(range(1, len(seqs) + 1))


def test_a_denial_from_the_queue(make, script) -> None:
    made = make([script.call("wipe", what="disk"), script.final("no")], [wipe], policy={"on_approval": "queue"})
    waiting = made.run()
    made.agent.store.resolve_approval(made.agent.store.approvals()[0]["id"], "denied", "test")
    result = made.resume(waiting.run_id)
    assert (result.stop_reason, RAN) == (StopReason.BLOCKED, [])
    assert "wipe was denied" in result.steps[0].result


def test_an_approval_that_expired_is_not_a_denial(make, script) -> None:
    made = make(
        [script.calls(("wipe", {"what": "disk"}), ("wipe", {"what": "b"})), script.final("never")],
        [wipe],
        policy={"on_approval": "queue", "approval_expiry_s": 0.05},
    )
    waiting = made.run()
    assert made.agent.store.approvals()[0]["expires_at"] > time.time() - 5
    time.sleep(0.1)
    result = made.resume(waiting.run_id)
    assert (result.stop_reason, result.exit_code, RAN) == (StopReason.NEEDS_INPUT, 8, [])
    assert "expired" in result.detail
    assert "denied" not in result.detail
    assert [step.ok for step in result.steps] == [False, False]


def test_a_new_task_withdraws_what_the_last_one_asked(make, script) -> None:
    made = make([script.call("wipe", what="disk"), script.final("ok")], [wipe], policy={"on_approval": "queue"})
    waiting = made.run()
    assert made.run("never mind", thread_id=waiting.thread_id).answer == "ok"
    assert made.agent.store.approvals()[0]["state"] == "cancelled"
    results = [m for m in made.engine.requests[1].messages if m.type == "tool"]
    assert [m.tool_call_id for m in results] == ["call_1_0"]  # the open call is closed
    with pytest.raises(UsageError, match="not the last one of its thread"):
        made.resume(waiting.run_id)
    assert RAN == []


CHILD = """
    import json, sys
    from pathlib import Path
    from agentkit import tool
    from agentkit.agent import Agent
    from agentkit.config import Settings
    from agentkit.store import open_store
    from agentkit.testing import ScriptedEngine
    from agentkit.types import Step

    @tool(effect="irreversible", egress=False)
    def wipe(what: str) -> str:
        "Wipe it."
        with open(sys.argv[2], "a") as file: file.write(what)
        return "wiped"

    agent = Agent(ScriptedEngine([Step(kind="final", text="done")]), [wipe], settings=Settings(), store=open_store(url=sys.argv[1]))
    result = agent.resume(sys.argv[3])
    print(json.dumps([result.stop_reason, result.answer]))
"""


def test_another_process_goes_on_and_the_call_runs_once(make, script, database, tmp_path) -> None:
    made = make([script.call("wipe", what="disk")], [wipe], policy={"on_approval": "queue"})
    waiting = made.run()
    made.agent.store.resolve_approval(made.agent.store.approvals()[0]["id"], "approved", "test")
    made.agent.close()
    code, log = tmp_path / "child.py", tmp_path / "log"
    code.write_text(textwrap.dedent(CHILD))
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, str(code), str(database), str(log), waiting.run_id],
            capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == ["done", "done"]
    assert (log.read_text(), RAN) == ("disk", [])
    with closing(open_store(url=str(database))) as store:
        assert [row.state for row in store.effects(waiting.run_id)] == ["done"]
