"""The GGUF's own chat template renders what the dialect renders."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from agentkit.engine.dialects import plain
from agentkit.engine.dialects.plain_template import TEMPLATE
from agentkit.types import Step, ToolCall, ToolSpec

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="⟦⟧", exclude_categories=["Cs", "Cc", "Z"]), min_size=1)
KINDS = st.sampled_from([{"type": "string"}, {"type": "integer"}, {"type": "array"}, {"enum": ["low", "high"]}])


ENVIRONMENT = ImmutableSandboxedEnvironment()
ENVIRONMENT.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
COMPILED = ENVIRONMENT.from_string(TEMPLATE)


def rendered(messages: list[dict[str, Any]], tools: list[dict[str, Any]], *, ask: bool) -> str:
    return COMPILED.render(messages=messages, tools=tools, add_generation_prompt=ask)


def text(pieces: list[plain.Piece]) -> str:
    return "".join(piece.text for piece in pieces)


@given(
    system=st.none() | WORDS,
    tools=st.lists(
        st.tuples(st.from_regex(r"[a-z]+_[a-z]+", fullmatch=True), WORDS, st.dictionaries(WORDS, KINDS, max_size=3)),
        max_size=4,
        unique_by=lambda tool: tool[0],
    ),
    question=WORDS,
    answer=WORDS,
    asks=st.booleans(),
)
def test_template_equals_dialect(
    system: str | None, tools: list[tuple[str, str, dict[str, Any]]], question: str, answer: str, asks: bool
) -> None:
    specs = [
        ToolSpec(
            name=name, description=about, parameters={"type": "object", "properties": args, "required": list(args)[:1]}
        )
        for name, about, args in tools
    ]
    pieces = plain.begin() + (plain.system(system) if system is not None else []) + plain.tools(specs)
    messages: list[dict[str, Any]] = [] if system is None else [{"role": "system", "content": system}]
    messages.append({"role": "user", "content": question})
    pieces += plain.user(question)
    if specs:
        call = ToolCall(id="1", tool=specs[-1].name, arguments={"a": answer})
        function = {"name": call.tool, "arguments": {"a": answer}}
        messages.append({"role": "assistant", "content": "", "tool_calls": [{"id": "1", "function": function}]})
        messages.append({"role": "tool", "content": answer})
        tags = {spec.name: index for index, spec in enumerate(specs)}
        pieces += plain.ask_for_step() + plain.step(Step(kind="calls", calls=(call,)), tags)
        pieces += plain.result(1, answer, untrusted=True)
    messages.append({"role": "assistant", "content": answer})
    pieces += plain.ask_for_step() + plain.step(Step(kind="final", text=answer), {})
    functions = [
        {"type": "function", "function": {"name": s.name, "description": s.description, "parameters": s.parameters}}
        for s in specs
    ]
    expected = text(pieces) + ("<assistant>" if asks else "")
    assert rendered(messages, functions, ask=asks) == expected


@pytest.mark.parametrize(
    ("message", "pieces"),
    [
        ({"role": "assistant", "content": "Which?", "kind": "ask"}, plain.ask_for_step() + plain.step(Step(kind="ask", text="Which?"), {})),
        ({"role": "assistant", "content": "No.", "kind": "decline"}, plain.ask_for_step() + plain.step(Step(kind="decline", text="No."), {})),
        ({"role": "assistant", "content": "Yes.", "kind": "other"}, plain.ask_for_step() + plain.step(Step(kind="final", text="Yes."), {})),
        ({"role": "tool", "content": "30", "trust": "trusted"}, plain.result(1, "30")),
        ({"role": "tool", "content": "none", "status": "error"}, plain.result(1, "none", failed=True)),
        ({"role": "tool", "content": "Error: none", "status": "error"}, plain.result(1, "none", failed=True)),
        ({"role": "tool", "content": "Error: none"}, plain.result(1, "Error: none", untrusted=True)),
    ],
)  # fmt: skip
def test_what_the_openai_form_has_no_word_for(message: dict[str, Any], pieces: list[plain.Piece]) -> None:
    assert rendered([message], [], ask=False) == text(plain.begin() + pieces)
