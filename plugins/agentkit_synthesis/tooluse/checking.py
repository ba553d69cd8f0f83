"""Is a trace right? The goal on the world's state and the answer; and all stored calls run again in a fresh world.

Guarantees: pure; nothing of the row is believed that can be worked out again from its id.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agentkit_synthesis.tooluse.domains import DOMAINS
from agentkit_synthesis.tooluse.state import changed
from agentkit_synthesis.tooluse.values import State
from agentkit_synthesis.tooluse.world import World

__all__ = ["calls_of", "goal_problems", "replayed", "ungrounded", "verify", "world_of"]

Row = Mapping[str, Any]
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def world_of(row: Row) -> World:
    """Return a fresh world: that of the row's id."""
    about = row["world"]
    domains = [DOMAINS[key] for key in about["domains"]]
    return World(row["id"], domains, edits=about["edits"], busy=about["busy"])


def calls_of(row: Row) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Return each call's function, and the message with its result, in order.

    Raises:
        ValueError: a call has no result, or a result no call.
    """
    made = [call for message in row["messages"] for call in message.get("tool_calls") or ()]
    results = [message for message in row["messages"] if message["role"] == "tool"]
    if [call["id"] for call in made] != [message["tool_call_id"] for message in results]:
        raise ValueError("calls and results do not go together")
    return [(call["function"], result) for call, result in zip(made, results, strict=True)]


def replayed(row: Row) -> tuple[World, list[Mapping[str, Any]]]:
    """Return the world after the row's calls, and what they gave now: `content`, and `status` of those that failed."""
    world = world_of(row)
    names = [tool["function"]["name"] for tool in row["tools"]]
    found: list[Mapping[str, Any]] = []
    for function, _ in calls_of(row):
        given = world.call(function["name"], function["arguments"], among=names)
        found.append({"content": given.text, **({} if given.ok else {"status": "error"})})
    return world, found


def verify(row: Row) -> list[str]:
    """Return what is wrong with a row: nothing, if it replays, and its goal holds.

    The world and the tools are made anew from the row's id; each stored call is run; results must be those stored, the
    goal must hold on the state then, and every argument must stand in what was said or shown before its call.
    """
    try:
        world, found = replayed(row)
    except (KeyError, ValueError) as error:
        return [f"cannot be replayed: {type(error).__name__}: {error}"]
    wrong = []
    known = {face.name: face.schema() for face in world.faces.values()}
    for tool in row["tools"]:
        if known.get(tool["function"]["name"]) != tool:
            wrong.append(f"the tool {tool['function']['name']} is not that of its world")
    for number, ((function, stored), now) in enumerate(zip(calls_of(row), found, strict=True), 1):
        if (stored["content"], stored.get("status")) != (now["content"], now.get("status")):
            wrong.append(f"call {number}, {function['name']}, gives another result")
    wrong += goal_problems(row, world.fresh(), world.state, found)
    return wrong + list(ungrounded(row, world, found))


def goal_problems(row: Row, before: State, after: State, results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what of the row's goal does not hold, given the states, and what its calls gave."""
    goal, messages = row["goal"], row["messages"]
    last = messages[-1]
    wrong = []
    if last["role"] != "assistant" or last.get("tool_calls") or last.get("kind", "final") != goal["end"]:
        wrong.append(f"does not end in {goal['end']}")
    differing = changed(before, after)
    if differing != goal["changes"]:
        wrong.append(f"changes are {_short(differing)}, not {_short(goal['changes'])}")
    seen = "\n".join(str(one["content"]) for one in results)
    for text in goal["says"]:
        if not _stands_in(text, last["content"]):
            wrong.append(f"the answer does not say {text!r}")
        if not _stands_in(text, seen):
            wrong.append(f"no result shows {text!r}")
    called = [function["name"] for function, _ in calls_of(row)]
    wrong += [
        f"{name} is called, which the task does not need" for name in called if name not in row["world"]["needed"]
    ]
    if goal["end"] == "decline" and called:
        wrong.append("declines, and makes a call")
    for text in goal.get("not_obeyed", ()):
        wrong += [
            f"obeys {text!r}" for function, _ in calls_of(row) if text in json.dumps(function, ensure_ascii=False)
        ]
    if goal.get("asks") and not any(one.get("kind") == "ask" for one in messages):
        wrong.append("does not ask")
    return wrong


def _stands_in(text: str, where: str) -> bool:
    """Whether a text stands in another, not as a part of a longer number or word."""
    return re.search(rf"(?<![\w.]){re.escape(text)}(?!\w|\.\d)", where, re.IGNORECASE) is not None


def ungrounded(row: Row, world: World, results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the arguments whose value was neither said by the user nor shown by the results so far.

    Booleans and enumerations are free; of a composed argument only the numbers count.
    """
    known, shown = "", iter(results)
    for message in row["messages"]:
        for call in message.get("tool_calls") or ():
            face = world.named(call["function"]["name"])
            kinds = {face.names[param.key]: param for param in face.op.params} if face else {}
            for name, value in call["function"]["arguments"].items():
                free = isinstance(value, bool) or (name in kinds and kinds[name].enum)
                composed = name in kinds and kinds[name].composed
                whole = _NUMBER.findall(str(value)) if composed else [str(value)]
                if not free and any(one.casefold() not in known for one in whole):
                    yield f"the argument {name}={value!r} was neither said nor shown"
        if message["role"] == "tool":
            known += f"\n{next(shown)['content']}".casefold()
        elif message["role"] in {"user", "system"}:
            known += f"\n{message['content']}".casefold()


def _short(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{pointer}: {value}" for pointer, value in list(changes.items())[:3]) or "none"
