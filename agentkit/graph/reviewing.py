"""May this call run? Unknown tools and invalid arguments first, then policy, then, if need be, a person."""

from __future__ import annotations

import time

from langgraph.types import interrupt

from agentkit.graph import effects
from agentkit.graph.context import RunContext
from agentkit.graph.problem import call_key
from agentkit.graph.state import CallState, RunState
from agentkit.policy import Allow, Deny
from agentkit.types import Failed, ToolCall

EXPIRED = "expired"  # nobody answered in time: not a denial


def refusal_of(
    item: CallState, index: int, state: RunState, context: RunContext, untrusted: bool, trusted: list[str]
) -> Failed | None:
    """Return why a call must not run, or None; may suspend the run until a person has answered.

    Arguments are validated before policy looks at them, and long before a person does.
    """
    tool = context.tools.get(item["tool"])
    if tool is None:
        names = ", ".join(spec.name for spec in context.tools.specs)
        return Failed(text=f"there is no tool '{item['tool']}'; there are: {names}", kind="unknown_tool")
    try:
        tool.validate(item["arguments"])
    except ValueError as error:
        return Failed(text=f"{item['tool']}: {error}", kind="invalid")
    except Exception as error:  # noqa: BLE001  a stranger's code
        return Failed(text=f"{item['tool']}: its arguments cannot be checked: {type(error).__name__}", kind="invalid")
    call = ToolCall(id=item["id"], tool=item["tool"], arguments=item["arguments"])
    verdict = context.policy.decide(tool.spec, call, untrusted_in_context=untrusted, trusted_texts=trusted)
    if isinstance(verdict, Allow):
        return None
    if isinstance(verdict, Deny):
        return Failed(text=f"{call.tool} was not allowed: {verdict.why}", kind="denied")
    return _asked(item, index, state, context, effect=tool.spec.rules.effect.value, why=verdict.why)


def _asked(
    item: CallState, index: int, state: RunState, context: RunContext, *, effect: str, why: str
) -> Failed | None:
    """Ask a person, now or through the queue; the first time the run is suspended here."""
    name, arguments = item["tool"], item["arguments"]
    identity = effects.effect_id(context.run_id, state["turn"], index, name, arguments)
    asked_before = any(known["id"] == identity for known in context.store.approvals())  # the run was resumed
    if not context.asks and not asked_before:
        return Failed(text=f"{name} needs a person's approval, and nobody can be asked: {why}", kind="denied")
    expiry = context.settings.policy.approval_expiry_s
    row = {
        "id": identity,
        "run_id": context.run_id,
        "tool": name,
        "arguments": dict(arguments),
        "arguments_digest": call_key(name, dict(arguments)),
        "effect": effect,
        "why": why,
        "expires_at": None if expiry is None else time.time() + expiry,
    }
    approval = context.store.request_approval(row)
    if not asked_before:
        context.emit("approval_required", {**row, "id": approval})
    decision = interrupt({**row, "id": approval})
    if decision == "approved":
        return None
    if decision == "denied":
        return Failed(text=f"{name} was denied: {why}", kind="denied")
    return Failed(
        text=f"the approval of {name} {'has ' if decision == EXPIRED else 'was '}{decision}, and nothing was run; "
        "give the task again",
        kind=EXPIRED,
    )
