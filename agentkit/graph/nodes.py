"""The six nodes of the state machine, in the order a run meets them.

    START -> prepare -> plan -> review -> act -> observe -> (prepare | answer) -> END
                          |        |                          ^
                          |        └ ask: interrupt, a row in approvals; the process may exit
                          └ a final answer, a question or a decline: answer

Each returns the change to the state. Only `act` causes effects; every other node can be run again.
"""

from __future__ import annotations

import subprocess
from dataclasses import replace
from random import Random
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.runtime import Runtime
from langgraph.types import interrupt

from agentkit.errors import CannotEnforce, ContextFull, DeadlineExceeded, EngineError
from agentkit.graph import effects, observing
from agentkit.graph.context import RunContext, add_usage
from agentkit.graph.problem import AgentProblem, call_key
from agentkit.graph.requests import build_request, fit
from agentkit.graph.state import CallState, Ended, RunState
from agentkit.messages import meta, step_message, step_of
from agentkit.policy import Allow, Deny
from agentkit.protocols import PlanBudget, Stop
from agentkit.types import Failed, Step, StopReason, ToolCall

Change = dict[str, Any]


def prepare(state: RunState, runtime: Runtime[RunContext]) -> Change:
    """Check budgets, then make the prompt fit; what cannot fit ends the run with the reason."""
    context = runtime.context
    spent = context.add_time(state.get("spent", {}))
    known = RunState(**{**state, "spent": spent})
    for guard in context.guards:
        verdict = guard.check((), context.limits(spent))
        if isinstance(verdict, Stop):
            context.emit("guard", {"detector": verdict.detector, "verdict": "stop", "text": verdict.detail})
            return {"spent": spent, "ended": _ended(verdict.reason, verdict.detail)}
    try:
        return {"spent": spent, "messages": fit(known, context)}
    except ContextFull as error:
        return {"spent": spent, "ended": _ended(StopReason.CONTEXT, str(error))}


def plan(state: RunState, runtime: Runtime[RunContext]) -> Change:
    """Ask the planner for the next step; it may look ahead but causes nothing."""
    context = runtime.context
    problem = AgentProblem(context=context, banned=frozenset(state["banned"]))
    request = build_request(state, context)
    budget = PlanBudget(deadline=request.deadline, cancel=context.cancel)
    rng = Random(f"{context.settings.engine.seed}/{state['turn']}")
    try:
        chosen = context.planner.plan(problem, request, evaluator=problem, budget=budget, rng=rng)
    except DeadlineExceeded as error:
        return {"ended": _ended(StopReason.BUDGET, str(error))}
    except ContextFull as error:
        return {"ended": _ended(StopReason.CONTEXT, str(error))}
    step = _numbered(chosen.action.step, state["turn"] + 1)
    used = problem.usage
    context.emit("plan", {"strategy": chosen.strategy, "why": chosen.why, "kind": step.kind})
    context.emit("usage", {name: getattr(used, name) for name in type(used).__dataclass_fields__})
    if chosen.tree is not None:
        context.store.save_tree(context.run_id, state["turn"] + 1, chosen.tree)
    spent = {
        **state["spent"],
        "model_calls": state["spent"].get("model_calls", 0) + problem.model_calls,
        "tokens": state["spent"].get("tokens", 0) + used.prompt + used.decoded + used.forced,
    }
    calls = [_new_call(call) for call in step.calls]
    return {
        "messages": [step_message(step)],
        "turn": state["turn"] + 1,
        "calls": calls,
        "spent": spent,
        "usage": add_usage(state["usage"], used),
        "data": step.data,
    }


def review(state: RunState, runtime: Runtime[RunContext]) -> Change:
    """Decide about every call: validated first, then policy; fails closed."""
    context = runtime.context
    untrusted = any(meta(m).get("trust") == "untrusted" for m in state["messages"])
    trusted = [
        str(m.content) for m in state["messages"] if isinstance(m, HumanMessage) and meta(m).get("trust") != "untrusted"
    ]
    reviewed: list[CallState] = []
    blocked = list(state["blocked"])
    for index, call in enumerate(state["calls"]):
        refusal = _refusal(call, index, state, context, untrusted, trusted)
        if refusal is None:
            reviewed.append({**call, "verdict": "allow"})
            continue
        if refusal.kind == "denied":
            blocked.append({"tool": call["tool"], "arguments": call["arguments"], "why": refusal.text})
        reviewed.append({**call, "verdict": "refused", "outcome": effects.to_dict(refusal)})
    return {"calls": reviewed, "blocked": blocked}


def act(state: RunState, runtime: Runtime[RunContext]) -> Change:
    """Run the allowed calls under the ledger; the only node that touches the world."""
    context = runtime.context
    done: list[CallState] = []
    for index, item in enumerate(state["calls"]):
        if item["outcome"] is not None:
            done.append(item)
            continue
        call = ToolCall(id=item["id"], tool=item["tool"], arguments=item["arguments"])
        context.emit("tool_use", {"id": call.id, "tool": call.tool, "arguments": item["arguments"]})
        outcome, seconds = effects.perform(call, index, state, context)
        done.append({**item, "outcome": effects.to_dict(outcome), "seconds": seconds})
    return {"calls": done}


def observe(state: RunState, runtime: Runtime[RunContext]) -> Change:
    """Cap and record what the tools gave, then take the guards' verdict."""
    context = runtime.context
    change = observing.record(state, context)
    spent = {
        **context.add_time(state["spent"]),
        "tool_calls": state["spent"].get("tool_calls", 0) + len(state["calls"]),
    }
    verdict = observing.strongest(context.guards, change["history"], context.limits(spent))
    return {**change, "spent": spent, "calls": [], **observing.obey(verdict, state, change, context)}


