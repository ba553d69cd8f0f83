"""What becomes of a step's results: capped, numbered, and written down."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AnyMessage

from agentkit.errors import StoreError
from agentkit.graph import subruns
from agentkit.graph.context import RunContext
from agentkit.graph.history import History, plain
from agentkit.graph.state import CallState, Result, RunState
from agentkit.guards import recorded
from agentkit.messages import result_message
from agentkit.tools.outcomes import from_dict
from agentkit.tools.output import note_of, was_cut
from agentkit.tools.paging import NAME as READ_RESULT
from agentkit.types import Failed, Outcome, ToolCall

Change = dict[str, Any]


def record(state: RunState, context: RunContext) -> Change:
    """Return the messages, results, history and steps with this step's outcomes added."""
    messages: list[AnyMessage] = []
    results = list(state.get("results", []))
    history, steps = list(state["history"]), list(state["steps"])
    for item in state["calls"]:
        outcome = from_dict(item["outcome"] or {"outcome": "failed", "text": "it was not run"})
        call = ToolCall(id=item["id"], tool=item["tool"], arguments=item["arguments"])
        tool = context.tools.get(call.tool)
        number = len(results) + 1
        result = cap(outcome.text, number, context)
        results.append(result)
        shown = outcome if result["path"] is None else type(outcome)(**{**_fields(outcome), "text": result["text"]})
        messages.append(result_message(call, shown, number=number, spec=subruns.spec_of(tool, outcome)))
        failed = isinstance(outcome, Failed)
        steps.append(_step(item, outcome))
        seen = recorded(History(history), call, outcome, tool.spec if tool else None, seconds=item["seconds"])
        history.append(plain(seen))
        context.emit(
            "tool_result",
            {
                "id": call.id,
                "tool": call.tool,
                "arguments": item["arguments"],
                "ok": not failed,
                "result": result["text"],
                "seconds": item["seconds"],
            },
        )
    return {"messages": messages, "results": results, "history": history, "steps": steps}


def cap(text: str, number: int, context: RunContext) -> Result:
    """Return a result for the model: whole, or its head and tail with the whole text in a file."""
    limit = min(context.settings.run.result_chars, context.engine.capabilities.context)
    if len(text) <= limit:
        return Result(text=text, path=None)
    path = context.files / f"result-{number}.txt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise StoreError(f"{path}: a long result cannot be kept ({error.strerror}); make room, or mend it") from error
    more = f"[{READ_RESULT} number={number} offset={limit * 2 // 3} reads on]\n" if READ_RESULT in context.tools else ""
    head, tail = text[: limit * 2 // 3], text[-(limit // 4) :]
    kept = "what was kept of it is" if was_cut(text) else "whole text"  # a tool's own limit came before ours
    return Result(text=f"{head}{note_of(text)}[{kept} in {path}]\n{more}{tail}", path=str(path))


def _step(item: CallState, outcome: Outcome) -> dict[str, Any]:
    return {
        "call_id": item["id"],
        "tool": item["tool"],
        "arguments": item["arguments"],
        "ok": not isinstance(outcome, Failed),
        "result": outcome.text,
        "seconds": round(item["seconds"], 4),
    }


def _fields(outcome: Outcome) -> dict[str, Any]:
    return {name: getattr(outcome, name) for name in type(outcome).__dataclass_fields__}


__all__ = ["cap", "record"]
