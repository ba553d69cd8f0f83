"""The two ways between LangChain's chat models and engines.

`ChatModelEngine` makes any LangChain chat model an engine; its steps are validated, with one repair.
`ChatAgentkit` makes any engine a LangChain chat model, with tool calling, structured output and streaming.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, SystemMessage
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, SkipValidation

from agentkit.engine.checks import TEXT_KINDS, refuse_parts, refuse_unknown, stop_if_over
from agentkit.engine.pump import watched
from agentkit.engine.stopping import StopFilter
from agentkit.engine.validated import Draft, RawCall, replies
from agentkit.engine.wire import estimate, messages_to_wire, tools_to_wire
from agentkit.errors import AgentkitError, CannotEnforce, ProviderError, UsageError
from agentkit.messages import KEY
from agentkit.protocols import (
    ArgumentsDelta,
    Capabilities,
    Delta,
    Engine,
    Reply,
    Request,
    Sampling,
    Score,
    TextDelta,
    ThinkingDelta,
)
from agentkit.types import Step, StepKind, ToolSpec, Usage

DEFAULT_CONTEXT = 8192


class ChatModelEngine:
    """A LangChain chat model as an engine.

    Sampling is the chat model's own: a request that asks for another is refused. `max_tokens` is held by
    ending the stream, at four characters a token where the model reports none.
    """

    def __init__(self, model: BaseChatModel, *, context: int = DEFAULT_CONTEXT, name: str = "") -> None:
        self._model = model
        self._capabilities = Capabilities(model=name or _name_of(model), context=context, samples=False)

    @property
    def capabilities(self) -> Capabilities:
        """What can be relied on: text and validated calls."""
        return self._capabilities

    def stream(self, request: Request) -> Iterator[Delta]:
        """Yield the reply as it comes, then a validated `Reply`.

        Raises:
            ProviderError: the chat model raised, or its reply was unusable twice.
            CannotEnforce: the request asks for sampling that is not the chat model's own.
        """
        stop_if_over(request)
        refuse_parts(request, self._capabilities)
        refuse_unknown(request, self._capabilities)
        if request.sampling.temperature or request.sampling.top_p != 1.0:
            raise CannotEnforce(f"{self._capabilities.model}: set temperature and top_p on the chat model itself")

        def attempt(messages: Sequence[BaseMessage]) -> Iterator[TextDelta | ThinkingDelta | Draft]:
            return self._attempt(request, messages)

        return replies(attempt, request, self._capabilities.model)

    def branch(self, request: Request, n: int) -> list[Reply]:
        """Refuse: a chat model gives no distinct branches."""
        raise CannotEnforce(f"{self._capabilities.model}: no branches; use a model in this process")

    def score(self, request: Request, candidates: Sequence[Step]) -> list[Score]:
        """Refuse: a chat model does not score given steps."""
        raise CannotEnforce(f"{self._capabilities.model}: no scores; use a model in this process")

    def count(self, request: Request) -> int:
        """Return an estimate of the prompt's tokens: the model's own template cannot be seen from here."""
        return estimate(messages_to_wire(request.messages), tools_to_wire(request.tools))

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Refuse: chat models have no vectors."""
        raise CannotEnforce(f"{self._capabilities.model}: no vectors; use a model in this process")

    def close(self) -> None:
        """Do nothing: the chat model is the caller's."""

    def _attempt(
        self, request: Request, messages: Sequence[BaseMessage]
    ) -> Iterator[TextDelta | ThinkingDelta | Draft]:
        whole: AIMessageChunk | None = None
        cut, room = False, 4 * request.max_tokens
        model, told = self._bound(request), _told(request, messages)
        try:
            for chunk in watched(lambda: model.stream(told), request, release=lambda: None):
                piece = _as_chunk(chunk)
                whole = piece if whole is None else whole + piece
                if piece.text:
                    yield TextDelta(text=piece.text)
                room -= len(piece.text) + sum(len(call["args"] or "") for call in piece.tool_call_chunks)
                if room < 0:
                    cut = True
                    break
        except AgentkitError:
            raise
        except Exception as error:  # any chat model's own errors
            raise ProviderError(
                f"{self._capabilities.model}: the chat model failed ({type(error).__name__}: {str(error)[:200]})"
            ) from error
        yield _draft(whole or AIMessageChunk(content=""), self.count(request), cut=cut)

    def _bound(self, request: Request) -> Runnable[LanguageModelInput, AIMessage]:
        if not request.tools or "calls" not in request.allow:
            return self._model
        words = any(kind in request.allow for kind in TEXT_KINDS)
        choice: dict[str, Any] = {} if words else {"tool_choice": "any"}
        try:
            return self._model.bind_tools(tools_to_wire(request.tools), **choice)
        except NotImplementedError as error:
            raise CannotEnforce(
                f"{self._capabilities.model}: this chat model cannot call tools; use another"
            ) from error


