"""Both ways between LangChain's chat models and engines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from agentkit.engine.langchain import ChatAgentkit, ChatModelEngine
from agentkit.errors import CannotEnforce, EngineError, ProviderError, UsageError
from agentkit.protocols import Reply, Request, Sampling
from agentkit.testing import ADD, ScriptedEngine
from agentkit.types import Step, ToolCall

FIVE = Step(kind="final", text="It is five, and that is all.")
CALL = Step(kind="calls", calls=(ToolCall(id="c", tool="add", arguments={"a": 2, "b": 3}),))


class Chat(BaseChatModel):
    """Streams the chunks it was given, one list a request, and records what it is asked."""

    turns: list[list[Any]]
    seen: list[tuple[list[BaseMessage], dict[str, Any]]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "test"

    def bind_tools(self, tools: Any, *, tool_choice: str | None = None, **kwargs: Any) -> Any:
        return self.bind(tools=tools, tool_choice=tool_choice)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        self.seen.append((messages, kwargs))
        for chunk in self.turns.pop(0):
            if isinstance(chunk, Exception):
                raise chunk
            yield ChatGenerationChunk(message=chunk)


def words(text: str) -> list[AIMessageChunk]:
    return [AIMessageChunk(content=word) for word in text.split(" ")]


def call(*pieces: str, name: str = "add") -> list[AIMessageChunk]:
    return [
        AIMessageChunk(
            content="",
            tool_call_chunks=[{"name": None if n else name, "args": piece, "id": None if n else "c1", "index": 0,
                               "type": "tool_call_chunk"}],
        )
        for n, piece in enumerate(pieces)
    ]  # fmt: skip


def ask(model: BaseChatModel, **changes: object) -> Reply:
    request = Request(**{"messages": [HumanMessage("2 + 3?")], "tools": [ADD], **changes})  # type: ignore[arg-type]
    last = list(ChatModelEngine(model).stream(request))[-1]
    assert isinstance(last, Reply)
    return last


# ── a chat model as an engine ────────────────────────────────────────────────────────────────────


def test_a_streamed_call_is_validated() -> None:
    reply = ask(Chat(turns=[call('{"a": 2, ', '"b": 3}')]))
    assert reply.step.calls == (ToolCall(id="c1", tool="add", arguments={"a": 2, "b": 3}),)
    assert reply.assurance == "validated"


def test_a_bad_call_is_repaired_once_and_then_an_error() -> None:
    model = Chat(turns=[call('{"a": 2'), call('{"a": 2, "b": 3}')], seen=[])
    assert ask(model).step.calls[0].arguments == {"a": 2, "b": 3}
    assert "not valid JSON" in str(model.seen[1][0][-1].content)
    with pytest.raises(ProviderError, match="there is no tool 'sub'"):
        ask(Chat(turns=[call("{}", name="sub")] * 2))


def test_tools_are_bound_as_allowed() -> None:
    model = Chat(turns=[call('{"a": 2, "b": 3}'), words("It is five.")], seen=[])
    ask(model, allow=frozenset({"calls"}))
    ask(model, allow=frozenset({"final"}))
    assert model.seen[0][1]["tool_choice"] == "any"
    assert "tools" not in model.seen[1][1]


def test_an_output_schema_is_asked_for_in_words_and_checked() -> None:
    model = Chat(turns=[words("five"), words('{"n": 5}')], seen=[])
    reply = ask(model, tools=(), output={"type": "object", "required": ["n"]})
    assert reply.step.data == {"n": 5}
    assert '"required": ["n"]' in str(model.seen[0][0][0].content)


def test_max_tokens_end_the_stream() -> None:
    reply = ask(Chat(turns=[words("word " * 100)]), max_tokens=10, tools=())
    assert reply.finish == "length"
    assert len(reply.step.text) < 60


def test_the_models_own_errors_become_ours_and_its_sampling_stays_its_own() -> None:
    with pytest.raises(ProviderError, match=r"the chat model failed \(ValueError: no key\)"):
        ask(Chat(turns=[[ValueError("no key")]]))
    with pytest.raises(CannotEnforce, match="set temperature"):
        ask(Chat(turns=[]), sampling=Sampling(temperature=1.0))
    with pytest.raises(CannotEnforce, match="cannot call tools"):
        ask(GenericFakeChatModel(messages=iter([])))


# ── an engine as a chat model ────────────────────────────────────────────────────────────────────


@tool
def add(a: int, b: int) -> int:
    """Add two whole numbers."""
    return a + b


class Sum(BaseModel):
    """A sum."""

    total: int


def chat(*steps: Any, **options: Any) -> tuple[ChatAgentkit, ScriptedEngine]:
    engine = ScriptedEngine(steps)
    return ChatAgentkit(engine=engine, **options), engine


def test_invoke_gives_text_and_usage() -> None:
    model, engine = chat(FIVE, temperature=0.5, max_tokens=50)
    message = model.invoke("What is two plus three?")
    assert message.content == FIVE.text
    assert message.usage_metadata is not None
    assert message.usage_metadata["output_tokens"] == 7
    assert message.response_metadata["assurance"] == "none"
    assert (engine.requests[0].sampling.temperature, engine.requests[0].max_tokens) == (0.5, 50)
    assert engine.requests[0].allow == {"final", "ask", "decline"}


def test_stream_gives_the_same_in_pieces() -> None:
    chunks = list(chat(FIVE)[0].stream("2 + 3?"))
    assert len(chunks) > 3
    assert "".join(str(chunk.content) for chunk in chunks) == FIVE.text


def test_tools_are_bound_and_calls_come_in_chunks() -> None:
    model, engine = chat(CALL, CALL)
    bound = model.bind_tools([add])
    message = bound.invoke("2 + 3?")
    assert [(each["name"], each["args"]) for each in message.tool_calls] == [("add", {"a": 2, "b": 3})]
    assert message.response_metadata["finish_reason"] == "tool_calls"
    assert [spec.name for spec in engine.requests[0].tools] == ["add"]
    assert engine.requests[0].tools[0].parameters["required"] == ["a", "b"]
    chunks = [piece for chunk in bound.stream("2 + 3?") for piece in chunk.tool_call_chunks]
    assert len(chunks) > 1
    assert [piece["name"] for piece in chunks] == ["add", *[None] * (len(chunks) - 1)]
    assert json.loads("".join(piece["args"] or "" for piece in chunks)) == {"a": 2, "b": 3}


def test_ids_of_calls_differ_from_turn_to_turn() -> None:
    bound = chat(CALL, CALL)[0].bind_tools([add])
    history: list[Any] = [HumanMessage("2 + 3?")]
    for _ in range(2):
        message = bound.invoke(history)
        history += [message, ToolMessage("5", tool_call_id=message.tool_calls[0]["id"])]
    ids = [each["id"] for message in history if isinstance(message, AIMessage) for each in message.tool_calls]
    assert len(set(ids)) == 2


@pytest.mark.parametrize(
    ("choice", "allowed"),
    [
        ("any", {"calls"}),
        ("required", {"calls"}),
        ("add", {"calls"}),
        ({"type": "function", "function": {"name": "add"}}, {"calls"}),
        ("auto", {"calls", "final", "ask", "decline"}),
        (None, {"calls", "final", "ask", "decline"}),
        ("none", {"final", "ask", "decline"}),
    ],
)
def test_tool_choice_is_what_the_engine_may_do(choice: Any, allowed: set[str]) -> None:
    model, engine = chat(CALL if "calls" in allowed else FIVE)
    model.bind_tools([add], tool_choice=choice).invoke("2 + 3?")
    assert engine.requests[0].allow == allowed


def test_structured_output_comes_through_the_base_class() -> None:
    step = Step(kind="calls", calls=(ToolCall(id="c", tool="Sum", arguments={"total": 5}),))
    model, engine = chat(step, Step(kind="final", text='{"total": 5}'))
    assert model.with_structured_output(Sum).invoke("2 + 3?") == Sum(total=5)
    assert engine.requests[0].allow == {"calls"}
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": Sum.model_json_schema()}}
    assert json.loads(str(model.invoke("2 + 3?", response_format=schema).content)) == {"total": 5}
    assert engine.requests[1].output == Sum.model_json_schema()


def test_async_is_the_same() -> None:
    model, _ = chat(FIVE, FIVE)

    async def both() -> tuple[str, str]:
        whole = await model.ainvoke("2 + 3?")
        return str(whole.content), "".join([str(chunk.content) async for chunk in model.astream("2 + 3?")])

    assert asyncio.run(both()) == (FIVE.text, FIVE.text)


def test_stop_sequences_are_honoured() -> None:
    said = Step(kind="final", text="It is five. STOP here.")
    message = chat(said)[0].invoke("2 + 3?", stop=["STOP", "nowhere"])
    assert message.content == "It is five. "
    assert message.response_metadata["finish_reason"] == "stop"


def test_what_is_not_known_is_refused() -> None:
    model, _ = chat(FIVE)
    with pytest.raises(UsageError, match="unknown option 'top_q'"):
        model.invoke("x", top_q=1)
    with pytest.raises(UsageError, match="no such tool"):
        model.bind_tools([add], tool_choice="sub").invoke("x")
    with pytest.raises(UsageError, match="response_format"):
        model.invoke("x", response_format="json")
    with pytest.raises(UsageError, match="a web_search tool"):
        model.invoke("x", tools=[{"type": "web_search"}])


def test_the_engines_errors_come_through() -> None:
    with pytest.raises(EngineError, match="the script has 0 steps"):
        chat()[0].invoke("x")


def test_there_and_back_again() -> None:
    model, _ = chat(CALL)
    assert ask(model).step.calls[0].arguments == {"a": 2, "b": 3}
