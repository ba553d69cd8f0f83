"""A conversation as the turns that chat templates take.

Each family gets what its templates have a place for: those that are told of tools in words get calls and results
as ordinary turns; where two turns of one side are refused they become one; instructions without a place of their
own open the first user's turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from agentkit.engine.dialects import text_of
from agentkit.engine.dialects.chat_families import Family, call_id, calls_text
from agentkit.engine.dialects.chat_template import ChatTemplate, as_json
from agentkit.errors import UnsupportedPart
from agentkit.messages import meta, step_of
from agentkit.types import ToolSpec

__all__ = ["function_of", "turns_of"]

Turn = dict[str, Any]

# As Google's documentation tells Gemma of functions.
_TOLD = """You have access to functions. If you decide to invoke any of the functions, you MUST put it in the format of
{{"name": function name, "parameters": dictionary of argument name and its value}}
You SHOULD NOT include any other text in the response if you call a function.
{}"""


def turns_of(
    messages: Sequence[BaseMessage], tools: Sequence[ToolSpec], family: Family, template: ChatTemplate
) -> list[Turn]:
    """Return the turns of `messages`.

    Raises:
        UnsupportedPart: one of them has no place in chats.
    """
    specs = {spec.name: spec for spec in tools}
    turns: list[Turn] = []
    for turn in _turns(messages, specs, family):
        if turns and _is_joined(turns[-1], turn, template):
            turns[-1]["content"] += f"\n\n{turn['content']}"
        else:
            turns.append(turn)
    first = []
    if turns and turns[0]["role"] == "system" and not template.takes_system:
        first.append(turns.pop(0)["content"])
    if family.is_told and tools:
        first.append(_TOLD.format(as_json([function_of(spec)["function"] for spec in tools])))
    return _with_first(turns, first) if first else turns


def function_of(spec: ToolSpec) -> Turn:
    """Return a tool as templates take it."""
    function = {"name": spec.name, "description": spec.description, "parameters": dict(spec.parameters)}
    return {"type": "function", "function": function}


def _with_first(turns: Sequence[Turn], words: Sequence[str]) -> list[Turn]:
    """Return `turns` with `words` where the first user's turn begins."""
    place = next((n for n, turn in enumerate(turns) if turn["role"] == "user"), None)
    if place is None:
        leading = sum(turn["role"] == "system" for turn in turns[:1])
        return [*turns[:leading], {"role": "user", "content": "\n\n".join(words)}, *turns[leading:]]
    content = "\n\n".join([*words, turns[place]["content"]])
    return [*turns[:place], {"role": "user", "content": content}, *turns[place + 1 :]]


def _is_joined(before: Turn, turn: Turn, template: ChatTemplate) -> bool:
    sides: tuple[str, str] = (before["role"], turn["role"])
    if sides == ("system", "system"):
        return True
    if "tool_calls" in before or "tool_calls" in turn or template.takes_neighbours:
        return False
    return sides in {("user", "user"), ("assistant", "assistant"), ("tool", "user")}


def _turns(messages: Sequence[BaseMessage], specs: Mapping[str, ToolSpec], family: Family) -> Iterator[Turn]:
    ids: dict[str, str] = {}  # of the calls without a result yet
    number, is_leading = 0, True
    for message in _one_call_a_turn(messages, family):
        is_leading = is_leading and isinstance(message, SystemMessage) and not meta(message).get("kind")
        match message:
            case SystemMessage() if is_leading:
                yield {"role": "system", "content": text_of(message)}
            case SystemMessage():  # nudges and notes: templates have no role for them
                yield {"role": "user", "content": f"[Note from the framework] {text_of(message)}"}
            case HumanMessage():
                yield {"role": "user", "content": text_of(message)}
            case ToolMessage():
                yield _result(message, ids, family)
            case AIMessage():
                given = [call_id(number + n) for n in range(len(message.tool_calls))]
                ids |= {str(call["id"]): one for call, one in zip(message.tool_calls, given, strict=True)}
                yield _step(message, given, specs, family, number)
                number += len(given)
            case _:
                raise UnsupportedPart(
                    f"{family.name} has no place for a message of type '{message.type}'; leave it out"
                )


def _step(message: AIMessage, ids: Sequence[str], specs: Mapping[str, ToolSpec], family: Family, number: int) -> Turn:
    text = text_of(message)
    if not ids:
        return {"role": "assistant", "content": text}
    if family.is_told:
        written = calls_text(family, step_of(message).calls, specs, number)
        return {"role": "assistant", "content": f"{text}\n{written}" if text else written}
    calls = []
    for call, given in zip(message.tool_calls, ids, strict=True):
        shown = family.arguments.shown(call["args"], specs.get(call["name"]))
        calls.append({"type": "function", "id": given, "function": {"name": call["name"], "arguments": shown}})
    return {"role": "assistant", "content": text, "tool_calls": calls}


def _result(message: ToolMessage, ids: Mapping[str, str], family: Family) -> Turn:
    text = f"Error: {text_of(message)}" if message.status == "error" else text_of(message)
    if family.is_told:
        return {"role": "user", "content": f"[Result of {message.name or 'a tool'}] {text}"}
    given = ids.get(message.tool_call_id, call_id(0))
    return {"role": "tool", "name": message.name or "", "tool_call_id": given, "content": text}


def _one_call_a_turn(messages: Sequence[BaseMessage], family: Family) -> Iterator[BaseMessage]:
    """Yield `messages`; where the family takes one call a turn, several become turns of their own."""
    waiting: dict[str, AIMessage] = {}  # calls whose results are still to come, by id
    for message in messages:
        if isinstance(message, ToolMessage):
            if message.tool_call_id in waiting:
                yield waiting.pop(message.tool_call_id)
            yield message
            continue
        yield from waiting.values()
        waiting = {}
        if isinstance(message, AIMessage) and len(message.tool_calls) > 1 and family.max_calls == 1:
            for n, call in enumerate(message.tool_calls):
                alone = {"tool_calls": [call], "content": "" if n else message.content}
                waiting[str(call["id"])] = message.model_copy(update=alone)
        else:
            yield message
    yield from waiting.values()
