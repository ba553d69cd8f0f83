"""`$N` in an argument means the text of result N: data passes between tools, not through the model.

Only in arguments that the tool's rules name, only where result N exists, and only where `$N` stands for a
whole value or as an operand of a calculation, so that a price ("it costs $5") stays what it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from agentkit.types import ToolSpec

WRAP = 16  # past this many results the numbering starts again at 1, as `docs/plain.md` says

_REFERENCE = re.compile(r"(?<![\w$])\$(\d{1,3})(?![\d$]|[.,]\d|\w)")
_WORDS = "of|and|plus|minus|times|over|by|mod|from"
_BEFORE = re.compile(rf"(?:^|[-(,+*/^×÷;=]|\b(?:{_WORDS}))\s*$", re.IGNORECASE)
_AFTER = re.compile(rf"^\s*(?:$|[-),+*/^%×÷;=?]|(?:{_WORDS}|divided|multiplied|percent)\b)", re.IGNORECASE)
_NUMBER = re.compile(r"-?[\d.,]+(?:[eE][+-]?\d+)?")


def resolve_references(arguments: Mapping[str, Any], spec: ToolSpec, results: Sequence[str]) -> dict[str, Any]:
    """Return the arguments with references replaced by the results' texts.

    Args:
        arguments: as the model wrote them.
        spec: the tool's; `spec.rules.references` names the arguments that take references.
        results: the conversation's results so far, from result 1.
    """
    return {
        name: _resolve(value, results) if name in spec.rules.references and isinstance(value, str) else value
        for name, value in arguments.items()
    }


def result_of(number: int, results: Sequence[str]) -> str | None:
    """Return the latest result that goes by `number`, or None."""
    if number < 1 or number > len(results):
        return None
    if number <= WRAP:
        number += (len(results) - number) // WRAP * WRAP
    return results[number - 1]


def _resolve(value: str, results: Sequence[str]) -> str:
    whole = _REFERENCE.fullmatch(value.strip())
    if whole:
        found = result_of(int(whole[1]), results)
        return value if found is None else found

    def operand(match: re.Match[str]) -> str:
        found = result_of(int(match[1]), results)
        before, after = value[: match.start()], value[match.end() :]
        if found is None or not (_BEFORE.search(before) and _AFTER.search(after)):
            return match[0]
        return _fenced(found.strip(), before, after)

    return _REFERENCE.sub(operand, value)


def _fenced(text: str, before: str, after: str) -> str:
    """Return `text` so that the calculation around it still ends where it did."""
    if _NUMBER.fullmatch(text):
        return text
    depth = 0
    for char in text:
        depth += (char == "(") - (char == ")")
        if depth < 0:
            break
    if depth:
        text = text.replace("(", " ").replace(")", " ")
    alone = before.rstrip().endswith("(") and after.lstrip().startswith(")")
    return text if alone else f"({text})"
