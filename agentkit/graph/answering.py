"""How a run ends: what its end is called, the check, and the best answer so far."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import replace
from typing import Any

from agentkit import prompts
from agentkit.errors import Cancelled, EngineError
from agentkit.graph.context import RunContext, add_spent, add_usage
from agentkit.graph.problem import AgentProblem
from agentkit.graph.requests import build_request
from agentkit.graph.state import Ended, RunState, ended_by
from agentkit.messages import nudge_message
from agentkit.protocols import Request
from agentkit.tools.output import clean
from agentkit.types import Step, StopReason

CHECK_S = 300.0
LAST_CALL_S = 10.0
SHORTEST = 8  # tokens of an answer


def wrap_up(state: RunState, context: RunContext) -> tuple[Step | None, dict[str, Any]]:
    """Return the best answer so far, and what finding it cost: a last call that may only answer, else the last result."""
    ended = state["ended"]
    change: dict[str, Any] = {}
    if ended is not None and ended["reason"] not in {StopReason.CONTEXT, StopReason.NEEDS_INPUT}:
        problem = AgentProblem(context=context)
        request = build_request(state, context, wrap_up=True)
        if not context.engine.capabilities.dialect.startswith("plain"):  # plain models are told by the grammar
            told = nudge_message(prompts.load("wrap_up").render(reason=ended["detail"].split(";")[0]))
            request = replace(request, messages=[*request.messages, told])
        request = _within_the_limits(request, state, context)
        try:
            step = problem.actions(request)[0].step if request.max_tokens >= SHORTEST else None
        except Cancelled:
            raise
        except EngineError:
            step = None  # the last result is still an answer
        change["spent"] = add_spent(state["spent"], problem.usage, problem.model_calls)
        change["usage"] = add_usage(state["usage"], problem.usage)
        if step is not None and step.kind != "calls" and step.text.strip():
            return step, {**change, "data": step.data}
    last = state["steps"][-1] if state["steps"] else None
    return (Step(kind="final", text=f"{last['tool']}: {last['result']}") if last else None), change


def _within_the_limits(request: Request, state: RunState, context: RunContext) -> Request:
    """Return the last request with what is left of tokens and time, which were kept back for it."""
    end = context.clock() + LAST_CALL_S
    limit = context.deadline(state["spent"], last=True)
    most, tokens = request.max_tokens, context.settings.run.max_tokens
    if tokens is not None:
        most = min(most, tokens - int(state["spent"].get("tokens", 0)) - context.engine.count(request))
    return replace(request, max_tokens=most, deadline=end if limit is None else min(end, limit))


def conclude(step: Step | None, state: RunState, context: RunContext) -> Ended:
    """Return how a run ended whose model came to an end by itself."""
    if step is None or (not step.text.strip() and state.get("data") is None):
        return ended_by(StopReason.UNVERIFIED, "the model gave an empty answer")
    if step.kind == "ask":
        return ended_by(StopReason.NEEDS_INPUT, "the model asks a question; answer it on the same thread")
    if state["blocked"]:
        names = ", ".join(sorted({call["tool"] for call in state["blocked"]}))
        return ended_by(StopReason.BLOCKED, f"calls were not allowed: {names}; see --approval-mode and --allow-tool")
    if step.kind == "decline":
        return ended_by(StopReason.UNVERIFIED, "the model declined: none of its tools does this")
    unknown = sorted({row.tool for row in context.store.effects(context.run_id, state="unknown")})
    if unknown:
        why = "interrupted, and nobody knows whether it took effect; it was not repeated"
        return ended_by(StopReason.UNVERIFIED, f"{', '.join(unknown)}: {why}, so check by hand")
    check = state["task"].get("check")
    if not check:
        return ended_by(StopReason.DONE, "")
    return _run_check(check, context)


def _run_check(check: str, context: RunContext) -> Ended:
    """Run the user's own check command; exit status 0 means done. Its output goes to a file, however long."""
    end = time.monotonic() + CHECK_S
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            check,
            shell=True,
            cwd=context.workspace,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while (status := _status(process)) is None:
                if context.cancel.is_set():
                    raise Cancelled("cancelled while the check was running")
                if time.monotonic() >= end:
                    return ended_by(StopReason.UNVERIFIED, f"the check did not finish within {CHECK_S:g} s: {check}")
        finally:
            _kill(process)
        printed.seek(max(0, printed.seek(0, os.SEEK_END) - 300))
        tail = clean(printed.read().decode(errors="replace")).strip()
    if status == 0:
        return ended_by(StopReason.DONE, "")
    return ended_by(StopReason.UNVERIFIED, f"the check failed with status {status}: {check}; {tail}")


def _status(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(timeout=0.05)
    except subprocess.TimeoutExpired:
        return None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the check if it is still running, with all that it started."""
    if process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()
