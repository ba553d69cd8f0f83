"""Sub-runs: a part of a run's task, done by the same state machine in a thread of its own.

A sub-run starts with a fresh conversation and has what its parent has, and never more: the same engine, tools,
guards and policy, and a share of what is left of the parent's budget. Its goal is the model's words, so it names no
destination; the user's words still do. Its thread is named after the parent's effect, so that a parent which is
killed and resumed goes on with it, and its effects stand in the ledger under that effect.

Depth, sub-runs a run and sub-runs in all are counted in the parent's `spent`, which is checkpointed: a restart
gives none back. Each sub-run of a step gets an equal share of what is left, and what it does not use goes back.
"""

from __future__ import annotations

import contextvars
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage
from langgraph.types import Command

from agentkit.errors import AgentkitError, Cancelled
from agentkit.graph.context import RunContext, add_usage
from agentkit.graph.state import CallState, RunState, fresh_run
from agentkit.messages import is_tainted, meta, own_words, with_meta, words_of
from agentkit.protocols import CancelFlag, MessageMeta, Tool
from agentkit.tools import Registry
from agentkit.tools.delegating import NAME, delegate
from agentkit.types import Done, Failed, Outcome, Pending, StopReason, ToolSpec, Trust, Usage

KEY = "sub_run"  # of an outcome's data: what a sub-run used, and what came of it
TOKENS_KEPT = 0.1  # of what is left: for the parent to go on with
SECONDS_KEPT = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one sub-run may use. None means no limit."""

    model_calls: int | None
    tool_calls: int | None
    tokens: int | None
    seconds: float | None
    sub_runs: int  # of its own, and of theirs


def is_delegate(tool: Tool | None) -> bool:
    """Whether a tool is agentkit's own `delegate`; only its outcomes are believed about budgets and trust."""
    return tool is not None and tool.run is delegate.run


def thread_of(context: RunContext, effect_id: str) -> str:
    """Return the thread, and the run id, of the sub-run that an effect stands for."""
    return f"{context.run_id}/{effect_id[:12]}"


def start(goal: str, cancel: CancelFlag, effect_id: str, state: RunState, context: RunContext) -> Outcome:
    """Do `goal` in a sub-run, or go on with the one that was begun under this effect; return what came of it.

    Returns:
        `Done` with the answer, `Failed` with the reason and the best answer so far, or `Pending` on an approval.

    Raises:
        Cancelled: the parent was cancelled; the sub-run goes on when the parent is resumed.
    """
    place = _place(effect_id, state, context)
    refusal = _refusal(goal, place, state, context)
    if refusal is not None:
        return refusal
    share = share_of(state, context)
    if 0 in (share.model_calls, share.tool_calls, share.tokens, share.seconds):
        return Failed(text="too little of the budget is left for a helper; go on without one", kind="denied")
    child = _child_context(goal, effect_id, share, cancel, state, context)
    try:
        values = contextvars.Context().run(_drive, child, goal, state)  # LangGraph must not take it for a node of ours
    except Cancelled:
        raise
    except AgentkitError as error:
        values = child.graph.get_state(_config(child)).values
        ended = {"reason": StopReason.ERROR.value, "detail": " ".join(str(error).split())[:500]}
        values = {**values, "ended": ended}
    if isinstance(values, Pending):
        return values
    child.emit("run_ended", {"stop_reason": values["ended"]["reason"], "answer": values.get("answer", "")})
    return _outcome(values)


def forget(effect_id: str, context: RunContext) -> None:
    """Delete the checkpoints of a sub-run whose result is in the ledger."""
    context.graph.checkpointer.delete_thread(thread_of(context, effect_id))


def share_of(state: RunState, context: RunContext) -> Share:
    """Return what each sub-run of the current step may use: what is left, kept-back parts taken off, divided."""
    run, spent = context.settings.run, state["spent"]
    allowed = [call["tool"] for call in state["calls"] if call["verdict"] == "allow"]
    mine = allowed.count(NAME)
    among = max(1, min(mine, context.settings.delegate.max_children - int(spent.get("children", 0))))

    def left(limit: int | None, name: str, keep: int) -> int | None:
        return None if limit is None else max(0, limit - int(spent.get(name, 0)) - keep) // among

    tokens = left(run.max_tokens, "tokens", 0)
    deadline = context.deadline(spent)
    seconds = None if deadline is None else max(0.0, deadline - context.clock()) * (1 - SECONDS_KEPT) / among
    total = context.settings.delegate.max_runs - int(spent.get("sub_runs", 0))
    return Share(
        model_calls=left(run.max_turns, "model_calls", 1),
        tool_calls=left(run.max_tool_calls, "tool_calls", len(allowed) - mine + among),
        tokens=None if tokens is None else int(tokens * (1 - TOKENS_KEPT)),
        seconds=seconds,
        sub_runs=max(0, total - among) // among,
    )


