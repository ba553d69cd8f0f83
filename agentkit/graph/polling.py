"""Waiting for what is not ready yet, without asking the model.

A tool that polls and says `Pending` is called again by the framework after 1, 2, 5, 10 and then every 30 seconds
(`run.poll_s`), until it says something else or the run's time is nearly over; so is one that only looks and says the same as
the last time. Only what looks, or is the same twice as once, is called again. It is handed what it said before. Where the
run is cancelled meanwhile, the job that it waits for is asked to write a checkpoint and end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

from agentkit.errors import Cancelled
from agentkit.graph.context import RunContext
from agentkit.graph.history import History
from agentkit.graph.state import RunState
from agentkit.guards import call_class, outcome_class
from agentkit.guards.window import recent
from agentkit.protocols import Tool, ToolContext
from agentkit.types import Effect, Outcome, Pending, ToolCall

_TICK_S = 0.05


def polled(
    tool: Tool,
    call: ToolCall,
    once: Callable[[ToolContext], Outcome],
    tool_context: ToolContext,
    state: RunState,
    context: RunContext,
) -> Outcome:
    """Make a call, and where it polls, make it again until it has something to say.

    Args:
        tool: the tool.
        call: the call.
        once: makes it in a context, which says what it said before.
        tool_context: its deadline and cancel flag bound the waiting.
        state: the run's, for what the same call said before.
        context: the run's.

    Raises:
        Cancelled: while waiting.
    """
    outcome = once(tool_context)
    rules = tool.spec.rules
    looks = rules.effect in {Effect.PURE, Effect.READ}
    if not rules.polls or not (looks or rules.idempotent):
        return outcome
    watches = looks and not rules.cost  # a job that has ended says the same for ever
    before = _last(tool, call, state) if watches else None
    told = ""
    try:
        for pause in chain(context.settings.run.poll_s, repeat(context.settings.run.poll_s[-1])):
            if not _has_nothing_to_say(outcome, before):
                break
            pending = outcome if isinstance(outcome, Pending) else None
            wait = pending.retry_after_s if pending is not None and pending.retry_after_s is not None else pause
            if tool_context.deadline is not None and time.monotonic() + wait >= tool_context.deadline:
                break
            if (news := _news(outcome, wait)) != told:
                context.emit("tool_progress", {"tool": tool.name, "text": news})
            told = news
            _sleep(wait, tool.name, tool_context)
            before = outcome_class(outcome) if watches else None
            outcome = once(replace(tool_context, waiting=pending))
    except Cancelled:
        if isinstance(outcome, Pending) and outcome.kind == "job":
            from agentkit import jobs  # noqa: PLC0415  few runs wait for one

            jobs.cancel(Path(outcome.handle))
        raise
    return outcome


def _news(outcome: Outcome, wait: float) -> str:
    """Return what to tell whoever listens."""
    if isinstance(outcome, Pending) and outcome.text:
        return outcome.text
    return f"nothing new yet; asked again in {wait:g} s"


def _has_nothing_to_say(outcome: Outcome, before: str | None) -> bool:
    return (isinstance(outcome, Pending) and outcome.kind == "job") or outcome_class(outcome) == before


def _last(tool: Tool, call: ToolCall, state: RunState) -> str | None:
    """Return the class of what the same call said last in this run."""
    key = call_class(call, tool.spec)
    items = reversed(recent(History(state["history"])))
    return next((item.outcome_key for item in items if item.call is not None and item.key == key), None)


def _sleep(seconds: float, name: str, context: ToolContext) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if context.cancel.is_set():
            raise Cancelled(f"cancelled while waiting for '{name}'")
        time.sleep(min(left, _TICK_S))