def _name_of(model: BaseChatModel) -> str:
    return str(getattr(model, "model_name", "") or getattr(model, "model", "") or type(model).__name__)


def _told(request: Request, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return the messages, led by the output schema where one is asked for."""
    if request.output is None or "final" not in request.allow:
        return list(messages)
    schema = json.dumps(dict(request.output))
    ask = f"Give the final answer as one JSON value and nothing else. It must fit this JSON Schema: {schema}"
    return [SystemMessage(content=ask), *messages]


def _as_chunk(message: BaseMessage) -> AIMessageChunk:
    """Return what `stream` gave as a chunk; a model that does not stream gives a whole message."""
    if isinstance(message, AIMessageChunk):
        return message
    if not isinstance(message, AIMessage):
        raise ProviderError(f"the chat model gave a {type(message).__name__}, not an AIMessage")
    calls = [(call["name"], json.dumps(call["args"]), call["id"]) for call in message.tool_calls]
    calls += [(call["name"] or "", call["args"] or "", call["id"]) for call in message.invalid_tool_calls]
    chunks = [tool_call_chunk(name=name, args=args, id=id_, index=n) for n, (name, args, id_) in enumerate(calls)]
    return AIMessageChunk(content=message.content, tool_call_chunks=chunks, usage_metadata=message.usage_metadata)


def _draft(whole: AIMessageChunk, prompt: int, *, cut: bool) -> Draft:
    spoken = whole.usage_metadata
    calls = [
        RawCall(id=call["id"] or "", tool=call["name"] or "", arguments=call["args"] or "")
        for call in whole.tool_call_chunks
    ]
    if not calls:
        calls = [
            RawCall(id=call["id"] or "", tool=call["name"], arguments=json.dumps(call["args"]))
            for call in whole.tool_calls
        ]
    size = len(whole.text) + sum(len(call.arguments) for call in calls)
    usage = Usage(prompt=prompt, decoded=(size + 3) // 4)
    if spoken is not None:
        usage = Usage(prompt=spoken["input_tokens"], decoded=spoken["output_tokens"])
    finish = whole.response_metadata.get("finish_reason") or whole.response_metadata.get("stop_reason")
    return Draft(text=whole.text, calls=tuple(calls), cut=cut or finish in ("length", "max_tokens"), usage=usage)


class ChatAgentkit(BaseChatModel):
    """An engine as a LangChain chat model.

    `bind_tools` and `with_structured_output` are held by the engine's own constraint where it has one.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    engine: SkipValidation[Engine]
    temperature: float = 0.0
    max_tokens: int = 1024
    seed: int = 0

    @property
    def _llm_type(self) -> str:
        return "agentkit"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {"model": self.engine.capabilities.model, "temperature": self.temperature, "seed": self.seed}

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return this model with tools; `tool_choice` is `auto`, `any`, `none` or a tool's name."""
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], tool_choice=tool_choice, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, None, **kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        request = self._request(messages, kwargs)
        text = StopFilter(stop or ())
        turn, started = len(messages), set[int]()
        for delta in self.engine.stream(request):
            match delta:
                case TextDelta(text=more):
                    chunk = AIMessageChunk(content=text.feed(more))
                case ArgumentsDelta(index=index, tool=tool, text=more):
                    chunk = _call_chunk(turn, index, None if index in started else tool, more)
                    started.add(index)
                case ThinkingDelta(text=more):
                    chunk = AIMessageChunk(content="", additional_kwargs={"reasoning_content": more})
                case Reply():
                    chunk = _last_chunk(delta, text.end(), turn, started, self.engine.capabilities.model)
                    if text.stopped:
                        chunk.response_metadata["finish_reason"] = "stop"
            yield ChatGenerationChunk(message=chunk)

    def _request(self, messages: Sequence[BaseMessage], options: dict[str, Any]) -> Request:
        options = {name: value for name, value in options.items() if value is not None}
        tools, allow = _tools_and_kinds(options.pop("tools", []), options.pop("tool_choice", "auto"))
        sampling = Sampling(
            temperature=options.pop("temperature", self.temperature), seed=options.pop("seed", self.seed)
        )
        max_tokens = options.pop("max_tokens", self.max_tokens)
        output = _schema_of(options.pop("response_format", None))
        options.pop("stream", None)
        if options:
            raise UsageError(f"ChatAgentkit: unknown option '{next(iter(options))}'; leave it out")
        return Request(
            messages=messages, tools=tools, allow=allow, output=output, sampling=sampling, max_tokens=max_tokens
        )


