"""The forms of calls in detail: what their grammars take, and what their readers show on the way."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage, SystemMessage
from llguidance import LLMatcher

from agentkit.engine.dialects import Dialect, detect
from agentkit.engine.dialects.chat import Chat
from agentkit.engine.dialects.chat_families import FAMILIES
from agentkit.engine.dialects.chat_template import ChatTemplate
from agentkit.engine.llama import Model
from agentkit.errors import CannotEnforce
from agentkit.messages import nudge_message, result_message, step_message, system_message, user_message
from agentkit.protocols import ArgumentsDelta, Request, TextDelta
from agentkit.types import Done, Step, Task, ToolCall, ToolSpec


def spec(name: str, properties: dict[str, Any], required: list[str] | None = None) -> ToolSpec:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return ToolSpec(
        name=name, description=f"Do {name}.", parameters=parameters | ({"required": required} if required else {})
    )


SAY = spec("say", {"text": {"type": "string"}})
TIME = spec("get_time", {"zone": {"enum": ["UTC", "CET"]}})


def user(text: str) -> BaseMessage:
    return user_message(Task.of(text))


def call(n: int, tool: str, **arguments: Any) -> ToolCall:
    return ToolCall(id=f"call_{n}", tool=tool, arguments=arguments)


def asked(*tools: ToolSpec, said: list[BaseMessage] | None = None, **more: Any) -> Request:
    return Request(messages=said or [user("x")], tools=tools, **more)


def done(*calls: ToolCall) -> list[BaseMessage]:
    results = [result_message(one, Done(text=f"did {one.tool}"), number=1, spec=None) for one in calls]
    return [step_message(Step(kind="calls", calls=calls)), *results]


def takes(model: Model, request: Request, text: str) -> bool:
    """Whether the grammar takes `text`, in which control tokens are control tokens."""
    grammar = LLMatcher.grammar_from_lark(detect(model).grammar(request))
    matcher = LLMatcher(model.constrainer, grammar, log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    tokens = model.tokenise(text, special=True)
    return matcher.validate_tokens(tokens) == len(tokens) and matcher.consume_tokens(tokens) and matcher.is_accepting()


def read(dialect: Dialect, model: Model, request: Request, text: str, *, whole: bool = True) -> tuple[Step, list[Any]]:
    """Return the step that `text` is, and what was shown on the way."""
    reader, shown = dialect.reader(request), []
    for token in [*model.tokenise(text, special=True), *([dialect.end_id] if whole else [])]:
        shown += reader.feed(token)
    return reader.finish(whole=whole), shown


def prompt(model: Model, request: Request) -> str:
    return model.bytes_of(detect(model).prompt(request)).decode()


@pytest.fixture
def models(chat_models: dict[str, Path]) -> Any:
    """A model by its form's name."""
    return lambda form: Model(chat_models[form])


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("llama3", '<|python_tag|>{"name": "say", "parameters": {"text": "a}"}}'),
        ("gemma", '```json\n{"name": "say", "parameters": {"text": "a}"}}\n```'),
    ],
)
def test_what_may_stand_around_calls(models: Any, form: str, text: str) -> None:
    model = models(form)
    assert takes(model, asked(SAY), text)
    assert not takes(model, asked(SAY), text.removesuffix("```")[:-2])
    step, shown = read(detect(model), model, asked(SAY), text)
    assert step.calls == (call(0, "say", text="a}"),)
    assert not [delta for delta in shown if isinstance(delta, TextDelta)]


@pytest.mark.parametrize(
    ("form", "text", "taken"),
    [
        ("llama3", '{"say": 1}', False),
        ("llama3", ' \n{"say": 1}', False),
        ("llama3", 'Say {"say": 1}', True),
        ("llama3", "<|python_tag|>print()", False),
        ("gemma", '```json\n{"say": 1}\n```', False),
        ("gemma", "```python\n{1}\n```", True),
        ("hermes", "<tool_call> is a tag", False),  # not a token of this vocabulary
        ("hermes", "{1}, <tool_call> is a tag", True),
        ("hermes-coder", "{1}", True),
        ("mistral", "[1, 2]", True),
    ],
)
def test_text_cannot_be_mistaken_for_calls(models: Any, form: str, text: str, taken: bool) -> None:
    model = models(form)
    assert takes(model, asked(SAY), text) is taken
    if taken:
        assert read(detect(model), model, asked(SAY), text)[0].text == text
    alone = asked(SAY, allow=frozenset({"final"}))
    step, _ = read(detect(model), model, alone, text)
    assert (step.kind, step.calls, step.text) == ("final", (), text.lstrip())


