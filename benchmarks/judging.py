"""Is it right? Comparing calls and answers, strictly for generated requests and leniently for handwritten ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from agentkit import schema
from agentkit.types import RunResult, ToolSpec
from agentkit_basics.arithmetic import work_out
from agentkit_basics.lexer import CalculationError

_NUMBER = re.compile(r"(?<![\w.])[-−]?\d[\d,]*(?:\.\d+)?")
_ARTICLE = re.compile(r"^(?:the|a|an)\s+", re.IGNORECASE)


def same(got: Any, wanted: Any) -> bool:
    """Whether two arguments are equal; numbers by their value."""
    if isinstance(got, bool) or isinstance(wanted, bool):
        return got is wanted
    if isinstance(got, int | float) and isinstance(wanted, int | float):
        return Decimal(str(got)) == Decimal(str(wanted))
    if isinstance(got, Mapping) and isinstance(wanted, Mapping):
        return got.keys() == wanted.keys() and all(same(got[key], wanted[key]) for key in wanted)
    if isinstance(got, list) and isinstance(wanted, list):
        return len(got) == len(wanted) and all(map(same, got, wanted))
    return type(got) is type(wanted) and bool(got == wanted)


def alike(tool: str, got: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether arguments are equal but for case, a leading article, and how a calculation is written."""
    if got.keys() != wanted.keys():
        return False
    for name in wanted:
        one, other = got[name], wanted[name]
        if tool == "calculator" and name == "expression":
            if worked_out(str(one)) != worked_out(str(other)):
                return False
        elif isinstance(one, str) and isinstance(other, str):
            if _plain(one) != _plain(other):
                return False
        elif not same(one, other):
            return False
    return True


def worked_out(expression: str) -> str:
    """Return what agentkit's calculator gives; the expression itself where it gives nothing."""
    try:
        return work_out(expression)
    except CalculationError:
        return expression.strip()


def shows(answer: str, number: str) -> bool:
    """Whether the answer has exactly this number in it."""
    return Decimal(number) in set(numbers(answer))


def numbers(text: str) -> list[Decimal]:
    """Return the numbers of a text; commas between digits are left out."""
    found = []
    for match in _NUMBER.findall(text):
        try:
            found.append(Decimal(match.replace(",", "").replace("−", "-")))
        except InvalidOperation:
            continue
    return found


def schema_valid(result: RunResult, specs: Sequence[ToolSpec]) -> tuple[int, int]:
    """Return how many of a run's calls fit their tool's schema, and how many there were."""
    known = {spec.name: spec.parameters for spec in specs}
    valid = sum(step.tool in known and not schema.problems(dict(step.arguments), known[step.tool])
                for step in result.steps)  # fmt: skip
    return valid, len(result.steps)


def _plain(text: str) -> str:
    return " ".join(_ARTICLE.sub("", text.strip()).casefold().split())