def _tools_and_kinds(tools: Sequence[dict[str, Any]], choice: Any) -> tuple[list[ToolSpec], frozenset[StepKind]]:
    specs = [_spec(tool) for tool in tools]
    words = frozenset[StepKind](TEXT_KINDS)
    if isinstance(choice, dict):
        choice = choice.get("function", choice).get("name")
    if choice is True or choice in ("any", "required"):
        return specs, frozenset({"calls"})
    if not specs or choice in (False, "none"):
        return specs, words
    if choice == "auto":
        return specs, words | {"calls"}
    chosen = [spec for spec in specs if spec.name == choice]
    if not chosen:
        raise UsageError(f"tool_choice {choice!r}: no such tool; there are: {', '.join(spec.name for spec in specs)}")
    return chosen, frozenset({"calls"})


def _spec(tool: Mapping[str, Any]) -> ToolSpec:
    function = tool.get("function")
    if not isinstance(function, Mapping):
        raise UsageError(f"tools: a {tool.get('type', 'nameless')} tool of some provider; give a function")
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    return ToolSpec(name=function["name"], description=function.get("description", ""), parameters=parameters)


def _schema_of(wanted: Any) -> Mapping[str, Any] | None:
    if wanted is None or wanted == {"type": "text"}:
        return None
    if isinstance(wanted, Mapping) and wanted.get("type") == "json_object":
        return {"type": "object"}
    schema = wanted.get("json_schema", {}).get("schema") if isinstance(wanted, Mapping) else None
    if not isinstance(schema, Mapping):
        raise UsageError("response_format: give OpenAI's {'type': 'json_schema', 'json_schema': {'schema': ...}}")
    return schema


def _call_chunk(turn: int, index: int, tool: str | None, text: str) -> AIMessageChunk:
    call_id = f"call_{turn}_{index}" if tool is not None else None
    return AIMessageChunk(content="", tool_call_chunks=[tool_call_chunk(name=tool, args=text, id=call_id, index=index)])


def _last_chunk(reply: Reply, text: str, turn: int, started: set[int], model: str) -> AIMessageChunk:
    step, usage = reply.step, reply.usage
    unheard = [
        tool_call_chunk(
            name=call.tool,
            args=json.dumps(dict(call.arguments), ensure_ascii=False),
            id=f"call_{turn}_{index}",
            index=index,
        )
        for index, call in enumerate(step.calls)
        if index not in started
    ]
    spent = usage.forced + usage.decoded
    known = {"kind": step.kind, "source": "model", "token_ids": list(step.token_ids)}
    return AIMessageChunk(
        content=text,
        tool_call_chunks=unheard,
        additional_kwargs={KEY: known},
        usage_metadata=UsageMetadata(
            input_tokens=usage.prompt,
            output_tokens=spent,
            total_tokens=usage.prompt + spent,
            input_token_details=InputTokenDetails(cache_read=usage.reused),
        ),
        response_metadata={
            "finish_reason": "tool_calls" if step.calls else reply.finish,
            "model_name": model,
            "assurance": reply.assurance,
        },
        chunk_position="last",
    )
