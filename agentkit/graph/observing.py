"""What becomes of a step's results: capped, numbered, written down, and judged by the guards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AnyMessage

from agentkit.errors import StoreError
from agentkit.graph import effects
from agentkit.graph.context import RunContext
from agentkit.graph.state import CallState, Ended, Result, RunState
from agentkit.guards import output_digest
from agentkit.messages import nudge_message, result_message
from agentkit.protocols import AskUser, Go, Guard, HistoryItem, Nudge, Replan, Spent, Stop, Verdict
from agentkit.tools.output import note_of, was_cut
from agentkit.types import Effect, Failed, Outcome, StopReason, ToolCall

Change = dict[str, Any]


def record(state: RunState, context: RunContext) -> Change:
    """Return the messages, results, history and steps with this step's outcomes added."""
    messages: list[AnyMessage] = []
    results = list(state.get("results", []))
    history, steps = list(state["history"]), list(state["steps"])
    for item in state["calls"]:
        outcome = effects.from_dict(item["outcome"] or {"outcome": "failed", "text": "it was not run"})
        call = ToolCall(id=item["id"], tool=item["tool"], arguments=item["arguments"])
        tool = context.tools.get(call.tool)
        number = len(results) + 1
        result = cap(outcome.text, number, context)
        results.append(result)
        shown = outcome if result["path"] is None else type(outcome)(**{**_fields(outcome), "text": result["text"]})
        messages.append(result_message(call, shown, number=number, spec=tool.spec if tool else None))
        failed = isinstance(outcome, Failed)
        steps.append(_step(item, outcome))
        history.append(_history(item, outcome, context))
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
    head, tail = text[: limit * 2 // 3], text[-(limit // 4) :]
    kept = "what was kept of it is" if was_cut(text) else "whole text"  # a tool's own limit came before ours
    return Result(text=f"{head}{note_of(text)}[{kept} in {path}]\n{tail}", path=str(path))


def strongest(guards: Sequence[Guard], history: Sequence[dict[str, Any]], spent: Spent) -> Verdict:
    """Return the gravest verdict of all guards."""
    items = [read_item(item) for item in history]
    order = (Go, Nudge, Replan, AskUser, Stop)
    verdicts = [guard.check(items, spent) for guard in guards]
    return max(verdicts, key=lambda verdict: order.index(type(verdict)), default=Go())


def obey(verdict: Verdict, state: RunState, change: Change, context: RunContext) -> Change:
    """Return the change that carries a verdict out."""
    if isinstance(verdict, Go):
        return {}
    text = verdict.question if isinstance(verdict, AskUser) else getattr(verdict, "text", "") or ""
    if isinstance(verdict, Stop):
        text = verdict.detail
    context.emit("guard", {"detector": verdict.detector, "verdict": type(verdict).__name__.lower(), "text": text})
    if isinstance(verdict, Stop):
        return {"ended": Ended(reason=verdict.reason.value, detail=verdict.detail)}
    if isinstance(verdict, AskUser):
        return {"ended": Ended(reason=StopReason.NEEDS_INPUT.value, detail=verdict.question)}
    nudged = {
        "messages": [*change["messages"], *([nudge_message(text)] if text else [])],
        "history": [*change["history"], {"kind": "nudge", "text": text}],
    }
    if isinstance(verdict, Replan):
        nudged["banned"] = [*state["banned"], *verdict.ban]
    return nudged


def read_item(item: dict[str, Any]) -> HistoryItem:
    """Return one entry of the state's history as guards see it."""
    if item["kind"] != "call":
        return HistoryItem(kind=item["kind"], text=item.get("text", ""))
    return HistoryItem(
        kind="call",
        call=ToolCall(id=item["id"], tool=item["tool"], arguments=item["arguments"]),
        outcome=effects.from_dict(item["outcome"]),
        effect=Effect(item["effect"]),
        polls=item["polls"],
        failure_is_data=item["failure_is_data"],
        output_digest=item["digest"],
        seconds=item["seconds"],
    )


def _history(item: CallState, outcome: Outcome, context: RunContext) -> dict[str, Any]:
    tool = context.tools.get(item["tool"])
    volatile = set(tool.spec.rules.volatile) if tool else set()
    short = type(outcome)(**{**_fields(outcome), "text": outcome.text[:400]})
    return {
        "kind": "call",
        "id": item["id"],
        "tool": item["tool"],
        "arguments": {k: v for k, v in item["arguments"].items() if k not in volatile},
        "outcome": effects.to_dict(short),
        "effect": (tool.spec.rules.effect if tool else Effect.IRREVERSIBLE).value,
        "polls": bool(tool and tool.spec.rules.polls),
        "failure_is_data": bool(tool and tool.spec.rules.failure_is_data),
        "digest": output_digest(outcome.text),
        "seconds": item["seconds"],
    }


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


__all__ = ["cap", "obey", "read_item", "record", "strongest"]
