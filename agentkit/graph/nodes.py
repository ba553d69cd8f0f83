"""The six nodes of the state machine, in the order a run meets them.

    START -> prepare -> plan -> review -> act -> observe -> (prepare | answer) -> END
                          |        |                          ^
                          |        └ ask: interrupt, a row in approvals; the process may exit
                          └ a final answer, a question or a decline: answer; a reply that was cut off: prepare

Each returns the change to the state. Only `act` causes effects; every other node can be run again.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from random import Random
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.runtime import Runtime
from langgraph.types import interrupt

from agentkit.engine.wire import messages_to_wire, tools_to_wire
from agentkit.errors import AgentkitError, ContextFull, DeadlineExceeded, ExtensionError
from agentkit.graph import effects, guarding, observing, subruns
from agentkit.graph.answering import conclude, wrap_up
from agentkit.graph.asking import Degenerated
from agentkit.graph.checking import run_check
from agentkit.graph.context import RunContext, add_spent, add_usage
from agentkit.graph.history import History
from agentkit.graph.keeping import KeptTree
from agentkit.graph.keys import step_key
from agentkit.graph.parts import whole_answer
from agentkit.graph.problem import AgentProblem, Check, Situation
from agentkit.graph.requests import build_request, fit, last_words
from agentkit.graph.reviewing import EXPIRED, reviewed_call
from agentkit.graph.state import CallState, RunState, ended_by, new_call, numbered
from agentkit.graph.values import with_values
from agentkit.guards import banned, working_tokens
from agentkit.guards.window import recent
from agentkit.messages import step_message, step_of
from agentkit.protocols import Plan, Reply, Request, Stop
from agentkit.tools.outcomes import to_dict
from agentkit.types import Failed, Step, StopReason, ToolCall, Usage

Change = dict[str, Any]
REHEARSED_S = 60.0  # of a check on a way that is only thought about
_NOT_RUN = Failed(text="it was not run: an approval in the same step expired", kind="denied")


def prepare(state: RunState, runtime: Runtime[RunContext]) -> Change:
    """Check budgets, then make the prompt fit; what cannot fit ends the run with the reason."""
    context = runtime.context
    spent = {**context.add_time(state.get("spent", {})), "next_tokens": 0}
    full = ""
    messages: list[Any] = []
    try:
        messages, tokens = fit(RunState(**{**state, "spent": spent}), context)
        spent["next_tokens"] = tokens  # reserved until the call is paid for
    except ContextFull as error:
        full = str(error)
    for guard in context.guards:
        verdict = guard.check((), context.limits(spent))
        if isinstance(verdict, Stop):
            context.emit("guard", {"detector": verdict.detector, "verdict": "stop", "text": verdict.detail})
            return {"spent": spent, "ended": ended_by(verdict.reason, verdict.detail)}
    if full:
        return {"spent": spent, "ended": ended_by(StopReason.CONTEXT, full)}
    return {"spent": spent, "messages": messages}


def plan(state: RunState, runtime: Runtime[RunContext]) -> Change:
    """Ask the planner for the next step; it may look ahead but causes nothing."""
    context = runtime.context
    request = build_request(state, context)
    state = _paid_twice(state, request, context)
    items = recent(History(state["history"]))
    classify = guarding.classifier(items, context)
    problem = AgentProblem(context=context, check=_check(state, context), banned=banned(items), classify=classify)
    asking = problem.asking
    try:
        chosen, values = _chosen(problem, state, request, context)
    except Degenerated as error:
        spent = add_spent(state["spent"], asking.usage, asking.model_calls)
        found = guarding.nothing_came("degenerate", error.text, state, spent, context)
        lost = {
            "turn": state["turn"] + 1,
            "calls": [],
            "spent": spent,
            "usage": add_usage(state["usage"], asking.usage),
        }
        return lost | (found or {"ended": ended_by(StopReason.MODEL, str(error))})
    except DeadlineExceeded as error:
        return {"ended": ended_by(StopReason.BUDGET, str(error))}
    except ContextFull as error:
        return {"ended": ended_by(StopReason.CONTEXT, str(error))}
    finally:
        problem.close()
    step = numbered(whole_answer(chosen.action.step, state["messages"], request), state["turn"] + 1)
    used = asking.usage
    reply = problem.replies.get(step_key(chosen.action.step))
    _tell(chosen, step, reply, values, context)
    context.emit("usage", {name: getattr(used, name) for name in type(used).__dataclass_fields__})
    if chosen.tree is not None:
        context.store.save_tree(context.run_id, state["turn"] + 1, {**chosen.tree, **_asked(request)})
    spent = add_spent(state["spent"], used, max(1, asking.model_calls))
    change: Change = {
        "turn": state["turn"] + 1,
        "calls": [],
        "spent": spent,
        "usage": add_usage(state["usage"], used),
    }
    if reply is not None and reply.finish == "length":
        return change | _cut_off(reply, request, state, spent, context)
    if empty := _empty(step):
        found = guarding.nothing_came(empty, step.text, state, spent, context)
        if found:
            return change | found
    calls = [new_call(call) for call in step.calls]
    return change | {"messages": [step_message(step)], "calls": calls, "data": step.data}


def review(state: RunState, runtime: Runtime[RunContext]) -> Change:
    """Decide about every call: validated first, then policy; fails closed."""
    context = runtime.context
    reviewed: list[CallState] = []
    blocked = list(state["blocked"])
    expired = None
    held = guarding.held_back(state, context)
    for index, call in enumerate(state["calls"]):
        refusal: Failed | str
        refusal = _NOT_RUN if expired else held[index] or reviewed_call(call, index, state, context)
        if isinstance(refusal, str):
            reviewed.append({**call, "verdict": "allow", "digest": refusal})
            continue
        if refusal.kind in {"denied", EXPIRED}:
            blocked.append({"tool": call["tool"], "arguments": call["arguments"], "why": refusal.text})
        expired = refusal if refusal.kind == EXPIRED else expired
        reviewed.append({**call, "verdict": "refused", "outcome": to_dict(refusal)})
    if expired is None:
        return {"calls": reviewed, "blocked": blocked}
    rest = to_dict(_NOT_RUN)
    reviewed = [{**call, "verdict": "refused", "outcome": call["outcome"] or rest} for call in reviewed]
    return {"calls": reviewed, "blocked": blocked, "ended": ended_by(StopReason.NEEDS_INPUT, expired.text)}


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
        outcome, seconds = effects.perform(call, index, state, context, reviewed=item.get("digest", ""))
        while subruns.waits(context.tools.get(call.tool), outcome):
            interrupt(subruns.question(outcome, context))
            outcome, seconds = effects.perform(call, index, state, context, reviewed=item.get("digest", ""))
        done.append({**item, "outcome": to_dict(outcome), "seconds": seconds})
    refused, context.refused[:] = list(context.refused), []
    return {"calls": done, "blocked": [*state["blocked"], *refused]} if refused else {"calls": done}


def observe(state: RunState, runtime: Runtime[RunContext]) -> Change:
    """Cap and record what the tools gave, then take the guards' verdict."""
    context = runtime.context
    change = observing.record(state, context)
    spent = {
        **context.add_time(state["spent"]),
        "tool_calls": state["spent"].get("tool_calls", 0) + len(state["calls"]),
        "effects": state["spent"].get("effects", 0)
        + sum(call["verdict"] == "allow" and guarding.changes_something(call, context) for call in state["calls"]),
    }
    change |= subruns.settle(state, context, spent)
    spent = change["spent"]
    verdict = guarding.judged(change["history"], spent, context)
    if state.get("ended"):  # an approval ran out of time
        return {**change, "spent": spent, "calls": []}
    return {**change, "spent": spent, "calls": [], **guarding.obey(verdict, state, change, context)}


