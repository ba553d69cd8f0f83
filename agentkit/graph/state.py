"""What the state machine remembers between nodes: plain data, so that a checkpoint is small and readable.

`messages` and `results` belong to the thread and grow; everything else belongs to the run and starts
afresh with each task. Values read by LangGraph at run time must be importable at run time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AnyMessage
from langgraph.graph.message import add_messages

from agentkit.types import Step, StopReason, ToolCall


class Result(TypedDict):
    """One tool result of the conversation; `path` holds the whole text when `text` was capped."""

    text: str
    path: str | None


class Ended(TypedDict):
    """Why a run ends: a `StopReason` value, and one sentence."""

    reason: str
    detail: str


class CallState(TypedDict):
    """One call of the current step, from review to observe."""

    id: str
    tool: str
    arguments: dict[str, Any]
    verdict: str  # "allow" | "refused"
    digest: str  # of the arguments that were reviewed, references resolved
    outcome: dict[str, Any] | None
    seconds: float


class RunState(TypedDict, total=False):
    """The state of a thread and of the run in it."""

    messages: Annotated[list[AnyMessage], add_messages]
    results: list[Result]
    run_id: str
    turn: int  # model calls so far: numbers steps and effects
    task: dict[str, Any]  # check, output_schema
    calls: list[CallState]
    history: list[dict[str, Any]]  # guards' view of the run
    steps: list[dict[str, Any]]  # the user's view of the run
    spent: dict[str, Any]
    usage: dict[str, Any]
    blocked: list[dict[str, Any]]
    ended: Ended | None
    answer: str
    data: Any


def ended_by(reason: StopReason, detail: str) -> Ended:
    """Return the end of a run for the state."""
    return Ended(reason=reason.value, detail=detail)


def fresh_run(run_id: str, task: dict[str, Any]) -> RunState:
    """Return the run's part of the state at its start; the thread's part is left as it is."""
    return RunState(
        run_id=run_id,
        turn=0,
        task=task,
        calls=[],
        history=[],
        steps=[],
        spent={},
        usage={},
        blocked=[],
        ended=None,
        answer="",
        data=None,
    )


def numbered(step: Step, turn: int) -> Step:
    """Give the calls of a step ids that are unique in the run, whatever the model called them."""
    calls = tuple(replace(call, id=f"call_{turn}_{n}") for n, call in enumerate(step.calls))
    return replace(step, calls=calls)


def new_call(call: ToolCall) -> CallState:
    """Return a call that nobody has decided about."""
    return CallState(
        id=call.id, tool=call.tool, arguments=dict(call.arguments), verdict="", digest="", outcome=None, seconds=0.0
    )