def test_calls_are_numbered_through_the_conversation(models: Any) -> None:
    model = models("mistral-later")
    said = [user("x"), *done(call(0, "say", text="a")), user("y"), *done(call(0, "say", text="b"))]
    text = prompt(model, asked(SAY, TIME, said=said))
    for n, letter in enumerate("ab"):
        assert f'[TOOL_CALLS]say[CALL_ID]call0000{n}[ARGS]{{"text": "{letter}"}}' in text
    both = '[TOOL_CALLS]say[CALL_ID]call00002[ARGS]{"text": "c"}[TOOL_CALLS]get_time[CALL_ID]call00003[ARGS]{"zone": "CET"}'
    request = asked(SAY, TIME, said=said)
    assert takes(model, request, both)
    assert not takes(model, request, both.replace("call00003", "call00002"))
    step, _ = read(detect(model), model, request, both)
    assert step.calls == (call(0, "say", text="c"), call(1, "get_time", zone="CET"))
    assert model.bytes_of(detect(model).step(step, request)[:-1]).decode() == both


def test_mistral_before_nemo(write_tiny: Any, tmp_path: Path) -> None:
    template = """{{ bos_token }}{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}
    {%- if m.role == 'tool' %}{{ '[TOOL_RESULTS] ' + m.content + '[/TOOL_RESULTS]' }}
    {%- elif m.tool_calls %}{{ '[TOOL_CALLS] [' }}{% for c in m.tool_calls %}{{ (c.function | tojson)[:-1] }}
    {{- ', "id": "' + c.id + '"}' }}{{ ', ' if not loop.last }}{% endfor %}{{ ']' + eos_token }}
    {%- else %}{{ '[INST] ' + m.content + '[/INST]' }}{% endif %}{% endfor %}"""
    controls = ("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]")
    model = Model(write_tiny(tmp_path / "m.gguf", controls=controls, bos=1, eos=2, template=template))
    assert detect(model).name == "mistral"
    assert takes(
        model, asked(TIME), '[TOOL_CALLS] [{"name": "get_time", "arguments": {"zone": "UTC"}, "id": "call00000"}]'
    )