def answer(state: RunState, runtime: Runtime[RunContext]) -> Change:
    """End the run with what the model said, or with the best answer so far and the reason."""
    context = runtime.context
    ended = state.get("ended")
    last = state["messages"][-1]
    step = step_of(last) if isinstance(last, AIMessage) and not last.tool_calls else None
    if ended is not None and (step is None or ended["reason"] == StopReason.CONTEXT):
        step = _wrap_up(state, context)
    text = step.text if step is not None else ""
    if ended is None:
        ended = _conclude(step, state, context)
    context.emit("message", {"role": "assistant", "text": text, "kind": step.kind if step else "final"})
    known = step is not None and isinstance(last, AIMessage) and not last.tool_calls
    messages = [] if known or step is None else [step_message(step)]
    return {"answer": text, "ended": ended, "messages": messages, "spent": context.add_time(state["spent"])}


def _ended(reason: StopReason, detail: str) -> Ended:
    return Ended(reason=reason.value, detail=detail)


def _numbered(step: Step, turn: int) -> Step:
    """Give the calls ids that are unique in the run, whatever the model called them."""
    calls = tuple(replace(call, id=f"call_{turn}_{n}") for n, call in enumerate(step.calls))
    return replace(step, calls=calls)


def _new_call(call: ToolCall) -> CallState:
    return CallState(id=call.id, tool=call.tool, arguments=dict(call.arguments), verdict="", outcome=None, seconds=0.0)


def _refusal(
    item: CallState, index: int, state: RunState, context: RunContext, untrusted: bool, trusted: list[str]
) -> Failed | None:
    """Return why a call must not run, or None; may suspend the run until a person has answered."""
    tool = context.tools.get(item["tool"])
    if tool is None:
        names = ", ".join(spec.name for spec in context.tools.specs)
        return Failed(text=f"there is no tool '{item['tool']}'; there are: {names}", kind="unknown_tool")
    try:
        tool.validate(item["arguments"])
    except ValueError as error:
        return Failed(text=f"{item['tool']}: {error}", kind="invalid")
    call = ToolCall(id=item["id"], tool=item["tool"], arguments=item["arguments"])
    verdict = context.policy.decide(tool.spec, call, untrusted_in_context=untrusted, trusted_texts=trusted)
    if isinstance(verdict, Allow):
        return None
    if isinstance(verdict, Deny):
        return Failed(text=f"{call.tool} was not allowed: {verdict.why}", kind="denied")
    identity = effects.effect_id(context.run_id, state["turn"], index, call.tool, call.arguments)
    asked_before = any(known["id"] == identity for known in context.store.approvals())  # the run was resumed
    if not context.asks and not asked_before:
        return Failed(
            text=f"{call.tool} needs a person's approval, and nobody can be asked: {verdict.why}", kind="denied"
        )
    row = {
        "id": identity,
        "run_id": context.run_id,
        "tool": call.tool,
        "arguments": dict(call.arguments),
        "arguments_digest": call_key(call.tool, dict(call.arguments)),
        "effect": tool.spec.rules.effect.value,
        "why": verdict.why,
    }
    approval = context.store.request_approval(row)
    if not asked_before:
        context.emit("approval_required", {**row, "id": approval})
    decision = interrupt({**row, "id": approval})
    if decision == "approved":
        return None
    return Failed(text=f"{call.tool} was {decision}: {verdict.why}", kind="denied")


def _wrap_up(state: RunState, context: RunContext) -> Step | None:
    """Return the best answer so far: one last call that may only answer, else the last result."""
    if state["messages"] and state["ended"] and state["ended"]["reason"] != StopReason.CONTEXT:
        problem = AgentProblem(context=context, banned=frozenset())
        request = replace(build_request(state, context, wrap_up=True), deadline=context.clock() + 10.0)
        try:
            return problem.actions(request)[0].step
        except (DeadlineExceeded, ContextFull, CannotEnforce, EngineError):
            pass  # the last result is still an answer
    last = state["steps"][-1] if state["steps"] else None
    return Step(kind="final", text=f"{last['tool']}: {last['result']}") if last else None


def _conclude(step: Step | None, state: RunState, context: RunContext) -> Ended:
    """Return how a run ended whose model came to an end by itself."""
    if step is None or (step.kind == "final" and not step.text.strip() and step.data is None):
        return _ended(StopReason.UNVERIFIED, "the model gave an empty answer")
    if step.kind == "ask":
        return _ended(StopReason.NEEDS_INPUT, "the model asks a question; answer it on the same thread")
    if state["blocked"]:
        names = ", ".join(sorted({call["tool"] for call in state["blocked"]}))
        return _ended(StopReason.BLOCKED, f"calls were not allowed: {names}; see --approval-mode and --allow-tool")
    if step.kind == "decline":
        return _ended(StopReason.UNVERIFIED, "the model declined: none of its tools does this")
    check = state["task"].get("check")
    if not check:
        return _ended(StopReason.DONE, "")
    return _run_check(check, context)


def _run_check(check: str, context: RunContext) -> Ended:
    """Run the user's own check command; exit status 0 means done."""
    try:
        done = subprocess.run(
            check, shell=True, cwd=context.workspace, capture_output=True, timeout=300, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return _ended(StopReason.UNVERIFIED, f"the check did not finish within 300 s: {check}")
    if done.returncode == 0:
        return _ended(StopReason.DONE, "")
    tail = (done.stderr or done.stdout)[-300:].decode(errors="replace").strip()
    return _ended(StopReason.UNVERIFIED, f"the check failed with status {done.returncode}: {check}; {tail}")
