"""Requests for a tool nobody has written requests for: from its name, its description and its arguments' names.

Guarantees: every value of the call stands in the request as it is, unless the request was handed over ready.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from agentkit.types import ToolSpec
from agentkit_synthesis.wording import dress

__all__ = ["answer", "can", "question", "request", "words_of"]

_NAMES = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_GIVES = re.compile(
    r"^(?:returns?|gets?|gives?|fetch(?:es)?|retrieves?|tells?|shows?|computes?|calculates?)\s+", re.IGNORECASE
)
_NOUN = re.compile(r"^(?:the|a|an|all|whether|how|what|which|who|where|when|if)\b", re.IGNORECASE)
_TOLD = ("tell me {d}", "I need {d}", "give me {d}", "show me {d}", "I'd like to know {d}", "find out {d}")
_DONE = ("{d}", "{d}", "please {d}", "I want to {d}", "can you {d}", "I'd like you to {d}", "help me: {d}")
_AND = (" and ", ", ", " with ", "; ")


def words_of(name: str) -> str:
    """Return a name as words: `getWeather_2` is `get weather 2`."""
    return " ".join(_NAMES.findall(name)).casefold()


def can(spec: ToolSpec) -> str:
    """Return what the tool does, as the rest of "I can"."""
    told = _sentence(spec)
    return f"tell {told}" if _NOUN.match(told) else told


def request(spec: ToolSpec, arguments: Mapping[str, Any], rng: Random, *, dressed: bool = True) -> str:
    """Return a request that says all of `arguments`."""
    told = _sentence(spec)
    forms = [form.replace("{d}", told) for form in (_TOLD if _NOUN.match(told) else _DONE)]
    forms += [words_of(spec.name), f"use {spec.name}", f"I need {words_of(spec.name)}"]
    head = rng.choice(forms)
    tail = _arguments(spec, arguments, rng)
    if not tail:
        text = head
    elif rng.random() < 0.15:
        text = f"{tail}: {head}"
    else:
        text = f"{head}{rng.choice((': ', ', ', ' for ', ' with ', ' - '))}{tail}"
    return dress(text, rng, "train") if dressed else text


def question(spec: ToolSpec, name: str, rng: Random) -> str:
    """Return the question for an argument that is missing."""
    about = (
        str(spec.parameters["properties"][name].get("description", ""))
        .split(".")[0]
        .split(", ")[0]
        .split(" such as")[0]
    )
    what = words_of(name)
    told = f" ({about[:80]})" if about and about.casefold() != what and rng.random() < 0.6 else ""
    return rng.choice(
        (
            f"Which {what}{told}?",
            f"What is the {what}{told}?",
            f"I need the {what}{told}: which one?",
            f"Please tell me the {what}{told}.",
        )
    )


def answer(spec: ToolSpec, result: str, rng: Random) -> tuple[str, str]:
    """Return the final answer, and what of the result it must say: all of it, or its first line where it is long."""
    told = result if len(result) <= 200 else result.splitlines()[0][:200].rstrip()
    ended = "" if told[-1:] in ".!?" else "."
    forms = (
        f"{told}{ended}",
        f"The result is {told}{ended}",
        f"{words_of(spec.name).capitalize()}: {told}{ended}",
        f"Here it is: {told}{ended}",
    )
    return rng.choice(forms), told


def _sentence(spec: ToolSpec) -> str:
    """Return the first sentence of the description as an order, or as what it gives."""
    first = re.split(r"(?<=[a-z0-9)])[.:;](?:\s|$)", " ".join(spec.description.split()))[0].strip().rstrip(".")
    if not first:
        return words_of(spec.name)
    given = _GIVES.sub("", first)
    if given != first and _NOUN.match(given):
        return _lower(given)
    if not _NOUN.match(first):
        first = _order(first)
    return _lower(first)


def _order(text: str) -> str:
    """Return "convert miles" for "Converts miles"."""
    verb, _, rest = text.partition(" ")
    if not rest or not verb.endswith("s") or verb.endswith(("ss", "us", "is")):
        return text
    return f"{verb[:-2] if verb.endswith(('ches', 'shes', 'xes', 'zes')) else verb[:-1]} {rest}"


def _lower(text: str) -> str:
    return text if text[:2].isupper() else text[:1].lower() + text[1:]


def said(value: Any) -> str:
    """Return a value as people write it; JSON only where it is nested."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(one, str | int | float) for one in value):
        return ", ".join(str(one) for one in value)
    return json.dumps(value, ensure_ascii=False)


def _arguments(spec: ToolSpec, arguments: Mapping[str, Any], rng: Random) -> str:
    if not arguments:
        return ""
    required: Sequence[str] = spec.parameters.get("required", ())
    if len(arguments) == 1 and len(required) <= 1 and next(iter(arguments)) in required and rng.random() < 0.6:
        return said(next(iter(arguments.values())))
    form = rng.choice(("{n} {v}", "{n} {v}", "{n}: {v}", "{n} = {v}", "{n} is {v}"))
    parts = [form.format(n=words_of(name), v=_quoted(value, rng)) for name, value in arguments.items()]
    join = rng.choice(_AND) if len(parts) == 2 else ", "
    return join.join(parts)


def _quoted(value: Any, rng: Random) -> str:
    text = said(value)
    several = isinstance(value, str) and " " in value
    return f'"{text}"' if several and rng.random() < 0.5 else text