def settle(state: RunState, context: RunContext, spent: Mapping[str, Any]) -> dict[str, Any]:
    """Return `spent`, `usage` and `blocked` of a run with what the sub-runs of its step have used and were refused."""
    total, usage, blocked = dict(spent), dict(state["usage"]), list(state["blocked"])
    for call in state["calls"]:
        told = _told(call, context)
        if told is None:
            continue
        for name, used in told["spent"].items():
            total[name] = total.get(name, 0) + used
        total["children"] = total.get("children", 0) + 1
        usage = add_usage(usage, Usage(**told["usage"]))
        blocked += told["blocked"]
    return {"spent": total, "usage": usage, "blocked": blocked}


def spec_of(tool: Tool | None, outcome: Outcome) -> ToolSpec | None:
    """Return a tool's spec; the report of a sub-run that read no stranger's words is as trusted as its goal was."""
    if tool is None or not is_delegate(tool):
        return None if tool is None else tool.spec
    told = (getattr(outcome, "data", None) or {}).get(KEY)
    if told is not None and told["untrusted"]:
        return tool.spec
    return replace(tool.spec, rules=replace(tool.spec.rules, trust=Trust.TRUSTED))


def waits(tool: Tool | None, outcome: Outcome) -> bool:
    """Whether an outcome is a sub-run that waits for a person: nothing to write down yet."""
    return is_delegate(tool) and isinstance(outcome, Pending)


def question(outcome: Outcome, context: RunContext) -> Mapping[str, Any]:
    """Return the approval that a waiting sub-run needs, for the parent to be suspended with."""
    assert isinstance(outcome, Pending)
    return context.store.approval(outcome.handle) or {}


# ── the sub-run itself ──


def _drive(child: RunContext, goal: str, parent: RunState) -> dict[str, Any] | Pending:
    """Run the sub-run to its end, or to a question; one that was begun goes on, one that has ended is read."""
    graph, config = child.graph, _config(child)
    snapshot = graph.get_state(config)
    begun: Any = None
    if not snapshot.next:
        if snapshot.values.get("ended"):
            return dict(snapshot.values)
        begun = _first_state(child, goal, parent)
    elif snapshot.interrupts:
        decision = _decided(snapshot.interrupts[0].value, child)
        if isinstance(decision, Pending):
            return decision
        begun = Command(resume=decision)
    child.emit("run_started", {"goal": goal, "resumed": bool(snapshot.next)})
    values: dict[str, Any] = graph.invoke(begun, config, context=child, durability="sync")
    waiting = values.pop("__interrupt__", ())
    if not waiting:
        return values
    asked: Pending = _decided(waiting[0].value, child, asked=True)
    return asked


def _decided(asked_for: Mapping[str, Any], child: RunContext, *, asked: bool = False) -> Any:
    row = child.store.approval(asked_for["id"])
    if row is None or (not asked and row["state"] != "pending"):
        return "cancelled" if row is None else row["state"]
    text = f"{row['tool']} waits for approval {row['id']}"
    return Pending(kind="approval", handle=str(row["id"]), text=text)


def _config(child: RunContext) -> dict[str, Any]:
    from agentkit.graph.build import recursion_limit  # noqa: PLC0415  build imports the nodes, and they this

    limit = recursion_limit(child.settings.run.max_turns)
    return {"configurable": {"thread_id": child.run_id}, "recursion_limit": limit}


def _first_state(child: RunContext, goal: str, parent: RunState) -> dict[str, Any]:
    messages: list[AnyMessage] = [
        message
        for message in parent["messages"]
        if isinstance(message, SystemMessage) and not meta(message).get("kind")
    ]
    known: MessageMeta = {"source": "model", "trust": "untrusted", "own": _own_words(parent["messages"])}
    messages.append(HumanMessage(content=goal, additional_kwargs=with_meta(known)))
    return {**fresh_run(child.run_id, {}), "messages": messages}


def _own_words(messages: list[AnyMessage]) -> list[str]:
    """Return the user's words in a conversation: they name destinations for its sub-runs, too."""
    return [text for message in messages if isinstance(message, HumanMessage) for text in own_words(message)]


