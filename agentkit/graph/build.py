"""The state machine, put together and compiled."""

from __future__ import annotations

from typing import Any, Literal

from langchain_core.messages import AIMessage
from langgraph.graph import END, START, StateGraph

from agentkit.graph import nodes
from agentkit.graph.context import RunContext
from agentkit.graph.state import RunState

STEPS_A_TURN = 4  # prepare, plan, review, act and observe, of which one ends the turn before
DEFAULT_TURNS = 10_000  # where turns are not limited


def recursion_limit(max_turns: int | None) -> int:
    """Return LangGraph's limit for so many model calls, with room for the last answer."""
    return (STEPS_A_TURN + 1) * (max_turns or DEFAULT_TURNS) + 10


def build(checkpointer: Any = None) -> Any:
    """Return the compiled graph; without a checkpointer nothing can be resumed."""
    graph = StateGraph(RunState, context_schema=RunContext)
    for name in ("prepare", "plan", "review", "act", "observe", "answer"):
        graph.add_node(name, getattr(nodes, name))
    graph.add_edge(START, "prepare")
    graph.add_conditional_edges("prepare", _after_prepare)
    graph.add_conditional_edges("plan", _after_plan)
    graph.add_edge("review", "act")
    graph.add_edge("act", "observe")
    graph.add_conditional_edges("observe", _after_observe)
    graph.add_edge("answer", END)
    return graph.compile(checkpointer=checkpointer, name="agentkit")


def _after_prepare(state: RunState) -> Literal["plan", "answer"]:
    return "answer" if state.get("ended") else "plan"


def _after_plan(state: RunState) -> Literal["prepare", "review", "answer"]:
    if state.get("ended"):
        return "answer"
    if state.get("calls"):
        return "review"
    return "answer" if isinstance(state["messages"][-1], AIMessage) else "prepare"  # a reply was cut off: once more


def _after_observe(state: RunState) -> Literal["prepare", "answer"]:
    return "answer" if state.get("ended") else "prepare"
