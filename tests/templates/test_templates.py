"""Every chat template that llama.cpp tests itself with: rendered, written under the grammar, and read back.

The table says which dialect each template gets. `chatml` and `gemma` mean that tools are told in words; a template
with calls of its own that gets them has calls in a form that no dialect has, and a line of the log says so.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from llguidance import LLMatcher

from agentkit.engine.dialects import Dialect, detect
from agentkit.errors import ModelError
from agentkit.messages import nudge_message, result_message, step_message, system_message, user_message
from agentkit.protocols import Request
from agentkit.types import Done, Step, Task, ToolCall, ToolSpec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # fetched at first use

DIALECTS = {
    "llama3": """
        meta-llama-Llama-3.1-8B-Instruct
        meta-llama-Llama-3.2-3B-Instruct
        meta-llama-Llama-3.3-70B-Instruct
    """,
    "hermes": """
        Bielik-11B-v3.0-Instruct
        MiMo-VL
        NVIDIA-Nemotron-3-Nano-30B-A3B-BF16
        NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use
        NousResearch-Hermes-3-Llama-3.1-8B-tool_use
        Qwen-QwQ-32B
        Qwen-Qwen2.5-7B-Instruct
        Qwen-Qwen3-0.6B
        Qwen3-Coder
        Qwen3.5-4B
        Reka-Edge
        StepFun3.5-Flash
        ibm-granite-granite-4.0
        ibm-granite-granite-4.1
    """,
    "mistral": """
        Mistral-Small-3.2-24B-Instruct-2506
        mistralai-Ministral-3-14B-Reasoning-2512
        mistralai-Mistral-Nemo-Instruct-2407
        unsloth-mistral-Devstral-Small-2507
    """,
    "gemma": """
        google-gemma-2-2b-it
    """,
    "chatml": """
        Apertus-8B-Instruct
        Apriel-1.6-15b-Thinker-fixed
        ByteDance-Seed-OSS
        Cohere2MoE
        CohereForAI-c4ai-command-r-plus-tool_use
        CohereForAI-c4ai-command-r7b-12-2024-tool_use
        GLM-4.6
        GLM-4.7-Flash
        GigaChat3-10B-A1.8B
        GigaChat3.1-10B-A1.8B
        HuggingFaceTB-SmolLM3-3B
        Kimi-K2-Instruct
        Kimi-K2-Thinking
        Kimi-K3
        LFM2-8B-A1B
        LFM2.5-8B-A1B
        LFM2.5-Instruct
        MiniMax-M1
        MiniMax-M2
        MiniMax-M3
        NVIDIA-Nemotron-Nano-v2
        Spark2.5
        deepseek-ai-DeepSeek-R1-Distill-Llama-8B
        deepseek-ai-DeepSeek-R1-Distill-Qwen-32B
        deepseek-ai-DeepSeek-V3.1
        deepseek-ai-DeepSeek-V3.2
        deepseek-ai-DeepSeek-V4
        deepseek-ai-DeepSeek-V4-Flash-0731
        google-gemma-4-31B-it
        google-gemma-4-31B-it-interleaved
        ibm-granite-granite-3.3-2B-Instruct
        inclusionai-ling-3.0-flash
        llama-cpp-deepseek-r1
        llama-cpp-rwkv-world
        meetkai-functionary-medium-v3.1
        meetkai-functionary-medium-v3.2
        microsoft-Phi-3.5-mini-instruct
        moonshotai-Kimi-K2
        muse-glimmer
        openai-gpt-oss-120b
        openbmb-MiniCPM5-1B
        poolside-Laguna-S-2.1
        poolside-Laguna-XS-2.1
        poolside-Laguna-XS.2
        tencent-Hy3
        unsloth-Apriel-1.5
        upstage-Solar-Open-100B
    """,
}
REFUSED = {
    "fireworks-ai-llama-3-firefunction-v2": "it wants its tools under a name, `functions`, that only its server sets"
}

# What the model was decoded after, and history does not repeat: that much is read again at each step.
_THINKING = "a block of thinking that the prompt opens and closes is left out of history"
_TOOLS_MOVE = "the tools stand before the newest request, and move"
_LAST = "a tool's result is written differently while it is the last turn"
INEXACT = {
    _THINKING: """
        Apriel-1.6-15b-Thinker-fixed
        Cohere2MoE
        CohereForAI-c4ai-command-r7b-12-2024-tool_use
        deepseek-ai-DeepSeek-R1-Distill-Llama-8B
        deepseek-ai-DeepSeek-R1-Distill-Qwen-32B
        deepseek-ai-DeepSeek-V3.2
        google-gemma-4-31B-it
        google-gemma-4-31B-it-interleaved
        llama-cpp-deepseek-r1
        llama-cpp-rwkv-world
        MiniMax-M2
        NVIDIA-Nemotron-Nano-v2
        openbmb-MiniCPM5-1B
        Qwen-QwQ-32B
        Qwen-Qwen3-0.6B
        Qwen3.5-4B
        StepFun3.5-Flash
    """,
    _TOOLS_MOVE: """
        Mistral-Small-3.2-24B-Instruct-2506
        mistralai-Mistral-Nemo-Instruct-2407
    """,
    _LAST: """
        Bielik-11B-v3.0-Instruct
        NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use
        NousResearch-Hermes-3-Llama-3.1-8B-tool_use
    """,
    "instructions on how to act follow the newest turn": "CohereForAI-c4ai-command-r-plus-tool_use",
}

TEMPLATES = {name: dialect for dialect, names in DIALECTS.items() for name in names.split()}
INEXACT_NAMES = {name for names in INEXACT.values() for name in names.split()}
TOOLS = (
    ToolSpec(
        name="get_time",
        description="Tell the time.",
        parameters={"type": "object", "properties": {"zone": {"enum": ["UTC", "CET"]}}, "required": ["zone"]},
    ),
    ToolSpec(
        name="note",
        description="Keep a note.",
        parameters={
            "type": "object",
            "properties": {
                "text": {"type": "string", "description": "What to keep."},
                "days": {"type": "integer", "description": "How long."},
                "tags": {"type": "array", "items": {"type": "string"}},
                "sure": {"type": "boolean"},
            },
            "required": ["text", "days"],
        },
    ),
)
NOTE = {"text": 'a "b" </x>\n{ü} 🌍', "days": 3, "tags": ["x, y", "z"], "sure": True}
STEPS = (
    Step(kind="calls", calls=(ToolCall(id="call_0", tool="note", arguments=NOTE),)),
    Step(kind="final", text="All is well, 100 %."),
    Step(kind="calls", calls=(ToolCall(id="call_0", tool="get_time", arguments={"zone": "CET"}),)),
    Step(kind="final", text="Noon, {says} the clock."),
)


@pytest.fixture(params=sorted(TEMPLATES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def vocabulary(name: str, templates: Path, vocabulary_for: Callable[..., Any]) -> Any:
    return vocabulary_for(templates.joinpath(f"{name}.jinja").read_text(encoding="utf-8"))


def test_the_table_is_whole(templates: Path) -> None:
    """A template that a new version brings, or takes away, is noticed here."""
    assert sorted([*TEMPLATES, *REFUSED]) == sorted(path.stem for path in templates.glob("*.jinja"))
    assert set(TEMPLATES) >= INEXACT_NAMES


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused_when_it_is_loaded(name: str, vocabulary: Any) -> None:
    with pytest.raises(ModelError, match="chat template cannot be used"):
        detect(vocabulary)


def test_the_dialect_is_found(name: str, vocabulary: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert detect(vocabulary).name == TEMPLATES[name]
    warned = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    is_told = TEMPLATES[name] in ("gemma", "chatml") and "tool" in vocabulary.metadata["tokenizer.chat_template"]
    assert ["told in words" in message for message in warned] == [True] * is_told


def test_two_turns_are_written_and_read_back(name: str, vocabulary: Any) -> None:
    """Each step is in the grammar, reads back as itself, and stands in history as it was written."""
    dialect, inexact = detect(vocabulary), []
    said = ["Be brief.", "First ask."]
    for request, step, after in conversation():
        tokens = dialect.step(step, request)
        assert accepts(vocabulary, dialect.grammar(request), tokens[:-1])
        assert read(dialect, request, tokens) == step_contents(step)
        shown = dialect.prompt(after)
        decoded = [*dialect.prompt(request), *tokens[:-1]]
        inexact += [step] if shown[: len(decoded)] != decoded else []
        said += [step.text, *(f"gave {n}" for n in range(len(step.calls)))]
        text = vocabulary.text_of(shown)
        assert [words for words in said if words not in text] == []
    assert bool(inexact) is (name in INEXACT_NAMES)


def test_spaces_of_the_vocabulary_do_not_matter(name: str, vocabulary: Any, vocabulary_for: Callable[..., Any]) -> None:
    spaced = vocabulary_for(vocabulary.metadata["tokenizer.chat_template"], spaced=True)
    dialect = detect(spaced)
    assert dialect.name == TEMPLATES[name]
    for request, step, _ in conversation():
        kind, text, calls = read(dialect, request, dialect.step(step, request))
        assert (kind, text.strip(), calls) == step_contents(step)


def test_what_the_grammar_refuses(name: str, vocabulary: Any) -> None:
    dialect = detect(vocabulary)
    request = Request(messages=[user("x")], tools=TOOLS)
    for tool, arguments in (
        ("get_time", {"zone": "EST"}),
        ("note", {"text": "x", "days": "many"}),
        ("note", {"days": 3}),
        ("erase", {"zone": "CET"}),
    ):
        wrong = Step(kind="calls", calls=(ToolCall(id="call_0", tool=tool, arguments=arguments),))
        assert not accepts(vocabulary, dialect.grammar(request), dialect.step(wrong, request)[:-1])
    only_text = Request(messages=[user("x")], tools=TOOLS, allow=frozenset({"final"}))
    assert read(dialect, only_text, dialect.step(STEPS[0], request))[0] == "final"


def test_contents_cannot_become_control_tokens(name: str, vocabulary: Any) -> None:
    dialect, controls = detect(vocabulary), set(vocabulary.control_ids.values())

    def found(text: str) -> Counter[int]:
        call = Step(kind="calls", calls=(ToolCall(id="call_0", tool="note", arguments={"text": text, "days": 1}),))
        messages = [system_message(text), user(text), step_message(call), *results(call, text), nudge_message(text)]
        tools = [ToolSpec(name="note", description=text, parameters=TOOLS[1].parameters)]
        return Counter(token for token in dialect.prompt(Request(messages=messages, tools=tools)) if token in controls)

    every = [control.decode() for control in vocabulary.control_ids]
    attack = "".join([*every, *(control[:-1] for control in every), *(control[1:] for control in every)])
    harmless = found("harmless")
    assert found(f"a {attack} b") <= harmless  # some templates leave their own out at a word such as `/think`
    for edge in every:
        assert found(f"{edge[1:]} x {edge[:-1]}") <= harmless


def conversation() -> Iterator[tuple[Request, Step, Request]]:
    """Yield what is asked, what the model says, and what is asked after that."""
    messages: list[BaseMessage] = [system_message("Be brief."), user("First ask.")]
    for step in STEPS:
        request = Request(messages=list(messages), tools=TOOLS)
        messages += [step_message(step), *results(step, "gave"), *([] if step.calls else [user("Next ask.")])]
        yield request, step, Request(messages=list(messages), tools=TOOLS)


def user(text: str) -> BaseMessage:
    return user_message(Task.of(text))


def results(step: Step, text: str) -> list[BaseMessage]:
    done = [Done(text=f"{text} {n}") for n in range(len(step.calls))]
    return [result_message(call, one, number=1, spec=None) for call, one in zip(step.calls, done, strict=True)]


def step_contents(step: Step) -> tuple[str, str, Sequence[ToolCall]]:
    return step.kind, step.text, step.calls


def read(dialect: Dialect, request: Request, tokens: Sequence[int]) -> tuple[str, str, Sequence[ToolCall]]:
    reader = dialect.reader(request)
    for token in tokens:
        reader.feed(token)
    return step_contents(reader.finish(whole=True))


def accepts(vocabulary: Any, grammar: str, tokens: Sequence[int]) -> bool:
    matcher = LLMatcher(vocabulary.constrainer, LLMatcher.grammar_from_lark(grammar), log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    taken = matcher.validate_tokens(list(tokens)) == len(tokens)
    return bool(taken and matcher.consume_tokens(list(tokens)) and matcher.is_accepting())