def answer(state: RunState, runtime: Runtime[RunContext]) -> Change:
    """End the run with what the model said, or with the best answer so far and the reason."""
    context = runtime.context
    ended = state.get("ended")
    last = state["messages"][-1]
    said = step_of(last) if isinstance(last, AIMessage) and not last.tool_calls else None
    change: Change = {}
    step = said
    if ended is not None and (said is None or ended["reason"] == StopReason.CONTEXT):
        step, change = wrap_up(state, context)
        change["messages"] = [step_message(step)] if step is not None else []
    if ended is None:
        ended = conclude(step, state, context)
    text = step.text if step is not None else ""
    context.emit("message", {"role": "assistant", "text": text, "kind": step.kind if step else "final"})
    spent = context.add_time(change.get("spent", state["spent"]))
    return {**change, "answer": text, "ended": ended, "calls": [], "spent": spent}


def _chosen(problem: AgentProblem, state: RunState, request: Request, context: RunContext) -> tuple[Plan, str]:
    """Return the planner's choice, and whose values it went by; a planner that raises is an extension that failed."""
    planner, budget = context.planner, context.plan_budget(request.deadline)
    root, memory = Situation(state, context.workspace), KeptTree(context, state["turn"] + 1)
    rng = Random(f"{context.settings.engine.seed}/{state['turn']}")
    evaluator = with_values(problem, context)
    try:
        chosen = planner.plan(problem, root, evaluator=evaluator, budget=budget, rng=rng, memory=memory)
    except AgentkitError:
        raise
    except Exception as error:
        raise ExtensionError(
            f"planner '{planner.name}' failed: {type(error).__name__}: {error}; use another (run.planner)"
        ) from error
    return chosen, evaluator.why() if evaluator.asked else ""


