"""Is a trace of the user's own tools right? Its calls are made again, and its goal is checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentkit_synthesis.tooluse.checking import calls_of
from agentkit_synthesis.tooluse.own.rows import bench_of

__all__ = ["verify_own"]


def verify_own(row: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a row: nothing, if its calls give again what it shows, and its goal holds.

    Raises:
        JobError: a tool hangs.
    """
    wrong = []
    shown = {tool["function"]["name"] for tool in row["tools"]}
    calls = calls_of(row)
    with bench_of(row["world"]).open() as bench:
        for function, stored in calls:
            if function["name"] not in shown or function["name"] not in row["world"]["tools"]:
                wrong.append(f"{function['name']} is none of its tools")
                continue
            given = bench.call(function["name"], function["arguments"])
            if (given.text, given.ok) != (stored["content"], stored.get("status") != "error"):
                wrong.append(
                    f"'{function['name']}' gives another result the second time; only tools that repeat themselves can be learned"
                )
    goal, last = row["goal"], row["messages"][-1]
    if last["role"] != "assistant" or last.get("kind", "final") != goal["end"]:
        wrong.append(f"does not end in {goal['end']}")
    if [dict(function) for function, _ in calls] != goal["calls"]:
        wrong.append("its calls are not those of the goal")
    seen = "\n".join(stored["content"] for _, stored in calls)
    for text in goal["says"]:
        if text not in last["content"] or text not in seen:
            wrong.append("the answer is not what the tool gave")
    if goal.get("asks") and not any(one.get("kind") == "ask" for one in row["messages"]):
        wrong.append("does not ask")
    return wrong
