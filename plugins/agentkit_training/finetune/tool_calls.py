"""Tool calls in rows: whatever form they are written in, one form for chat templates.

A call's arguments may be an object or JSON text, and so may `tools`; templates take objects. Keys that are null, as Parquet
gives them to messages that have no such key, are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["with_calls"]

CONVERSATIONS = ("messages", "prompt", "completion", "chosen", "rejected")


def with_calls(data: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return a row with its calls and tools as objects, and what is wrong with them; nothing if all is right."""
    row = dict(data)
    wrong = ""
    if row.get("tools") is not None:
        row["tools"], wrong = _tools(row["tools"])
    else:
        row.pop("tools", None)
    known = None if "tools" not in row or wrong else {_name(tool) for tool in row["tools"]}
    for column in CONVERSATIONS:
        if isinstance(row.get(column), list):
            told = [_message(one, known) for one in row[column]]
            row[column] = [message for message, _ in told]
            wrong = wrong or next((f"`{column}[{n}]` {why}" for n, (_, why) in enumerate(told) if why), "")
    return row, wrong


def _tools(value: Any) -> tuple[Any, str]:
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value, "`tools` is no JSON"
    if not isinstance(found, list) or not all(isinstance(tool, Mapping) and _name(tool) for tool in found):
        return value, "`tools` is no list of functions with names"
    return found, ""


def _name(tool: Mapping[str, Any]) -> str:
    function = tool.get("function", tool)
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else ""


def _message(message: Any, known: set[str] | None) -> tuple[Any, str]:
    if not isinstance(message, Mapping):
        return message, ""
    found = {key: value for key, value in message.items() if value is not None}
    calls = found.get("tool_calls")
    if not calls:
        found.pop("tool_calls", None)
        return found, ""
    if not isinstance(calls, list) or not all(isinstance(call, Mapping) for call in calls):
        return found, "has `tool_calls` that are no list of calls"
    told = [_call(call, known) for call in calls]
    found["tool_calls"] = [call for call, _ in told]
    found.setdefault("content", "")
    return found, next((why for _, why in told if why), "")


def _call(call: Mapping[str, Any], known: set[str] | None) -> tuple[Any, str]:
    function = call.get("function", call)
    name = _name(call)
    if not name:
        return call, "has a call of no tool"
    if known is not None and name not in known:
        return call, f"calls '{name}', which is not among its tools"
    arguments = function.get("arguments") or {}
    try:
        arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        return call, f"has a call of '{name}' whose arguments are no JSON"
    if not isinstance(arguments, Mapping):
        return call, f"has a call of '{name}' whose arguments are no object"
    whole = {**function, "arguments": dict(arguments)}
    return ({**call, "function": whole} if "function" in call else whole), ""
