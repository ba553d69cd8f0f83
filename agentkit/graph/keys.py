"""What makes calls, steps and conversations equal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from langchain_core.messages import AIMessage, BaseMessage

from agentkit.types import Step


def call_key(tool: str, arguments: object) -> str:
    """Return the key that equal calls share: the tool's name and its arguments in canonical order."""
    return f"{tool} {json.dumps(arguments, sort_keys=True, ensure_ascii=False, default=str)}"


def step_key(step: Step) -> str:
    """Return the key that equal steps share."""
    if step.kind != "calls":
        return f"{step.kind} {step.text}"
    return "; ".join(call_key(call.tool, dict(call.arguments)) for call in step.calls)


def conversation_key(messages: Iterable[BaseMessage], *, without: Iterable[str] = ()) -> bytes:
    """Return a digest of what was said, called and given back, whoever numbered it; texts in `without` do not count."""
    digest, paths = hashlib.blake2b(digest_size=16), list(without)
    for message in messages:
        calls = message.tool_calls if isinstance(message, AIMessage) else ()
        content = str(message.content)
        for text in paths:
            content = content.replace(text, "")
        said = (message.type, content, [call_key(call["name"], call["args"]) for call in calls])
        digest.update(repr(said).encode("utf-8", "surrogatepass"))
    return digest.digest()
