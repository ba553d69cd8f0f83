"""One line for each thing that happens in a run: pure text, no terminal.

Results are folded to one line with the number of lines hidden; nothing a tool said reaches a terminal
with control characters in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agentkit.cli.output import clean
from agentkit.events import Event

MAX_ARGUMENT = 60
MAX_RESULT = 100


def call_text(tool: str, arguments: Mapping[str, Any], *, limit: int = MAX_ARGUMENT) -> str:
    """Return a call as one reads it: `calculator(expression="15% of 200")`."""
    shown = ", ".join(f"{name}={_argument(value, limit)}" for name, value in arguments.items())
    return clean(f"{tool}({shown})")


def fold(text: str, *, limit: int = MAX_RESULT) -> str:
    """Return the first line of `text`, cut, with how much more there is."""
    lines = clean(text).strip().splitlines() or [""]
    first = lines[0] if len(lines[0]) <= limit else lines[0][: limit - 1] + "…"
    more = len(lines) - 1
    return f"{first} (+{more} line{'s' if more > 1 else ''})" if more else first


def result_text(data: Mapping[str, Any], *, limit: int = MAX_RESULT) -> str:
    """Return a finished call as one line: the call, how long it took, and its folded result."""
    ok = bool(data.get("ok", True))
    head = call_text(str(data.get("tool", "?")), data.get("arguments") or {})
    arrow = "→" if ok else "✗"
    return f"{'●' if ok else '○'} {head}  {float(data.get('seconds') or 0.0):.2f}s  {arrow} {fold(str(data.get('result', '')), limit=limit)}"


def note_text(event: Event) -> str | None:
    """Return the line for an event that is neither text nor a call; None if it needs none."""
    data = event.data
    match event.type:
        case "guard":
            return (
                f"guard {data.get('detector', '')}: {data.get('text') or data.get('detail') or data.get('verdict', '')}"
            )
        case "compaction":
            return f"context compacted: {_figures(data)}"
        case "approval_required":
            return f"waits for approval: {call_text(str(data.get('tool', '?')), data.get('arguments') or {})}"
        case "job":
            return f"job {_figures(data)}"
        case "tool_progress":
            return f"  {fold(str(data.get('text') or data.get('message') or _figures(data)))}"
        case _:
            return None


def visible(text: str) -> str:
    """Return `text` with what a terminal obeys or does not show (directions, joiners, tags) written as escapes."""
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def _argument(value: Any, limit: int) -> str:
    text = visible(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _figures(data: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in data.items() if isinstance(value, (str, int, float)))