def _tell(chosen: Plan, step: Step, reply: Reply | None, values: str, context: RunContext) -> None:
    """Say what was chosen, why, and what finding it took."""
    why = {"strategy": chosen.strategy, "why": chosen.why, "kind": step.kind, "ending": chosen.ending.value}
    grounds = {"grounds": _grounds(reply)} if reply and reply.grounds else {}
    by = {"values": values} if values else {}
    context.emit("plan", {**why, "spent": dict(chosen.spent), **by, **grounds})


def _asked(request: Request) -> dict[str, Any]:
    """Return what a tree was grown from, as data to train on wants it; the check is no part of it."""
    messages = messages_to_wire(request.messages)
    return {"prompt": messages, "tools": tools_to_wire(request.tools), "task": last_words(request.messages)}


def _check(state: RunState, context: RunContext) -> Check | None:
    """Return the user's check for ways that are only thought about; None where there is none."""
    command = state["task"].get("check")
    if not command:
        return None
    return lambda answer, workspace: run_check(command, answer, workspace, context.cancel, timeout_s=REHEARSED_S)


def _empty(step: Step) -> str:
    """Return what is wrong with a step that is neither a call nor an answer; nothing for one that is."""
    if step.calls or step.data is not None or (step.kind != "calls" and step.text.strip()):
        return ""
    return "monologue" if step.text.strip() else "empty"


def _paid_twice(state: RunState, request: Request, context: RunContext) -> RunState:
    """Return the state with a model call paid for that nobody has seen the end of.

    If this is the first node of a resumed run, an earlier process was lost in this very call; what it used is not
    known, so the worst case is taken. A resume never refills a budget.
    """
    if context.mark:
        return state
    context.mark[:] = [context.clock()]
    lost = Usage(prompt=int(state["spent"].get("next_tokens", 0)), decoded=request.max_tokens)
    return RunState(**{**state, "spent": add_spent(state["spent"], lost, 1)})


def _cut_off(reply: Reply, request: Request, state: RunState, spent: dict[str, Any], context: RunContext) -> Change:
    """Return what becomes of a reply that ran out of room: half a call is never run, half an answer is not "done"."""
    step, room = reply.step, request.max_tokens
    why = f"the reply was cut off after {room} tokens"
    limit = working_tokens(context.settings.run.max_tokens)
    over = limit is not None and spent["tokens"] >= limit
    if step.kind != "calls" and step.text.strip():
        reason = StopReason.BUDGET if over else StopReason.UNVERIFIED
        return {"messages": [step_message(replace(step, calls=()))], "ended": ended_by(reason, why)}
    if over:
        return {"ended": ended_by(StopReason.BUDGET, f"{why}: run.max_tokens, --max-tokens is used up")}
    found = guarding.nothing_came("cut_off", step.text, state, spent, context)
    return found or {"ended": ended_by(StopReason.MODEL, f"{why}, and nothing of it was run")}


def _grounds(reply: Reply) -> dict[str, Any]:
    """Return what each grounded argument of the step could be, as plain data."""
    return {tool: {name: asdict(ground) for name, ground in about.items()} for tool, about in reply.grounds.items()}
