"""Rewards that can be verified, for GRPO: each compares a completion with the row's column `answer`.

A reward of your own is `module:function`, importable where you start: called as TRL calls it,
`function(completions=[...], **columns) -> list of numbers`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from agentkit.errors import InvalidParams

__all__ = ["REWARDS", "find_reward"]

Reward = Callable[..., list[float]]
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
CLOSE = 1e-6  # relative


def exact(completions: Sequence[Any], answer: Sequence[Any], **_: Any) -> list[float]:
    """Give 1 where the completion is the answer, spaces around it aside."""
    return [float(text(one).strip() == str(right).strip()) for one, right in zip(completions, answer, strict=True)]


def number(completions: Sequence[Any], answer: Sequence[Any], **_: Any) -> list[float]:
    """Give 1 where the last number of the completion is the answer."""
    return [float(_same_number(text(one), right)) for one, right in zip(completions, answer, strict=True)]


def valid_json(completions: Sequence[Any], **_: Any) -> list[float]:
    """Give 1 where the completion is JSON."""
    return [float(_is_json(text(one))) for one in completions]


REWARDS: dict[str, Reward] = {"exact": exact, "number": number, "json": valid_json}
_NEEDS_ANSWER = ("exact", "number")


def find_reward(name: str, columns: Sequence[str]) -> Reward:
    """Return a reward by name.

    Args:
        name: one of `REWARDS`, or `module:function`.
        columns: those of the rows.

    Raises:
        InvalidParams: there is none of that name, or the rows have no `answer` for it.
    """
    if name in REWARDS:
        if name in _NEEDS_ANSWER and "answer" not in columns:
            raise InvalidParams(
                f"/data: the reward '{name}' compares with the column `answer`, which the rows do not have"
            )
        return REWARDS[name]
    module, colon, function = name.partition(":")
    if not colon:
        raise InvalidParams(f"/reward: no reward '{name}'; one of {', '.join(REWARDS)}, or module:function")
    try:
        found = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise InvalidParams(f"/reward: {name} cannot be imported ({error}); it must be importable from here") from error
    if not callable(found):
        raise InvalidParams(f"/reward: {name} is a {type(found).__name__}, no function")
    reward: Reward = found
    return reward


def text(completion: Any) -> str:
    """Return what was written: a completion is a text, or the messages of one."""
    return completion if isinstance(completion, str) else "".join(str(one.get("content") or "") for one in completion)


def _same_number(said: str, right: Any) -> bool:
    found = NUMBER.findall(said.replace(",", ""))
    try:
        wanted = float(right)
    except (TypeError, ValueError):
        return False
    return bool(found) and abs(float(found[-1]) - wanted) <= CLOSE * max(1.0, abs(wanted))


def _is_json(said: str) -> bool:
    try:
        json.loads(said)
    except ValueError:
        return False
    return True
