"""Running one call under the ledger: at most once for every effect.

INTENT is committed before the tool runs and DONE with its result after. A call found DONE is answered
from the ledger; one found at INTENT (a crash in between) is run again only if that is harmless, asked
about where the tool can reconcile, and otherwise reported as having an unknown outcome.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from agentkit.graph import subruns
from agentkit.graph.context import RunContext
from agentkit.graph.keys import call_key
from agentkit.graph.polling import polled
from agentkit.graph.state import Result, RunState
from agentkit.messages import own_words
from agentkit.policy import Allow
from agentkit.protocols import EffectRow, Tool, ToolContext
from agentkit.tools import run_call
from agentkit.tools.outcomes import from_dict, to_dict
from agentkit.tools.run import resolved
from agentkit.types import Effect, Failed, Outcome, ToolCall


def effect_id(run_id: str, turn: int, index: int, tool: str, arguments: Mapping[str, Any]) -> str:
    """Return the id of one effect by its logical place in the run, so that it survives replay."""
    text = f"{run_id}/{turn}/{index}/{call_key(tool, dict(arguments))}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def perform(
    call: ToolCall, index: int, state: RunState, context: RunContext, *, reviewed: str, parent: str = ""
) -> tuple[Outcome, float]:
    """Run one allowed call, or answer it from the ledger; return its outcome and its seconds.

    Args:
        call: the call.
        index: its place in the step, or among the calls that its `parent` made.
        state: the run's.
        context: the run's.
        reviewed: the digest of the arguments that were allowed; nothing is run with others.
        parent: the effect id of the tool that makes the call, where a tool does.
    """
    tool = context.tools.get(call.tool)
    assert tool is not None  # review refuses unknown tools
    identity = effect_id(parent or context.run_id, state["turn"], index, call.tool, call.arguments)
    given = tool_context(tool, identity, state, context)
    digest = hashlib.sha256(call_key(call.tool, dict(call.arguments)).encode()).hexdigest()
    row = EffectRow(
        effect_id=identity,
        run_id=context.root_id or context.run_id,
        tool=call.tool,
        args_digest=digest,
        state="intent",
        attempt=1,
        step_path=f"{parent}/{state['turn']}/{index}".lstrip("/"),
        lease_epoch=context.epoch,
    )
    if not _repeatable(tool) and _left_unknown(row, context):
        return _unknown(tool), 0.0
    known = context.store.intend(row)
    if known.state == "done":
        return from_dict(json.loads(known.result)), 0.0
    if known.attempt > 1 or known.state == "unknown":
        settled = _settle(tool, identity, given, context)
        if settled is not None:
            return settled, 0.0
    started = time.monotonic()
    outcome = polled(tool, call, lambda again: _run_reviewed(tool, call, again, reviewed), given, state, context)
    if subruns.waits(tool, outcome):
        return outcome, 0.0
    context.store.complete(identity, json.dumps(to_dict(outcome), ensure_ascii=False, default=str))
    if subruns.is_delegate(tool):
        subruns.forget(identity, context)
    return outcome, time.monotonic() - started


def _run_reviewed(tool: Tool, call: ToolCall, tool_context: ToolContext, reviewed: str) -> Outcome:
    """Run the call if its arguments still are those that were allowed: a file behind `$N` may have changed meanwhile."""
    arguments = resolved(tool, call.arguments, tool_context.results)
    if not isinstance(arguments, Failed) and digest_of(call.tool, arguments) != reviewed:
        return Failed(
            text=f"{call.tool}: its arguments are not those that were allowed; nothing was run", kind="denied"
        )
    return run_call(tool, call, tool_context)


def digest_of(tool: str, arguments: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a call as the tool gets it: what a decision about it binds to."""
    return hashlib.sha256(call_key(tool, dict(arguments)).encode("utf-8", "surrogatepass")).hexdigest()


