"""Requests in a language model's words: taken only where every value of the task still stands in them, and no other number.

Guarantees: a row whose paraphrases do not hold keeps its own words. Does not check that the meaning is the same but for the
values; so questions back and refusals, which turn on what is not said, are never rewritten.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from agentkit import config
from agentkit.engine import open_engine
from agentkit.errors import ContextFull
from agentkit.messages import system_message, user_message
from agentkit.protocols import Engine, Reply, Request, Sampling
from agentkit.types import Task

__all__ = ["FAMILIES", "opened", "paraphrased"]

FAMILIES = frozenset({"single", "multi_step", "parallel", "recovery", "untrusted"})
TASK = (
    "Write the user's request in other words, as a person would type it to an assistant. Keep every name, number, path, identifier and "
    "quoted text exactly as it is. Answer with the request alone."
)
SAMPLES, TEMPERATURE, MAX_TOKENS = 3, 0.9, 160
LONGEST = 3  # times the original
_NUMBER = re.compile(r"\d+(?:[.,:-]\d+)*")


@lru_cache(maxsize=1)
def opened(model: str) -> Engine:
    """Return the engine of a model, opened once a process, with the user's settings for all else."""
    return open_engine(replace(config.load().settings.engine, model=model))


def paraphrased(row: Mapping[str, Any], engine: Engine, *, seed: int) -> dict[str, Any]:
    """Return the row with its first request as the model says it, if one of its samples holds.

    `world.paraphrased` names the model then; else the row is as it was.

    Raises:
        EngineError: the model, or its server, failed.
    """
    place = next(n for n, message in enumerate(row["messages"]) if message["role"] == "user")
    text = row["messages"][place]["content"]
    if row["family"] not in FAMILIES:
        return dict(row)
    kept = _values(row, text)
    for sample in range(SAMPLES):
        said = _said(engine, text, seed + sample)
        if _holds(said, text, kept):
            messages = list(row["messages"])
            messages[place] = {**messages[place], "content": said}
            return {**row, "messages": messages, "world": {**row["world"], "paraphrased": engine.capabilities.model}}
    return dict(row)


def _said(engine: Engine, text: str, seed: int) -> str:
    request = Request(
        messages=[system_message(TASK), user_message(Task.of(text))],
        allow=frozenset({"final"}),
        sampling=Sampling(temperature=TEMPERATURE, seed=seed % 2**31),
        max_tokens=MAX_TOKENS,
    )
    try:
        *_, last = engine.stream(request)
    except ContextFull:
        return ""
    assert isinstance(last, Reply)  # the protocol: a stream ends with it
    return "" if last.finish == "length" else last.step.text.strip()


def _values(row: Mapping[str, Any], text: str) -> list[str]:
    """Return the values of the row's calls that the request says."""
    found: list[str] = []
    for message in row["messages"]:
        for call in message.get("tool_calls") or ():
            for value in call["function"]["arguments"].values():
                found += [
                    str(one)
                    for one in (value if isinstance(value, list) else [value])
                    if not isinstance(one, bool | dict)
                ]
    return [value for value in dict.fromkeys(found) if value.casefold() in text.casefold()]


def _holds(said: str, text: str, kept: list[str]) -> bool:
    """Whether a paraphrase says every value, no number more or less, and is one line of a decent length that is not the same."""
    if not said or "\n" in said or len(said) > LONGEST * len(text) + 20 or said.casefold() == text.casefold():
        return False
    if sorted(_NUMBER.findall(said)) != sorted(_NUMBER.findall(text)):
        return False
    quoted = re.findall(r'"[^"]*"', text)
    return all(value.casefold() in said.casefold() for value in [*kept, *quoted])
