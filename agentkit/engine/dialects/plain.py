"""`plain/1`, the dialect that sprout speaks: the words of `docs/plain.md` as functions.

Renders each kind of turn as pieces; a piece is a control token or a text that can never become one.
The same functions write the training data, the prompts, and what the grammar forces.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from agentkit.errors import CannotEnforce
from agentkit.types import JsonSchema, Step, ToolCall, ToolSpec

NAME = "plain/1"
MAX_TOOLS = 32
MAX_REFERENCES = 16
DESCRIPTION_WORDS = 16

CONTROL_TOKENS: tuple[str, ...] = (
    "<pad>", "<bos>", "<end>", "<system>", "<tools>", "<user>", "<assistant>", "<think>",
    "<plan>", "<call>", "<final>", "<ask>", "<decline>", "<result>", "<error>", "<untrusted>",
    "<nudge>", "<image>", "<image_end>", "<note>",
    *(f"<x{n}>" for n in range(12)),
    *(f"<t{n}>" for n in range(MAX_TOOLS)),
    *(f"<r{n}>" for n in range(1, MAX_REFERENCES + 1)),
)  # fmt: skip
CONTROL_IDS: dict[str, int] = {token: n for n, token in enumerate(CONTROL_TOKENS)}

_TYPES = {"integer": "integer", "number": "number", "boolean": "boolean", "array": "list", "object": "object"}


class Piece(NamedTuple):
    """A control token, or text."""

    text: str
    control: bool


def control(name: str) -> Piece:
    """Return the control token `<name>`."""
    return Piece(f"<{name}>", True)


def words(text: str) -> Piece:
    """Return `text` as contents."""
    return Piece(text, False)


def tag(index: int) -> Piece:
    """Return the tag of tool number `index`, from 0."""
    if not 0 <= index < MAX_TOOLS:
        raise CannotEnforce(f"plain/1 has tags for {MAX_TOOLS} tools, asked for number {index}; shorten the list")
    return control(f"t{index}")


def reference(number: int) -> Piece:
    """Return the reference to result `number`, from 1; past 16 it starts again at 1."""
    return control(f"r{(number - 1) % MAX_REFERENCES + 1}")


def begin() -> list[Piece]:
    """Return what a conversation opens with."""
    return [control("bos")]


def system(text: str) -> list[Piece]:
    """Return the instructions."""
    return [control("system"), words(text), control("end")]


def tools(specs: Sequence[ToolSpec]) -> list[Piece]:
    """Return the block of tool signatures; nothing when there are none."""
    if not specs:
        return []
    block = [control("tools")]
    for index, spec in enumerate(specs):
        block += [tag(index), words(signature(spec))]
    return [*block, control("end")]


def user(text: str) -> list[Piece]:
    """Return a person's turn."""
    return [control("user"), words(text), control("end")]


def image() -> list[Piece]:
    """Return what stands before and after a picture's latents, in a person's turn."""
    return [control("image"), control("image_end")]


def nudge(text: str) -> list[Piece]:
    """Return the framework's note to the model."""
    return [control("nudge"), words(text), control("end")]


def note(text: str) -> list[Piece]:
    """Return the summary of what was compacted away."""
    return [control("note"), words(text), control("end")]


def result(number: int, text: str, *, failed: bool = False, untrusted: bool = False) -> list[Piece]:
    """Return tool result `number`, counted from 1 through the conversation."""
    kind = "error" if failed else "untrusted" if untrusted else "result"
    return [control(kind), reference(number), words(text), control("end")]


def ask_for_step() -> list[Piece]:
    """Return what makes the model begin a step."""
    return [control("assistant")]


def step(done: Step, tags: Mapping[str, int]) -> list[Piece]:
    """Return a step as the model writes it, after `<assistant>`; `tags` maps tool names to numbers.

    In the texts of a final answer, a question and a decline, `⟦rN⟧` is written as the reference token.
    """
    pieces = []
    if done.thinking:
        pieces += [control("think"), words(done.thinking)]
    if done.plan:
        pieces += [control("plan"), words(done.plan)]
    if done.kind == "calls":
        for call in done.calls:
            pieces += [control("call"), tag(tags[call.tool]), words(arguments_json(call.arguments))]
    else:
        pieces += [control(done.kind), *with_references(done.text)]
    return [*pieces, control("end")]


def with_references(text: str) -> Iterator[Piece]:
    """Yield the pieces of a text in which `⟦r3⟧` stands for the token `<r3>`."""
    head, *rest = text.split("⟦r")
    if head:
        yield words(head)
    for chunk in rest:
        number, closed, tail = chunk.partition("⟧")
        if not closed or not number.isdigit():
            yield words("⟦r" + chunk)
            continue
        yield reference(int(number))
        if tail:
            yield words(tail)


def arguments_json(arguments: Mapping[str, Any]) -> str:
    """Return the one JSON text that stands for these arguments."""
    return json.dumps(dict(arguments), ensure_ascii=False)


def signature(spec: ToolSpec) -> str:
    """Return `name(arguments) description`, the only thing the model knows about a tool."""
    required = set(spec.parameters.get("required", ()))
    properties: Mapping[str, JsonSchema] = spec.parameters.get("properties", {})
    arguments = ", ".join(
        f"{name}{'' if name in required else '?'}{_type_suffix(schema)}" for name, schema in properties.items()
    )
    return f"{spec.name}({arguments}) {short_description(spec.description)}".rstrip()


def short_description(text: str) -> str:
    """Return the first sentence in lower case, without full stop, at most 16 words."""
    first = " ".join(text.split()).split(". ")[0].rstrip(".")
    return " ".join(first.lower().split(" ")[:DESCRIPTION_WORDS])


def _type_suffix(schema: JsonSchema) -> str:
    if "enum" in schema:
        return ": " + "|".join(str(value) for value in schema["enum"])
    kind = schema.get("type", "string")
    if isinstance(kind, str):
        return f": {_TYPES[kind]}" if kind in _TYPES else ""
    return ""


def call_of(index: int, tool: str, arguments: Mapping[str, Any]) -> ToolCall:
    """Return call number `index` of a step, with an id that is stable within the step."""
    return ToolCall(id=f"call_{index}", tool=tool, arguments=arguments)
