"""The planner inside LangChain's own `create_agent`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool

from agentkit.engine.langchain import ChatAgentkit
from agentkit.middleware import PlannerMiddleware
from agentkit.types import Effect, ToolRules
from tests.unit.graph.test_lookahead import Thinking, call, final

LOOKS = {"look": ToolRules(effect=Effect.READ, egress=False)}
CALLED: list[str] = []


@tool
def look(name: str) -> str:
    """Look at a file."""
    CALLED.append(f"look {name}")
    return "the number is 42" if name == "b.txt" else "nothing of use"


@tool
def send(text: str) -> str:
    """Send a message."""
    CALLED.append(f"send {text}")
    return "sent"


@pytest.fixture(autouse=True)
def _nothing_called() -> None:
    CALLED.clear()


class Wavering(BaseChatModel):
    """Another model each time it is asked: now it would look at one file, now at the other."""

    asked: list[list[BaseMessage]]

    @property
    def _llm_type(self) -> str:
        return "wavering"

    def bind_tools(self, tools: Any, **options: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **options: Any) -> ChatResult:
        self.asked.append(list(messages))
        last = messages[-1]
        if isinstance(last, ToolMessage):
            message = AIMessage(content=f"it says: {last.content}")
        else:
            name = ["a.txt", "b.txt"][len(self.asked) % 2]
            message = AIMessage(
                content="", tool_calls=[{"name": "look", "args": {"name": name}, "id": f"c{len(self.asked)}"}]
            )
        return ChatResult(generations=[ChatGeneration(message=message)])


def options(said: str, request: Any) -> Sequence[Any]:
    if said.startswith("find"):
        return [(call("send", text="42"), -0.1), (call("look", name="a.txt"), -0.2), (call("look", name="b.txt"), -2.0)]
    return [(final(f"it says: {said}"), -0.1)]


def ask(model: BaseChatModel, planner: PlannerMiddleware) -> list[BaseMessage]:
    agent = create_agent(model, [look, send], middleware=[planner])
    found: list[BaseMessage] = agent.invoke({"messages": [("user", "find the number")]}, {"recursion_limit": 20})[
        "messages"
    ]
    return found


@pytest.mark.parametrize("strategy", ["auto", "mcts", "lds"])
def test_an_engine_of_ours_searches_by_its_own_probabilities(strategy: str) -> None:
    planner = PlannerMiddleware(lambda answer: "42" in answer, rules=LOOKS, planner=strategy)
    messages = ask(ChatAgentkit(engine=Thinking(options)), planner)
    assert messages[-1].content == "it says: the number is 42"
    assert [m.tool_calls[0]["args"] for m in messages if isinstance(m, AIMessage) and m.tool_calls] == [
        {"name": "b.txt"}
    ]
    assert not [what for what in CALLED if what.startswith("send")]
    assert planner.plans[0].verified


def test_any_chat_model_is_asked_several_times() -> None:
    model = Wavering(asked=[])
    planner = PlannerMiddleware(lambda answer: "42" in answer, rules=LOOKS)
    assert ask(model, planner)[-1].content == "it says: the number is 42"


def test_a_tool_without_a_rule_is_never_tried() -> None:
    planner = PlannerMiddleware(lambda answer: "42" in answer)
    ask(ChatAgentkit(engine=Thinking(lambda said, request: options(said, request)[1:])), planner)
    assert len(CALLED) == 1  # what the agent did for real


def test_asynchronously_too() -> None:
    planner = PlannerMiddleware(lambda answer: "42" in answer, rules=LOOKS)
    agent = create_agent(ChatAgentkit(engine=Thinking(options)), [look, send], middleware=[planner])
    result = asyncio.run(agent.ainvoke({"messages": [("user", "find the number")]}))
    assert result["messages"][-1].content == "it says: the number is 42"


def test_a_structured_reply_is_left_to_the_model() -> None:
    planner = PlannerMiddleware(lambda answer: True)
    asked: list[Any] = []

    class Request:
        response_format = object()

    assert planner.wrap_model_call(Request(), lambda request: asked.append(request) or "its own") == "its own"  # type: ignore[arg-type, func-returns-value, return-value]
    assert asked
