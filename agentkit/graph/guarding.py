"""The guards in the state machine: what they read, which calls are held back, and carrying out what they say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage, ToolMessage

from agentkit.graph.context import RunContext
from agentkit.graph.history import History, plain
from agentkit.graph.state import CallState, Ended, RunState
from agentkit.guards import BANNED, REPEATED, banned, gravest, nothing, said, same_call
from agentkit.guards.window import recent
from agentkit.messages import meta, nudge_message
from agentkit.protocols import AskUser, Go, HistoryItem, Replan, Stop, Verdict
from agentkit.types import Effect, Failed, StopReason, ToolCall

Change = dict[str, Any]
BUDGET = "budget"  # the kind of a call refused because its limit is used up
MOST_EQUAL = 3  # equal calls in one step that are made


def held_back(state: RunState, context: RunContext) -> list[Failed | None]:
    """Return for each call of the step why it must not run whatever policy says; None: it may.

    It is ruled out, beyond a limit, or once more the same.
    """
    items = recent(History(state["history"]))
    out, class_of = banned(items), classifier(items, context)
    equal, changes = Counter[tuple[str, str]](), 0
    found: list[Failed | None] = []
    for index, item in enumerate(state["calls"]):
        key = class_of(ToolCall(id=item["id"], tool=item["tool"], arguments=item["arguments"]))
        changing = changes_something(item, context)
        changes += changing
        if key in out:
            found.append(_ruled_out(item["tool"]))
        elif equal[item["tool"], key] >= MOST_EQUAL:
            found.append(_once_more(item["tool"]))
        else:
            found.append(_beyond(index, changes if changing else 0, state, context))
        equal[item["tool"], key] += 1
    return found


def _ruled_out(tool: str) -> Failed:
    text = f"{tool} with these arguments is ruled out: it had led nowhere. Do something else, or answer."
    return Failed(text=text, kind=BANNED)


def _once_more(tool: str) -> Failed:
    text = f"{tool} was called {MOST_EQUAL} times like this in one step; it was not run again"
    return Failed(text=text, kind=REPEATED)


def _beyond(index: int, changes: int, state: RunState, context: RunContext) -> Failed | None:
    """Return which limit call `index` of the step is beyond, `changes` being those up to it if it is one itself."""
    spent, run = state["spent"], context.settings.run
    if run.max_tool_calls is not None and spent.get("tool_calls", 0) + index >= run.max_tool_calls:
        return Failed(text=f"it was not run: the limit of {run.max_tool_calls} tool calls is used up", kind=BUDGET)
    if changes and run.max_effects is not None and spent.get("effects", 0) + changes > run.max_effects:
        text = f"it was not run: the limit of {run.max_effects} calls that change something is used up"
        return Failed(text=text, kind=BUDGET)
    return None


def classifier(items: Sequence[HistoryItem], context: RunContext) -> Callable[[ToolCall], str]:
    """Return what tells the class of a call that may come after these items."""

    def class_of(call: ToolCall) -> str:
        tool = context.tools.get(call.tool)
        return same_call(items, call, tool.spec if tool else None)

    return class_of


def changes_something(item: CallState, context: RunContext) -> bool:
    """Whether a call counts against the limit of changes."""
    tool = context.tools.get(item["tool"])
    return tool is not None and tool.spec.rules.effect in {Effect.WRITE, Effect.IRREVERSIBLE}


def judged(history: Sequence[dict[str, Any]], spent: dict[str, Any], context: RunContext) -> Verdict:
    """Return the gravest verdict of all guards."""
    items, limits = History(history), context.limits(spent)
    return gravest(guard.check(items, limits) for guard in context.guards)


def obey(verdict: Verdict, state: RunState, change: Change, context: RunContext) -> Change:
    """Return the change that carries a verdict out; `change` is what the step has changed so far."""
    if isinstance(verdict, Go):
        return {}
    if isinstance(verdict, AskUser) and not context.attended:
        verdict = Stop(
            reason=StopReason.LOOP,
            detail=verdict.detail or verdict.question,
            detector=verdict.detector,
            episode=verdict.episode,
        )
    text = (
        verdict.question
        if isinstance(verdict, AskUser)
        else verdict.detail
        if isinstance(verdict, Stop)
        else verdict.text
    )
    context.emit("guard", {"detector": verdict.detector, "verdict": type(verdict).__name__.lower(), "text": text})
    if isinstance(verdict, Stop):
        return {"ended": Ended(reason=verdict.reason.value, detail=verdict.detail)}
    history = [*change.get("history", state["history"]), plain(said(verdict))]
    if isinstance(verdict, AskUser):
        return {"history": history, "ended": Ended(reason=StopReason.NEEDS_INPUT.value, detail=verdict.question)}
    messages = change.get("messages", [])
    if isinstance(verdict, Replan):
        messages = without_the_loop(state["messages"], messages, history, frozenset(verdict.ban))
    return {"messages": [*messages, *([nudge_message(text)] if text else [])], "history": history}


def nothing_came(why: str, text: str, state: RunState, spent: dict[str, Any], context: RunContext) -> Change:
    """Return what becomes of a reply that was neither a call nor an answer; nothing if no guard minds it."""
    history = [*state["history"], plain(nothing(text, why))]
    change = {"history": history}
    found = obey(judged(history, spent, context), state, change, context)
    return {**change, **found} if found else {}


def without_the_loop(
    old: Sequence[AnyMessage], new: Sequence[AnyMessage], history: Sequence[dict[str, Any]], ban: frozenset[str]
) -> list[AnyMessage | RemoveMessage]:
    """Return the change of messages that leaves of a loop its first round only, and nothing of what was said about it.

    What was done stays done: the world is not rolled back, only the conversation. A step that also made other calls
    stays whole.

    Args:
        old: the conversation so far.
        new: the results of the last step, which are not part of it yet.
        history: tells the class of each call.
        ban: the classes of the loop.
    """
    keys = {entry["id"]: entry["key"] for entry in history if "tool" in entry}
    start = max((n for n, message in enumerate(old) if isinstance(message, HumanMessage)), default=0)
    known: set[str] = set()
    gone: set[str] = set()  # ids of calls
    changes: list[AnyMessage | RemoveMessage] = []
    for message in old[start:]:
        if isinstance(message, AIMessage) and message.tool_calls:
            ids = {str(call["id"]) for call in message.tool_calls}
            made = {keys.get(one, "") for one in ids}
            if made <= ban and made <= known:
                gone |= ids
                changes.append(RemoveMessage(id=str(message.id)))
            known |= made
        elif (known & ban and meta(message).get("kind") == "nudge") or (
            isinstance(message, ToolMessage) and message.tool_call_id in gone
        ):
            changes.append(RemoveMessage(id=str(message.id)))
    kept = [message for message in new if not (isinstance(message, ToolMessage) and message.tool_call_id in gone)]
    return [*changes, *kept]
