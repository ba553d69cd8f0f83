"""The approval queue with the real program: asked, looked at, decided once, and gone on with, each in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def queued(agentkit: Any, script: Any) -> Any:
    """A run that waits for approval; returns its envelope and the pending row."""
    steps = script({"call": {"tool": "run_command", "arguments": {"command": "echo hello"}}})
    ran = agentkit("run", "greet", "-m", steps, "--on-approval", "queue", "--json")
    assert ran.code == 8, ran.err
    (row,) = agentkit("approvals", "list", "--json").document["data"]
    return ran.document["data"], row


def finish(agentkit: Any, script: Any, run: str, *more: str) -> Any:
    return agentkit("run", "--resume", run, "-m", script({"final": "done"}), "--json", *more)


def test_from_the_queue_to_the_end(agentkit, script, queued) -> None:
    envelope, row = queued
    assert (envelope["stop_reason"], envelope["exit_code"]) == ("needs_input", 8)
    assert row["id"] in envelope["detail"]
    assert (row["state"], row["tool"], row["arguments"]) == ("pending", "run_command", {"command": "echo hello"})
    assert row["run_id"] == envelope["run_id"]
    assert row["thread_id"] == envelope["thread_id"]
    shown = agentkit("approvals", "show", row["id"][:6])
    assert shown.code == 0
    for word in ("pending", "run_command", '"echo hello"', row["checkpoint_id"], "expires"):
        assert word in shown.out
    assert "run_command" in agentkit("approvals").out
    waiting = finish(agentkit, script, envelope["run_id"])
    assert waiting.code == 8  # still nobody said anything
    approved = agentkit("approvals", "approve", row["id"][:6])
    assert approved.code == 0
    assert f"agentkit run --resume {envelope['run_id']}" in approved.err
    ended = finish(agentkit, script, envelope["run_id"])
    assert (ended.code, ended.document["data"]["answer"]) == (0, "done")
    assert [(step["ok"], step["result"]) for step in ended.document["data"]["steps"]] == [(True, "hello")]
    again = finish(agentkit, script, envelope["run_id"])
    assert again.document["data"]["steps"] == ended.document["data"]["steps"]
    assert "nothing waits for approval" in agentkit("approvals").err
    assert agentkit("approvals", "list", "--all", "--json").document["data"][0]["resolved_by"].startswith("cli")


def test_it_is_decided_once(agentkit, queued) -> None:
    _, row = queued
    assert agentkit("approvals", "deny", row["id"]).code == 0
    late = agentkit("approvals", "approve", row["id"])
    assert late.code == 2
    assert "is denied already" in late.one_line()


def test_many_at_once_decide_it_once(agentkit, queued) -> None:
    _, row = queued
    verbs = ["approve", "deny", "approve", "deny"]
    rivals = [agentkit.start("approvals", verb, row["id"]) for verb in verbs]
    codes = []
    for rival in rivals:
        rival.communicate(timeout=60)
        codes.append(rival.returncode)
    assert sorted(codes) == [0, 2, 2, 2]
    (now,) = agentkit("approvals", "list", "--all", "--json").document["data"]
    assert now["state"] == {"approve": "approved", "deny": "denied"}[verbs[codes.index(0)]]


def test_a_denial_is_told_and_recorded(agentkit, script, queued) -> None:
    envelope, row = queued
    agentkit("approvals", "deny", row["id"])
    ended = finish(agentkit, script, envelope["run_id"])
    assert (ended.code, ended.document["data"]["stop_reason"]) == (5, "blocked")
    assert ended.document["data"]["blocked_calls"][0]["arguments"] == {"command": "echo hello"}


def test_expiry_is_no_denial(agentkit, script) -> None:
    steps = script({"call": {"tool": "run_command", "arguments": {"command": "echo hello"}}})
    hurry = {"AGENTKIT_POLICY__APPROVAL_EXPIRY_S": "0.2"}
    ran = agentkit("run", "greet", "-m", steps, "--on-approval", "queue", "--json", env=hurry)
    assert ran.code == 8
    (row,) = agentkit("approvals", "list", "--all", "--json").document["data"]
    assert row["state"] == "expired"  # by the time anybody looks
    refused = agentkit("approvals", "approve", row["id"])
    assert refused.code == 2
    assert "expired already" in refused.one_line()
    ended = finish(agentkit, script, ran.document["data"]["run_id"])
    assert (ended.code, ended.document["data"]["stop_reason"]) == (8, "needs_input")
    assert "expired" in ended.document["data"]["detail"]
    assert ended.document["data"]["steps"][0]["ok"] is False


def test_without_a_queue_it_is_denied_at_once(agentkit, script) -> None:
    steps = script({"call": {"tool": "run_command", "arguments": {"command": "echo hello"}}}, {"final": "no"})
    for flags in ((), ("--on-approval", "deny")):
        ran = agentkit("run", "greet", "-m", steps, "--json", *flags)
        assert (ran.code, ran.document["data"]["stop_reason"]) == (5, "blocked")
        assert ran.document["data"]["blocked_calls"][0]["tool"] == "run_command"


def test_what_is_shown_hides_nothing(agentkit, script) -> None:
    """Characters that turn a line around, or go back in it, are written out."""
    command = "echo \u202egnp.exe \x1b[2K\u200b"
    steps = script({"call": {"tool": "run_command", "arguments": {"command": command}}})
    agentkit("run", "greet", "-m", steps, "--on-approval", "queue")
    (row,) = agentkit("approvals", "list", "--json").document["data"]
    assert row["arguments"] == {"command": command}
    for out in (agentkit("approvals").out, agentkit("approvals", "show", row["id"]).out):
        assert "\\u202e" in out
        assert not {"\u202e", "\x1b", "\u200b"} & set(out)


# the flags that reasons name


def test_the_flag_that_a_refusal_names_is_taken(agentkit, script) -> None:
    steps = ({"call": {"tool": "run_command", "arguments": {"command": "echo hello"}}}, {"final": "ok"})
    assert agentkit("run", "x", "-m", script(*steps), "--allow-tool", "run_command:echo *").code == 0
    assert agentkit("run", "x", "-m", script(*steps), "--allow-tool", "run_command:ls *").code == 5
    assert agentkit("run", "x", "-m", script(*steps), "--allow-tool", "run_*").code == 0
    assert (
        agentkit("run", "x", "-m", script(*steps), "--approval-mode", "yolo", "--deny-tool", "run_command:echo*").code
        == 5
    )
    refused = agentkit("run", "x", "-m", script(*steps), "--allow-tool", "run_comand:*")
    assert refused.code == 2
    assert "did you mean 'run_command'?" in refused.one_line()


def test_a_strangers_project_cannot_open_the_door(agentkit, script) -> None:
    steps = script({"call": {"tool": "run_command", "arguments": {"command": "echo hello"}}}, {"final": "ok"})
    (agentkit.work / "agentkit.toml").write_text('[policy]\nmode = "yolo"\n')
    ran = agentkit("run", "x", "-m", steps)
    assert ran.code == 3
    assert "agentkit.toml:2: a project's file may be a stranger's" in ran.one_line()
    trusting = {"AGENTKIT_POLICY__TRUSTED_PROJECTS": str(agentkit.work)}
    assert agentkit("run", "x", "-m", steps, env=trusting).code == 0


def test_rules_are_shown_with_their_origin(agentkit) -> None:
    Path(agentkit.home).mkdir(exist_ok=True)
    (agentkit.home / "config.toml").write_text('[[policy.rules]]\ntool = "run_command"\ndecision = "deny"\n')
    assert 'decision = "deny", tool = "run_command"' in agentkit("config", "show", "--origin").out
    rows = {row["key"]: row for row in agentkit("config", "show", "--origin", "--json").document["data"]}
    assert rows["policy.rules"]["value"][0]["tool"] == "run_command"
    assert rows["policy.rules"]["origin"].endswith("config.toml")


def test_always_is_no_answer_where_a_destination_is_in_doubt(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    import io
    import sys

    from agentkit.approvals import ApprovalRequest
    from agentkit.cli.session import Asker

    def request(once: bool) -> ApprovalRequest:
        return ApprovalRequest(id="1", tool="send", arguments={"to": "x\u202e"}, effect="write", why="y", once=once)

    asker = Asker(lambda: None)
    monkeypatch.setattr(sys, "stdin", io.StringIO("always\nn\nalways\n"))
    assert asker(request(once=False))
    assert asker(request(once=False))  # remembered
    assert not asker(request(once=True))  # but asked about, and denied
    assert not asker(request(once=True))  # "always" is no answer to this
    shown = capsys.readouterr().err
    assert shown.count("[a]lways") == 1
    assert "\\u202e" in shown


def test_help_has_examples(agentkit) -> None:
    shown = agentkit("approvals", "--help")
    assert "agentkit run --resume" in shown.out
