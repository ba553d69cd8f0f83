"""Thinking before a step: bounded, closed as the template closes it, and kept apart from what is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llguidance import LLMatcher

from agentkit.engine.dialects import detect
from agentkit.engine.llama import LlamaEngine, Model
from agentkit.errors import CannotEnforce
from agentkit.messages import user_message
from agentkit.protocols import Request, TextDelta, ThinkingDelta
from agentkit.types import Step, Task, ToolSpec
from tests.unit.engine.conftest import CHATML, CODER_TEMPLATE, HERMES_TEMPLATE

SAY = ToolSpec(
    name="say",
    description="Say it.",
    parameters={"type": "object", "properties": {"text": {"enum": ["hi", "ho"]}}, "required": ["text"]},
)
HEADER = "{{ '<|im_start|>assistant\n' }}"
CALL = {
    "begun": "<tool_call>\n<function=say>\n<parameter=text>\nhi\n</parameter>\n</function>\n</tool_call>",
    "optional": '<tool_call>\n{"name": "say", "arguments": {"text": "hi"}}\n</tool_call>',
    "control": '<tool_call>\n{"name": "say", "arguments": {"text": "hi"}}\n</tool_call>',
}
AROUND = {
    "begun": ("", "\n</think>\n\n"),
    "optional": ("<think>\n", "\n</think>\n\n"),
    "control": ("<|START_THINKING|>", "<|END_THINKING|>"),
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory, write_tiny: Callable[..., Path]) -> dict[str, Path]:
    """Models whose prompt begins the thinking, that begin it themselves, and that mark it by control tokens."""
    folder = tmp_path_factory.mktemp("thinkers")
    skip = "{%- if not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{%- endif %}"
    marks = "{%- if not enable_thinking %}{{ '<|START_THINKING|><|END_THINKING|>' }}{%- endif %}"
    coder, marked = (*CHATML, "<tool_call>", "</tool_call>"), (*CHATML, "<|START_THINKING|>", "<|END_THINKING|>")
    optional = HERMES_TEMPLATE.replace(HEADER, HEADER + skip)
    control = HERMES_TEMPLATE.replace(HEADER, HEADER + marks)
    return {
        "begun": write_tiny(folder / "b.gguf", controls=coder, bos=0, eos=2, template=CODER_TEMPLATE),
        "optional": write_tiny(folder / "o.gguf", controls=CHATML, bos=0, eos=2, template=optional),
        "control": write_tiny(folder / "c.gguf", controls=marked, bos=0, eos=2, template=control),
    }


@pytest.fixture(params=list(CALL))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model(paths: dict[str, Path], kind: str) -> Model:
    return Model(paths[kind])


def asked(thinking: int, **more: Any) -> Request:
    return Request(messages=[user_message(Task.of("x"))], tools=[SAY], thinking=thinking, **more)


def taken(model: Model, request: Request, text: str) -> int:
    """Return how many characters of `text` the grammar takes."""
    matcher = LLMatcher(model.constrainer, LLMatcher.grammar_from_lark(detect(model).grammar(request)), log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    tokens = model.tokenise(text, special=True)
    for n, token in enumerate(tokens):
        if not matcher.validate_tokens([token]):
            return len(model.bytes_of(tokens[:n]).decode())
        matcher.consume_tokens([token])
    return len(text) if matcher.is_accepting() else -1


def read(model: Model, request: Request, text: str) -> tuple[Step, str]:
    """Return the step that is read, and the thinking as it was shown."""
    reader, shown = detect(model).reader(request), ""
    for token in model.tokenise(text, special=True):
        shown += "".join(delta.text for delta in reader.feed(token) if isinstance(delta, ThinkingDelta))
    return reader.finish(whole=True), shown


def test_it_comes_first_and_is_bounded(model: Model, kind: str) -> None:
    begin, close = AROUND[kind]
    request = asked(5)
    for rest in ("Hello.", CALL[kind]):
        whole = f"{begin}let me see{close}{rest}"
        assert taken(model, request, whole) == len(whole)
    assert taken(model, request, f"{begin}{'x' * 30}{close}Hello.") in (len(begin) + 20, len(begin) + 21)


def test_it_is_read_apart(model: Model, kind: str) -> None:
    begin, close = AROUND[kind]
    for thought in ("let me see", "a < b, </thin air", ""):
        step, shown = read(model, asked(9), f"{begin}{thought}{close}Hello.")
        assert (step.kind, step.text, step.thinking) == ("final", "Hello.", thought)
        assert shown.strip() == thought
        step, _ = read(model, asked(9), f"{begin}{thought}{close}{CALL[kind]}")
        assert [dict(call.arguments) for call in step.calls] == [{"text": "hi"}]
        assert (step.text, step.thinking) == ("", thought)


def test_the_prompt_leaves_it_open_only_where_it_is_asked_for(model: Model, kind: str) -> None:
    def prompt(thinking: int) -> str:
        return model.bytes_of(detect(model).prompt(asked(thinking))).decode()

    close = AROUND[kind][1].strip()
    assert close in prompt(0)
    assert close not in prompt(5)


def test_an_engine_thinks_and_answers(paths: dict[str, Path], kind: str) -> None:
    with LlamaEngine(paths[kind], context=1024, threads=1) as engine:
        *deltas, reply = engine.stream(asked(10, max_tokens=400, allow=frozenset({"calls"})))
    assert reply.finish == "stop"
    assert reply.step.calls
    assert reply.step.thinking
    assert len(reply.step.thinking) <= 40
    assert not any(isinstance(delta, TextDelta) for delta in deltas)
    assert "".join(one.text for one in deltas if isinstance(one, ThinkingDelta)).strip() == reply.step.thinking


@pytest.mark.parametrize("name", ["llama3", "mistral", "gemma"])
def test_who_cannot_think_says_so(chat_models: dict[str, Path], name: str) -> None:
    with pytest.raises(CannotEnforce, match="thinking"):
        detect(Model(chat_models[name])).grammar(asked(5))


def test_plain_says_so_too(tiny: Path) -> None:
    with pytest.raises(CannotEnforce, match="think"):
        detect(Model(tiny)).grammar(asked(5))
