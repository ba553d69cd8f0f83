"""Messages and tools as OpenAI-compatible servers and LangChain's chat models take them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, SystemMessage, ToolMessage

from agentkit.engine.checks import text_of
from agentkit.types import ToolSpec


def tools_to_wire(specs: Sequence[ToolSpec]) -> list[dict[str, Any]]:
    """Return the tools as OpenAI's `tools`."""
    return [
        {
            "type": "function",
            "function": {"name": spec.name, "description": spec.description, "parameters": dict(spec.parameters)},
        }
        for spec in specs
    ]


def messages_to_wire(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Return the messages as OpenAI's `messages`.

    Instructions come first, in one message; later ones (nudges, notes) become a user's turn, because
    many chat templates refuse instructions in the middle. Ids of calls are made unique.
    """
    first = next((n for n, message in enumerate(messages) if not isinstance(message, SystemMessage)), len(messages))
    system = "\n\n".join(text_of(message) for message in messages[:first])
    head = [{"role": "system", "content": system}] if system else []
    return [*head, *_turns(messages[first:])]


def _turns(messages: Sequence[BaseMessage]) -> Iterator[dict[str, Any]]:
    names: dict[str, str] = {}  # a call's id -> its latest id on the wire
    taken: set[str] = set()
    for message in messages:
        text = text_of(message)
        if isinstance(message, AIMessage):
            yield _assistant(message, text, names, taken)
        elif isinstance(message, ToolMessage):
            call_id = names.get(message.tool_call_id, message.tool_call_id)
            yield {"role": "tool", "tool_call_id": call_id, "content": text}
        elif isinstance(message, SystemMessage):
            yield {"role": "user", "content": f"(Note, not from the user) {text}"}
        else:
            yield {"role": "user", "content": text}


def _assistant(message: AIMessage, text: str, names: dict[str, str], taken: set[str]) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": "assistant", "content": text}
    calls = []
    for call in message.tool_calls:
        call_id = call["id"] or "call"
        unique = call_id if call_id not in taken else f"{call_id}_{len(taken)}"
        names[call_id] = unique
        taken.add(unique)
        function = {"name": call["name"], "arguments": json.dumps(call["args"], ensure_ascii=False)}
        calls.append({"id": unique, "type": "function", "function": function})
    return {**turn, "tool_calls": calls} if calls else turn


def estimate(messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]) -> int:
    """Return roughly how many tokens these come to: four characters each, and four for each message."""
    size = sum(len(str(message.get("content", ""))) for message in messages)
    size += sum(len(json.dumps(message["tool_calls"])) for message in messages if "tool_calls" in message)
    size += len(json.dumps(list(tools))) if tools else 0
    return (size + 3) // 4 + 4 * len(messages)
