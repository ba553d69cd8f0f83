"""Results quoted by reference: `<r1>` in an answer for the whole text of result 1, as `plain/1` has it.

A small model then need not copy digits. Only models that speak `plain/1` can read such rows: to them `<r1>` is one token.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agentkit.engine.dialects.plain import reference

__all__ = ["spelled_out", "with_references"]

Row = Mapping[str, Any]
_MARK = re.compile(r"<r(\d+)>")


def with_references(row: Row) -> dict[str, Any]:
    """Return the row with each result that an answer gives whole, once, written as its reference."""
    return _rewritten(row, _referred)


def spelled_out(row: Row) -> dict[str, Any]:
    """Return the row with each reference written as the text that it stands for: the inverse."""
    return _rewritten(row, _spelled)


def _rewritten(row: Row, write: Callable[[str, Sequence[str]], str]) -> dict[str, Any]:
    results: list[str] = []
    messages = []
    for message in row["messages"]:
        if message["role"] == "tool":
            failed = message.get("status") == "error"
            results.append(message["content"].removeprefix("Error: ") if failed else message["content"])
        answers = message["role"] == "assistant" and not message.get("tool_calls") and "kind" not in message
        messages.append({**message, "content": write(message["content"], results)} if answers else message)
    return {**row, "messages": messages}


def _referred(text: str, results: Sequence[str]) -> str:
    latest = {reference(number).text: result for number, result in enumerate(results, 1)}
    for mark, result in sorted(latest.items(), key=lambda item: -len(item[1])):
        whole = re.compile(rf"(?<![\w.<-]){re.escape(result)}(?!\w|\.\d)")
        if result and "<r" not in result and len(whole.findall(text)) == 1:
            text = whole.sub(lambda _, mark=mark: mark, text)  # type: ignore[misc]
    return text


def _spelled(text: str, results: Sequence[str]) -> str:
    latest = {reference(number).text: result for number, result in enumerate(results, 1)}
    return _MARK.sub(lambda found: latest.get(found[0], found[0]), text)
