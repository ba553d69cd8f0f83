"""The guards in LangChain's `create_agent`, on a scripted chat model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from agentkit.errors import BudgetExceeded
from agentkit.guards.middleware import LoopGuardMiddleware
from agentkit.types import Effect, ToolRules

CALLED: list[str] = []


@tool
def look(path: str) -> str:
    """Look at a file."""
    CALLED.append(path)
    return f"the text of {path} is its own"


@tool
def job(id: int) -> str:
    """Ask how a job is doing."""
    return "running"


class Scripted(BaseChatModel):
    """Replies with what a function makes of the messages and the number of the reply."""

    reply: Callable[[Sequence[BaseMessage], int], AIMessage]
    asked: list[list[BaseMessage]]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **options: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **options: Any) -> ChatResult:
        self.asked.append(list(messages))
        return ChatResult(generations=[ChatGeneration(message=self.reply(messages, len(self.asked) - 1))])


def called(n: int, *calls: tuple[str, dict[str, Any]]) -> AIMessage:
    made = [{"name": name, "args": args, "id": f"c{n}_{m}"} for m, (name, args) in enumerate(calls)]
    return AIMessage(content="", tool_calls=made)


def same(messages: Sequence[BaseMessage], n: int) -> AIMessage:
    return called(n, ("look", {"path": "a"}))


def run(reply: Any, middleware: LoopGuardMiddleware, **options: Any) -> tuple[dict[str, Any], Scripted]:
    CALLED.clear()
    model = Scripted(reply=reply, asked=[])
    agent = create_agent(model, [look, job], middleware=[middleware], **options)
    return agent.invoke({"messages": [("user", "do it")]}, {"recursion_limit": 200}), model


READS = LoopGuardMiddleware({"look": ToolRules(effect=Effect.READ)})


def test_a_loop_is_told_then_ruled_out_then_ended() -> None:
    result, model = run(same, READS)
    assert len(CALLED) == 4
    assert len(model.asked) == 5
    assert "[guard] look was called 2 times" in str(model.asked[2][-1].content)
    assert "ruled out" in str(model.asked[4][-1].content)
    assert (
        sum(isinstance(message, ToolMessage) for message in model.asked[4]) == 2
    )  # the loop has left the conversation
    assert str(result["messages"][-1].content).startswith("I stopped: look was called again")


def test_asynchronously_too() -> None:
    CALLED.clear()
    agent = create_agent(Scripted(reply=same, asked=[]), [look], middleware=[READS])
    result = asyncio.run(agent.ainvoke({"messages": [("user", "do it")]}))
    assert len(CALLED) == 4
    assert str(result["messages"][-1].content).startswith("I stopped")


def test_parallel_calls_are_counted_one_by_one() -> None:
    result, _ = run(lambda m, n: called(n, ("look", {"path": "a"}), ("look", {"path": "a"})), READS)
    assert len(CALLED) == 4
    assert str(result["messages"][-1].content).startswith("I stopped")


def test_it_may_raise_instead() -> None:
    with pytest.raises(BudgetExceeded, match="ended by a guard: look was called again"):
        run(same, LoopGuardMiddleware(on_stop="error"))


def test_a_resumed_thread_goes_on_counting() -> None:
    CALLED.clear()
    saver, config = InMemorySaver(), {"configurable": {"thread_id": "t"}}
    first = create_agent(
        Scripted(reply=same, asked=[]), [look], middleware=[READS], checkpointer=saver, interrupt_before=["tools"]
    )
    first.invoke({"messages": [("user", "do it")]}, config)
    for _ in range(9):
        agent = create_agent(
            Scripted(reply=lambda m, n: called(len(CALLED) + 10, ("look", {"path": "a"})), asked=[]), [look],
            middleware=[READS], checkpointer=saver, interrupt_before=["tools"],
        )  # fmt: skip
        result = agent.invoke(None, config)
        if not agent.get_state(config).next:
            break
    assert len(CALLED) == 4
    assert str(result["messages"][-1].content).startswith("I stopped")


def test_a_model_that_heeds_is_left_alone() -> None:
    def reply(messages: Sequence[BaseMessage], n: int) -> AIMessage:
        return AIMessage(content="done") if "[guard]" in str(messages[-1].content) else same(messages, n)

    result, _ = run(reply, READS)
    assert result["messages"][-1].content == "done"
    assert len(CALLED) == 2


def test_work_and_polling_are_left_alone() -> None:
    def reply(messages: Sequence[BaseMessage], n: int) -> AIMessage:
        if n == 30:
            return AIMessage(content="done")
        return called(n, ("look", {"path": f"{n}.txt"}) if n % 2 else ("job", {"id": 1}))

    result, _ = run(reply, LoopGuardMiddleware({"job": ToolRules(effect=Effect.READ, polls=True)}))
    assert result["messages"][-1].content == "done"
    assert not any("[guard]" in str(message.content) for message in result["messages"])


def test_an_empty_reply_is_asked_for_once_more() -> None:
    result, model = run(lambda m, n: AIMessage(content="" if n == 0 else "done"), READS)
    assert result["messages"][-1].content == "done"
    assert len(model.asked) == 2
    silent, model = run(lambda m, n: AIMessage(content=""), READS)
    assert str(silent["messages"][-1].content).startswith("I stopped: the last 2 replies came to nothing")


def test_limits_of_its_own() -> None:
    result, model = run(lambda m, n: called(n, ("look", {"path": f"{n}"})), LoopGuardMiddleware(max_model_calls=6))
    assert len(model.asked) == 6
    assert "6 model calls" in str(result["messages"][-1].content)