def _child_context(
    goal: str, effect_id: str, share: Share, cancel: CancelFlag, state: RunState, parent: RunContext
) -> RunContext:
    settings = replace(
        parent.settings,
        run=replace(
            parent.settings.run,
            max_turns=share.model_calls,
            max_tool_calls=share.tool_calls,
            max_tokens=share.tokens,
            timeout_s=share.seconds,
        ),
        delegate=replace(parent.settings.delegate, max_runs=share.sub_runs),
    )
    goals = (*_ancestors(state, parent), goal)
    deepest = len(goals) > parent.settings.delegate.max_depth or not share.sub_runs
    tools = Registry(tool for tool in parent.tools if not (deepest and is_delegate(tool)))
    child_id = thread_of(parent, effect_id)

    def emit(type: str, data: Mapping[str, Any]) -> None:
        if cancel.is_set() or type in {"text_delta", "arguments_delta"}:  # the message follows whole
            return
        if type == "approval_required" or "event" in data:  # a question is the parent's; a sub-run's of ours is wrapped
            parent.emit(type, data)
            return
        event = {"type": type, "run_id": child_id, "depth": len(goals) - 1, **data}
        parent.emit("tool_progress", {"tool": NAME, "text": _line(type, data), "event": event})

    return replace(
        parent,
        run_id=child_id,
        root_id=parent.root_id or parent.run_id,
        goals=goals,
        settings=settings,
        tools=tools,
        files=parent.files / effect_id[:12],
        emit=emit,
        cancel=cancel,
        mark=[],
        refused=[],
    )


def _line(type: str, data: Mapping[str, Any]) -> str:
    """Return what a person sees of a sub-run's event."""
    said = data.get("goal") or data.get("tool") or data.get("text") or data.get("stop_reason") or ""
    return f"{type}: {' '.join(str(said).split())[:200]}"


def _ancestors(state: RunState, context: RunContext) -> tuple[str, ...]:
    """Return the goals on the way here: the user's task, and those of the sub-runs in between."""
    if context.goals:
        return context.goals
    task = next((words_of(m) for m in reversed(state["messages"]) if isinstance(m, HumanMessage)), "")
    return (task,)


def _place(effect_id: str, state: RunState, context: RunContext) -> int | None:
    """Return which of its step's sub-runs an effect is, from 0; None: it is no call of the model's own."""
    from agentkit.graph.effects import effect_id as identify  # noqa: PLC0415  effects import this

    allowed = [
        identify(context.run_id, state["turn"], index, NAME, call["arguments"])
        for index, call in enumerate(state["calls"])
        if call["tool"] == NAME and call["verdict"] == "allow"
    ]
    return allowed.index(effect_id) if effect_id in allowed else None


def _refusal(goal: str, place: int | None, state: RunState, context: RunContext) -> Failed | None:
    """Return why there must be no such sub-run, or None."""
    limits, spent = context.settings.delegate, state["spent"]
    above = _ancestors(state, context)
    why = ""
    if place is None:
        why = "a tool cannot hand work to a helper"
    elif any(_same(goal) == _same(other) for other in above):
        why = "this is the very task you were given; do it yourself, or hand over a smaller part"
    elif len(above) > limits.max_depth:
        why = f"helpers of helpers go {limits.max_depth} deep at most (delegate.max_depth); do it yourself"
    elif int(spent.get("children", 0)) + place >= limits.max_children:
        why = f"you have had all {limits.max_children} helpers (delegate.max_children); go on without"
    elif int(spent.get("sub_runs", 0)) + place >= limits.max_runs:
        why = "all helpers that this task may have are used up (delegate.max_runs); go on without"
    return Failed(text=why, kind="denied") if why else None


def _same(goal: str) -> str:
    return " ".join("".join(char if char.isalnum() else " " for char in goal.casefold()).split())


def _outcome(values: Mapping[str, Any]) -> Outcome:
    """Return what a sub-run came to, with what it used and whether it heard a stranger."""
    spent, ended, answer = values.get("spent", {}), values["ended"], values.get("answer", "")
    told = {
        "run_id": values.get("run_id", ""),
        "stop_reason": ended["reason"],
        "detail": ended["detail"],
        "untrusted": is_tainted(m for m in values.get("messages", ()) if not isinstance(m, HumanMessage)),
        "spent": {
            **{name: spent.get(name, 0) for name in ("model_calls", "tool_calls", "tokens", "effects")},
            "sub_runs": 1 + int(spent.get("sub_runs", 0)),
        },
        "usage": dict(values.get("usage", {})),
        "blocked": list(values.get("blocked", ())),
        "steps": len(values.get("steps", ())),
    }
    if ended["reason"] == StopReason.DONE:
        return Done(text=answer, data={KEY: told})
    best = f" What it has so far: {answer}" if answer else ""
    return Failed(text=f"the helper did not finish ({ended['reason']}): {ended['detail']}.{best}", data={KEY: told})


def _told(call: CallState, context: RunContext) -> dict[str, Any] | None:
    """Return what a call's sub-run says of itself, or None where there was none."""
    if call["outcome"] is None or not is_delegate(context.tools.get(call["tool"])):
        return None
    found: dict[str, Any] | None = (call["outcome"].get("data") or {}).get(KEY)
    return found
