"""How families of chat models write tool calls: fixed texts around each call's arguments.

A family may have several forms, since models of one house changed theirs; a form that a template does not write
is not used (`chat_detect.py`). The last two families are told of tools in words, so that any model can call them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from agentkit.engine.dialects.chat_arguments import JSON, TAGS, Arguments
from agentkit.types import ToolCall, ToolSpec

__all__ = ["FAMILIES", "Family", "call_id", "calls_text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One way of writing calls. `$name` stands for the tool's name, `$id` for the call's id."""

    name: str
    mark: str = ""  # what every template of this form has in it
    frames: tuple[tuple[str, str], ...] = (("", ""),)  # around all calls of a step; templates write the first
    head: str = '{"name": "$name", "arguments": '  # before a call's arguments
    tail: str = "}"  # after them
    between: str = ""
    reserved: str = r"\{"  # regular expression of what texts cannot begin with, unless calls begin with a control token
    max_calls: int = 16
    is_told: bool = False  # tools, calls and results are words in ordinary turns
    arguments: Arguments = JSON

    def head_of(self, tool: str, number: int) -> str:
        """Return what stands before the arguments of call `number` of the conversation, from 0."""
        return self.head.replace("$id", call_id(number)).replace("$name", tool)

    def tail_of(self, number: int) -> str:
        """Return what stands after them."""
        return self.tail.replace("$id", call_id(number))

    @property
    def has_ids(self) -> bool:
        """Whether calls are written with their ids."""
        return "$id" in self.head + self.tail


_PARAMETERS = '{"name": "$name", "parameters": '
_NEMO = Family(name="mistral", mark="[TOOL_CALLS]", frames=(("[TOOL_CALLS][", "]"),), between=", ")
_TOLD = Family(
    name="chatml",
    head=_PARAMETERS,
    frames=(("", ""), ("```json\n", "\n```")),
    reserved=r"(```(json)?\s*)?\{",
    max_calls=1,
    is_told=True,
)

FAMILIES: Mapping[str, Sequence[Family]] = {
    "llama3": (
        Family(
            name="llama3",
            mark="<|start_header_id|>",
            head=_PARAMETERS,
            frames=(("", ""), ("<|python_tag|>", "")),
            max_calls=1,
        ),
    ),
    "hermes": (
        Family(
            name="hermes",
            mark="<tool_call>",
            head='<tool_call>\n{"name": "$name", "arguments": ',
            tail="}\n</tool_call>",
            between="\n",
            reserved="<tool_call>",
        ),
        Family(
            name="hermes",  # Qwen3-Coder and later
            mark="<function=",
            head="<tool_call>\n<function=$name>\n",
            tail="</function>\n</tool_call>",
            between="\n",
            reserved="<tool_call>",
            arguments=TAGS,
        ),
    ),
    "mistral": (
        replace(_NEMO, tail=', "id": "$id"}'),
        replace(_NEMO, tail=', "id": "$id"}', frames=(("[TOOL_CALLS] [", "]"),)),  # before Nemo
        _NEMO,
        Family(  # Mistral Small 3.2
            name="mistral", mark="[CALL_ID]", head="[TOOL_CALLS]$name[CALL_ID]$id[ARGS]", tail="", max_calls=4
        ),
        Family(name="mistral", mark="[ARGS]", head="[TOOL_CALLS]$name[ARGS]", tail=""),  # and later
    ),
    "gemma": (replace(_TOLD, name="gemma", mark="<start_of_turn>"),),
    "chatml": (_TOLD,),
}


def call_id(number: int) -> str:
    """Return the id of call `number` of a conversation, from 0; some templates want nine letters or digits."""
    return f"call{number:05d}"


def calls_text(family: Family, calls: Sequence[ToolCall], specs: Mapping[str, ToolSpec], first: int = 0) -> str:
    """Return `calls` as the model writes them, numbered from `first`; nothing for none."""
    if not calls:
        return ""
    texts = [
        family.head_of(call.tool, number)
        + family.arguments.write(call.arguments, specs.get(call.tool))
        + family.tail_of(number)
        for number, call in enumerate(calls, first)
    ]
    before, after = family.frames[0]
    return before + family.between.join(texts) + after
