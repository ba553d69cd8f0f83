"""Every engine of ours, held to the contract that third parties' engines are held to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from agentkit.engine.langchain import ChatModelEngine
from agentkit.engine.remote import RemoteEngine
from agentkit.protocols import Engine, Request
from agentkit.testing import ADD, ChatServer, EngineContract, ScriptedEngine
from agentkit.types import Step, ToolCall

CALL = {"a": 2, "b": 3}


def answer(request: Request) -> Step:
    if "final" in request.allow:
        return Step(kind="final", text="2 + 3 is 5, as far as anybody knows.")
    return Step(kind="calls", calls=(ToolCall(id="call_0", tool=ADD.name, arguments=CALL),))


class TestScripted(EngineContract):
    def make(self) -> Engine:
        return ScriptedEngine([answer] * 10)


class TestRemote(EngineContract):
    @pytest.fixture(autouse=True)
    def _server(self) -> Iterator[None]:
        with ChatServer(self._answer) as self.server:
            yield

    def _answer(self, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        if body.get("tool_choice") == "required":
            function = {"name": ADD.name, "arguments": json.dumps(CALL)}
            yield {"tool_calls": [{"index": 0, "id": "x1", "function": function}]}
        else:
            yield from ({"content": word} for word in ("2 + 3 ", "is ", "5."))

    def make(self) -> Engine:
        return RemoteEngine(self.server.url)


class Chat(BaseChatModel):
    """Answers like the other engines here; streams nothing, as many chat models do not."""

    @property
    def _llm_type(self) -> str:
        return "test"

    def bind_tools(self, tools: Any, *, tool_choice: str | None = None, **kwargs: Any) -> Any:
        return self.bind(tool_choice=tool_choice)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        calls = [{"id": "x1", "name": ADD.name, "args": CALL}] if kwargs.get("tool_choice") == "any" else []
        message = AIMessage(content="" if calls else "2 + 3 is 5.", tool_calls=calls)
        return ChatResult(generations=[ChatGeneration(message=message)])


class TestChatModel(EngineContract):
    def make(self) -> Engine:
        return ChatModelEngine(Chat())


class TestStreamingChatModel(EngineContract):
    """LangChain's own fake, which streams word by word and cannot call tools."""

    def make(self) -> Engine:
        return ChatModelEngine(GenericFakeChatModel(messages=iter([AIMessage("2 + 3 is 5, as is known.")] * 10)))

    def request(self, **changes: Any) -> Request:
        if changes.get("allow") == {"calls"}:
            pytest.skip("GenericFakeChatModel calls no tools")
        return super().request(**{"allow": frozenset({"final"}), **changes})