NOTE = spec(
    "note",
    {
        "text": {"type": "string"},
        "days": {"type": "integer"},
        "short": {"type": "string", "maxLength": 3},
        "code": {"type": "string", "pattern": "^[A-Z]+$"},
        "mood": {"enum": ["good", "bad"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "who": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    required=["text", "days"],
)


def tags(**values: str) -> str:
    body = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in values.items())
    return f"<tool_call>\n<function=note>\n{body}</function>\n</tool_call>"


@pytest.mark.parametrize(
    ("values", "arguments"),
    [
        ({"text": "a\n</parameter> b\n", "days": "3"}, {"text": "a\n</parameter> b\n", "days": 3}),
        ({"text": "", "days": "-1", "mood": "bad"}, {"text": "", "days": -1, "mood": "bad"}),
        ({"text": "null", "days": "0", "tags": '["a", "b"]'}, {"text": "null", "days": 0, "tags": ["a", "b"]}),
        ({"text": "x", "days": "0", "short": "y", "code": "AB"}, {"text": "x", "days": 0, "short": "y", "code": "AB"}),
        ({"text": "x", "days": "0", "who": '"Ann"'}, {"text": "x", "days": 0, "who": "Ann"}),
        ({"text": "x", "days": "0", "who": "null"}, {"text": "x", "days": 0, "who": None}),
        ({"text": "x", "days": "0", "who": "Ann"}, None),
        ({"text": "x", "days": "many"}, None),
        ({"text": "x"}, None),
        ({"days": "1", "text": "x"}, None),
        ({"text": "x", "days": "1", "short": "four"}, None),
        ({"text": "x", "days": "1", "code": "ab"}, None),
        ({"text": "x", "days": "1", "mood": "so so"}, None),
        ({"text": "x", "days": "1", "tags": '["a","b"]'}, None),
    ],
)
def test_tags(models: Any, values: dict[str, str], arguments: dict[str, Any] | None) -> None:
    model = models("hermes-coder")
    text = tags(**values)
    assert takes(model, asked(NOTE), text) is (arguments is not None)
    if arguments is not None:
        step, shown = read(detect(model), model, asked(NOTE), text)
        assert step.calls == (call(0, "note", **arguments),)
        assert [type(delta) for delta in shown] == [ArgumentsDelta]
        assert model.bytes_of(detect(model).step(step, asked(NOTE))[:-1]).decode() == text
        assert text in prompt(model, asked(NOTE, said=[user("x"), *done(*step.calls)]))


def test_what_tags_cannot_hold_is_refused(models: Any) -> None:
    when = spec("when", {"day": {"type": "string", "format": "date"}})
    with pytest.raises(CannotEnforce, match=r"'when': 'format' of argument 'day'.*engine.dialect to chatml"):
        detect(models("hermes-coder")).grammar(asked(when))
    assert "format" in detect(models("hermes-coder"), "chatml").grammar(asked(when))


@pytest.mark.parametrize("form", ["llama3", "hermes", "hermes-coder", "mistral", "mistral-later", "gemma"])
def test_a_tool_without_arguments(models: Any, form: str) -> None:
    model, request = models(form), asked(spec("now", {}), SAY)
    made = Step(kind="calls", calls=(call(0, "now"),))
    text = model.bytes_of(detect(model).step(made, request)[:-1]).decode()
    assert takes(model, request, text)
    assert read(detect(model), model, request, text)[0].calls == made.calls


def test_arguments_show_as_they_come(models: Any) -> None:
    model = models("hermes")
    text = (
        '<tool_call>\n{"name": "say", "arguments": {"text": "ä } 🌍"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "get_time", "arguments": {"zone": "UTC"}}\n</tool_call>'
    )
    step, shown = read(detect(model), model, asked(SAY, TIME), text)
    assert step.calls == (call(0, "say", text="ä } 🌍"), call(1, "get_time", zone="UTC"))
    for index, whole in enumerate(('{"text": "ä } 🌍"}', '{"zone": "UTC"}')):
        parts = [delta.text for delta in shown if delta.index == index]
        assert len(parts) > 5
        assert "".join(parts) == whole


def test_text_before_calls_ends_where_the_template_parts_them(models: Any) -> None:
    model = models("hermes-coder")
    made = tags(text="a", days="1")
    step, shown = read(detect(model), model, asked(NOTE), f"I note\n\nit.\n\n{made}")
    assert (step.kind, step.text, len(step.calls)) == ("calls", "I note\n\nit.", 1)
    assert "".join(delta.text for delta in shown if isinstance(delta, TextDelta)) == step.text
    assert f"assistant\nI note\n\nit.\n\n{made}" in prompt(model, asked(NOTE, said=[user("x"), step_message(step)]))
    assert takes(model, asked(NOTE), f"I note it.\n\n{made}")


def test_a_call_that_was_cut_off_is_left_out(models: Any) -> None:
    model = models("hermes")
    one = '<tool_call>\n{"name": "say", "arguments": {"text": "a"}}\n</tool_call>'
    for cut in ('<tool_call>\n{"na', '<tool_call>\n{"name": "say", "arguments": {"text": "b'):
        step, _ = read(detect(model), model, asked(SAY), f"{one}\n{cut}", whole=False)
        assert (step.kind, step.calls, step.token_ids) == ("calls", (call(0, "say", text="a"),), ())
        step, _ = read(detect(model), model, asked(SAY), cut, whole=False)
        assert (step.kind, step.calls) == ("final", ())
    step, _ = read(detect(model), model, asked(SAY), "Half an answ", whole=False)
    assert (step.kind, step.text) == ("final", "Half an answ")
    assert step.token_ids


@pytest.mark.parametrize("form", ["llama3", "gemma", "hermes", "mistral"])
@pytest.mark.parametrize("text", ['{"name": "Bob"}', '{"name": "say", "age": 3}', '{"age": 3}'])
def test_an_answer_in_json_is_no_call(models: Any, form: str, text: str) -> None:
    """An answer may begin as a call does, for longer than a token."""
    model = models(form)
    output = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}
    request = asked(SAY, output=output)
    assert takes(model, request, text)
    step, shown = read(detect(model), model, request, text)
    assert (step.kind, step.text) == ("final", text)
    assert "".join(delta.text for delta in shown) == text
    made = Step(kind="calls", calls=(call(0, "say", text="a"),))
    written = model.bytes_of(detect(model).step(made, request)[:-1]).decode()
    assert takes(model, request, written)
    assert read(detect(model), model, request, written)[0].calls == made.calls
    assert not takes(model, request, written.replace('"say"', '"erase"'))


def test_turns_of_one_side_become_one_where_they_must(models: Any) -> None:
    said = [
        system_message("Be brief."),
        user("one"),
        nudge_message("two"),
        *done(call(0, "say", text="a")),
        user("three"),
    ]
    text = prompt(models("gemma"), asked(SAY, said=said))
    first, made, result = text.split("<start_of_turn>")[1:4]
    assert first.startswith("user\nBe brief.\n\nYou have access to functions.")
    assert first.endswith("\n\none\n\n[Note from the framework] two<end_of_turn>\n")
    assert made == 'model\n{"name": "say", "parameters": {"text": "a"}}<end_of_turn>\n'
    assert result == "user\n[Result of say] did say\n\nthree<end_of_turn>\n"


def test_instructions_after_the_first_turn_are_notes(models: Any) -> None:
    said = [system_message("Be brief."), user("one"), SystemMessage("Be briefer.")]
    text = prompt(models("hermes"), asked(said=said))
    assert text.count("<|im_start|>system") == 1
    assert "<|im_start|>user\n[Note from the framework] Be briefer.<|im_end|>" in text


def test_thinking_that_the_template_begins_is_ended(models: Any) -> None:
    assert prompt(models("hermes-coder"), asked(NOTE)).endswith("assistant\n<think>\n\n</think>\n\n")


def test_what_comes_before_the_words_is_written(write_tiny: Any, tmp_path: Path) -> None:
    """A template whose model names a channel first: a grammar has no place for that."""
    template = """{% for m in messages %}{{ '<|start|>' + m.role }}
    {{- '<|channel|>final' if m.role == 'assistant' }}{{ '<|message|>' + m.content + '<|end|>' }}{% endfor %}
    {%- if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}"""
    controls = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>")
    model = Model(write_tiny(tmp_path / "c.gguf", controls=controls, bos=0, eos=3, template=template))
    text = prompt(model, asked(SAY))
    assert text.endswith("<|start|>assistant<|channel|>final<|message|>")
    assert detect(model).prompt(asked(SAY)) == model.tokenise(text, special=True)


@pytest.mark.parametrize("text", ["end", "<|end", "<", "end|>", "|>", "|", "x <|en", "nd|> x", " end ", "e"])
def test_a_template_cannot_complete_a_control_token(write_tiny: Any, tmp_path: Path, text: str) -> None:
    """Whatever of `<|end|>` a template writes around what is said."""
    end = "<|end|>"
    for n, m in itertools.combinations(range(len(end) + 1), 2):
        if end[:n] + text.strip() + end[m:] == end or n + m == len(end):
            template = f"{{% for m in messages %}}{end[:n]}{{{{ m.content | trim }}}}{end[m:]}{{% endfor %}}"
            model = Model(
                write_tiny(tmp_path / f"{n}-{m}.gguf", controls=("<a>", end), bos=0, eos=1, template=template)
            )
            chat = Chat(model, FAMILIES["chatml"][0], ChatTemplate(template, bos="", eos=""))
            assert model.control_ids[end.encode()] not in chat.prompt(asked(said=[user(text)]))


def test_the_date_never_changes(write_tiny: Any, tmp_path: Path) -> None:
    template = "{% for m in messages %}{{ m.content }}{% endfor %}{{ date_string }} {{ strftime_now('%Y-%m-%d') }}"
    model = Model(write_tiny(tmp_path / "d.gguf", template=template))
    assert prompt(model, asked()).startswith("x26 Jul 2024 2024-07-26")


def test_a_template_made_for_tools_is_preferred(chat_models: dict[str, Path], write_tiny: Any, tmp_path: Path) -> None:
    made = Model(chat_models["hermes"]).metadata["tokenizer.chat_template"]
    plain = "{% for m in messages %}{{ m.role + m.content }}{% endfor %}"
    controls = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    for default, tool_use, name in ((plain, made, "hermes"), (plain, plain, "chatml")):
        extra = {"tokenizer.chat_template.tool_use": tool_use}
        path = write_tiny(tmp_path / f"{name}.gguf", controls=controls, bos=0, eos=2, template=default, extra=extra)
        assert detect(Model(path)).name == name