def _settle(tool: Tool, identity: str, tool_context: ToolContext, context: RunContext) -> Outcome | None:
    """Return what became of an effect that a crash interrupted; None means: run it again."""
    if _repeatable(tool):
        return None
    if tool.reconcile is not None:
        found = tool.reconcile(identity, tool_context)
        if found is not None:
            context.store.complete(identity, json.dumps(to_dict(found), ensure_ascii=False, default=str))
        return found
    context.store.mark_unknown(identity)
    context.emit("error", {"reason": "unknown_outcome", "detail": _unknown(tool).text})
    return _unknown(tool)


def _repeatable(tool: Tool) -> bool:
    """Whether a second try of the same effect does no more than the first."""
    rules = tool.spec.rules
    return rules.effect in {Effect.PURE, Effect.READ} or rules.idempotent or rules.accepts_key


def _left_unknown(row: EffectRow, context: RunContext) -> bool:
    """Whether the run has a call like this one whose outcome nobody knows: the model must not try it blindly again."""
    unknown = context.store.effects(row.run_id, state="unknown")
    if not any((other.tool, other.args_digest) == (row.tool, row.args_digest) for other in unknown):
        return False
    return all(other.effect_id != row.effect_id for other in context.store.effects(row.run_id))  # else it is known


def _unknown(tool: Tool) -> Failed:
    return Failed(
        text=f"{tool.name} was interrupted, and nobody knows whether it took effect; it was not repeated. Check by hand.",
        kind="unknown_outcome",
    )


def tool_context(tool: Tool, identity: str, state: RunState, context: RunContext) -> ToolContext:
    """Return what a tool is handed for the effect of that id."""
    order = itertools.count()  # a tool may make the same call twice, and mean it

    def nested(name: str, arguments: Mapping[str, Any]) -> Outcome:
        other = context.tools.get(name)
        call = ToolCall(id=f"{identity}/{name}", tool=name, arguments=arguments)
        if other is None:
            return Failed(text=f"there is no tool '{name}'", kind="unknown_tool")
        given = resolved(other, arguments, ())  # a tool has the texts themselves
        if isinstance(given, Failed):
            return given
        call = replace(call, arguments=given)
        own = [text for message in state["messages"] for text in own_words(message)]
        verdict = context.policy.decide(other.spec, call, untrusted_in_context=True, trusted_texts=own)
        if not isinstance(verdict, Allow):
            why = f"{name} was not allowed from inside {tool.name}: {verdict.why}"
            context.refused.append({"tool": name, "arguments": dict(given), "why": why})
            return Failed(text=why, kind="denied")
        return perform(call, next(order), state, context, reviewed=digest_of(name, given), parent=identity)[0]

    @contextlib.contextmanager
    def child(pid: int) -> Iterator[None]:
        context.store.add_child(context.run_id, pid)
        try:
            yield
        finally:
            context.store.remove_child(context.run_id, pid)

    return ToolContext(
        child=child,
        run_id=context.run_id,
        effect_id=identity,
        workspace=context.workspace,
        cancel=context.cancel,
        deadline=context.deadline(state["spent"]),
        emit=context.emit,
        call=nested,
        delegate=lambda goal, cancel: subruns.start(goal, cancel, identity, state, context),
        engine=context.engine,
        store=context.store,
        settings=plugin_settings(tool, context),
        confine=context.settings.tools,
        results=[full_text(result) for result in state.get("results", [])],
    )


def plugin_settings(tool: Tool, context: RunContext) -> Mapping[str, Any]:
    """Return the settings a tool may read: policy's lists, and its plugin's own section over them."""
    policy = context.settings.policy
    return {"commands": policy.commands, "allow_hosts": policy.allow_hosts, **tool.settings}


def full_text(result: Result) -> str:
    """Return a result's whole text, from its file when it was capped.

    Where the file is gone, the capped text is all there is; it says of itself that it was cut, and tools that
    count refuse such text.
    """
    if result["path"] is None:
        return result["text"]
    try:
        return Path(result["path"]).read_text(encoding="utf-8")
    except OSError:
        return result["text"]
