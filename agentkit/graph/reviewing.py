"""May this call run? Unknown tools and invalid arguments first, then policy, then, if need be, a person.

What is decided about is the call as the tool will get it: arguments validated, `$N` resolved. The decision binds to the
digest of those, and is kept in a row: what a resumed run hears counts only as far as the row of this very call says so.
Where the tool has a dry run that stays on this machine, the person is shown what it says; a call that it says cannot work
is refused, and nobody is asked.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from langgraph.runtime import get_runtime
from langgraph.types import interrupt

from agentkit.graph import effects
from agentkit.graph.context import RunContext
from agentkit.graph.rehearsing import ALONE
from agentkit.graph.state import CallState, RunState
from agentkit.messages import is_tainted, own_words
from agentkit.policy import Allow, Ask, Deny
from agentkit.protocols import Tool
from agentkit.tools import run_call
from agentkit.tools.paging import NAME as READ_RESULT  # offered where there is something to read on in
from agentkit.tools.run import resolved
from agentkit.types import Failed, ToolCall

EXPIRED = "expired"  # nobody answered in time: not a denial
_SHOWN = ("id", "tool", "arguments", "effect", "why", "once")


def reviewed_call(item: CallState, index: int, state: RunState, context: RunContext) -> str | Failed:
    """Return the digest of the arguments that may be run, or why they must not; may suspend the run to ask a person.

    Arguments are validated before policy looks at them, and long before a person does.
    """
    tool = context.tools.get(item["tool"])
    if tool is None:
        names = ", ".join(spec.name for spec in context.tools.specs if spec.name != READ_RESULT)
        return Failed(text=f"there is no tool '{item['tool']}'; there are: {names}", kind="unknown_tool")
    given = resolved(tool, item["arguments"], _results(tool, item, state))
    if isinstance(given, Failed):
        return Failed(text=f"{item['tool']}: {given.text}", kind=given.kind)
    call = ToolCall(id=item["id"], tool=item["tool"], arguments=given)
    messages = state["messages"]
    own = [text for message in messages for text in own_words(message)]
    verdict = context.policy.decide(tool.spec, call, untrusted_in_context=is_tainted(messages), trusted_texts=own)
    if isinstance(verdict, Deny):
        return Failed(text=f"{call.tool} was not allowed: {verdict.why}", kind="denied")
    if isinstance(verdict, Ask):
        refusal = _asked(tool, call, index, state, context, verdict)
        if refusal is not None:
            return refusal
    else:
        assert isinstance(verdict, Allow)
    return effects.digest_of(call.tool, given)


def _results(tool: Tool, item: CallState, state: RunState) -> list[str]:
    """Return the texts that `$N` may stand for; files are read only for a call that has one."""
    takes = any("$" in str(item["arguments"].get(name, "")) for name in tool.spec.rules.references)
    return [effects.full_text(result) for result in state.get("results", [])] if takes else []


def _asked(tool: Tool, call: ToolCall, index: int, state: RunState, context: RunContext, verdict: Ask) -> Failed | None:
    """Return what a person's answer comes to, asked now or through the queue; the first time the run is suspended here."""
    name, why = call.tool, verdict.why
    identity = effects.effect_id(context.run_id, state["turn"], index, name, call.arguments)
    row = context.store.approval(identity)
    if row is None:
        if not context.asks:
            return Failed(text=f"{name} needs a person's approval, and nobody can be asked: {why}", kind="denied")
        foreseen = _foreseen(tool, call, identity, state, context)
        if isinstance(foreseen, Failed):
            return foreseen
        asked = {**_row(identity, call, context, tool.spec.rules.effect.value, verdict), "foreseen": foreseen}
        context.store.request_approval(asked)
        context.emit("approval_required", asked)
        row = {**asked, "state": "pending"}
    while row["state"] == "pending":
        # An answer to another question of this step may come back here first: only the row counts.
        interrupt({key: row[key] for key in (*_SHOWN, "foreseen") if key in row})
        row = context.store.approval(identity) or {"state": "cancelled"}
    decision = row["state"]
    if decision == "approved":
        return None
    if decision == "denied":
        return Failed(text=f"{name} was denied: {why}", kind="denied")
    return Failed(
        text=f"the approval of {name} {'has ' if decision == EXPIRED else 'was '}{decision}, and nothing was run; "
        "give the task again",
        kind=EXPIRED,
    )


def _foreseen(tool: Tool, call: ToolCall, identity: str, state: RunState, context: RunContext) -> str | Failed:
    """Return what the tool's dry run says; nothing where it has none, or would itself leave this machine."""
    if tool.predict is None or tool.spec.rules.egress:
        return ""
    context.emit("tool_progress", {"tool": call.tool, "text": "looking at what it would do"})
    given = replace(effects.tool_context(tool, identity, state, context), call=lambda name, arguments: ALONE)
    outcome = run_call(replace(tool, run=tool.predict), call, given)
    return outcome if isinstance(outcome, Failed) else outcome.text


def _row(identity: str, call: ToolCall, context: RunContext, effect: str, verdict: Ask) -> Mapping[str, Any]:
    expiry = context.settings.policy.approval_expiry_s
    place = get_runtime().execution_info
    root = context.store.run(context.root_id) if context.root_id else None  # of a sub-run: the run that can be resumed
    thread = place.thread_id if place else None
    return {
        "id": identity,
        "run_id": context.root_id or context.run_id,
        "thread_id": root["thread_id"] if root else thread,
        "checkpoint_id": place.checkpoint_id if place else None,
        "tool": call.tool,
        "arguments": dict(call.arguments),
        "arguments_digest": effects.digest_of(call.tool, call.arguments),
        "effect": effect,
        "why": verdict.why,
        "once": verdict.once,
        "expires_at": None if expiry is None else time.time() + expiry,
    }
