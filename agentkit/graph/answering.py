"""How a run ends: what its end is called, the check, and the best answer so far."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from agentkit import prompts
from agentkit.errors import Cancelled, EngineError
from agentkit.graph.asking import Asking
from agentkit.graph.checking import run_check
from agentkit.graph.context import RunContext, add_spent, add_usage
from agentkit.graph.requests import build_request
from agentkit.graph.state import Ended, RunState, ended_by
from agentkit.messages import nudge_message
from agentkit.protocols import Request
from agentkit.types import Step, StopReason

LAST_CALL_S = 10.0
SHORTEST = 8  # tokens of an answer


def wrap_up(state: RunState, context: RunContext) -> tuple[Step | None, dict[str, Any]]:
    """Return the best answer so far, and what finding it cost: a last call that may only answer, else the last result."""
    ended = state["ended"]
    change: dict[str, Any] = {}
    if ended is not None and ended["reason"] not in {StopReason.CONTEXT, StopReason.NEEDS_INPUT}:
        asking = Asking(context)
        request = build_request(state, context, wrap_up=True)
        if not context.engine.capabilities.dialect.startswith("plain"):  # plain models are told by the grammar
            told = nudge_message(prompts.load("wrap_up").render(reason=ended["detail"].split(";")[0]))
            request = replace(request, messages=[*request.messages, told])
        request = _within_the_limits(request, state, context)
        try:
            step = asking.one(request).step if request.max_tokens >= SHORTEST else None
        except Cancelled:
            raise
        except EngineError:
            step = None  # the last result is still an answer
        change["spent"] = add_spent(state["spent"], asking.usage, asking.model_calls)
        change["usage"] = add_usage(state["usage"], asking.usage)
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
    failed = run_check(check, step.text, context.workspace, context.cancel)
    return ended_by(StopReason.UNVERIFIED if failed else StopReason.DONE, failed)
