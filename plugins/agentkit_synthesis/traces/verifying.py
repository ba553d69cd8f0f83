"""The verifier: executes every step of a row again, and looks up every value in the question.

It reads a row as it stands in the file and nothing of the code that wrote it. What it makes sure of:

- each expression reads only what the question states (`given`) or an earlier step's result, and its inputs are named;
- every value of `given`, and every literal of an expression, is in the question or is common knowledge (units, 60, 100 ...);
- executing the expression gives the step's result, exactly, and the step's text says that result;
- the answer is the last step's result, and the reply ends with it.

What it does not: that the steps are the ones which the question asks for. That is the families' part, and their tests'.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from agentkit_synthesis.traces.calendar_functions import MONTHS
from agentkit_synthesis.traces.expressions import NotExecutable, evaluate, exact, literals, names
from agentkit_synthesis.traces.functions import TESTS, UNITS
from agentkit_synthesis.traces.problem import show

__all__ = ["first_wrong_step", "verify"]

COMMON = frozenset(map(Fraction, (0, 1, 2, 3, 4, 5, 7, 10, 12, 24, 60, 100, 365, 366, 1000)))
VOCABULARY = frozenset((*TESTS, *UNITS))
NUMBER = re.compile(r"\d+(?:\.\d+)?")
DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)")


def verify(row: Mapping[str, Any]) -> str:
    """Return why a row is wrong, as a short sentence without figures, or nothing where it is right."""
    question, given, steps = row["user"], row["given"], row["steps"]
    if not steps:
        return "there are no steps"
    told = _Question(question)
    if not all(told.states(leaf) for leaf in _leaves(given)):
        return "a given value is not in the question"
    wrong = first_wrong_step(steps, given, told)
    if wrong is not None:
        return wrong[1]
    if show(steps[-1]["result"]) != row["answer"]:
        return "the answer is not the last step's result"
    last = row["final"].rpartition("\n")[2]
    if not re.search(rf"^Answer: {re.escape(row['answer'])}(?: \S+)?$", last):
        return "the reply does not end with the answer"
    return ""


def first_wrong_step(
    steps: Sequence[Mapping[str, Any]], given: Mapping[str, Any], told: _Question | None = None
) -> tuple[int, str] | None:
    """Return the number (from 1) of the first step that does not hold, and why; None where all do."""
    values = {name: exact(value) for name, value in given.items()}
    for number, step in enumerate(steps, 1):
        reason = _wrong(step, values, told)
        if reason:
            return number, reason
        values[f"s{number}"] = exact(step["result"])
    return None


def _wrong(step: Mapping[str, Any], values: Mapping[str, Any], told: _Question | None) -> str:
    expression = step["expression"]
    try:
        read = names(expression)
        if read != set(step["inputs"]):
            return "a step names other inputs than it reads"
        if not read <= values.keys():
            return "a step reads what is neither given nor found before"
        if told is not None and not all(told.knows(value) for value in literals(expression)):
            return "a step uses a value that is not in the question"
        found = evaluate(expression, values)
    except NotExecutable:
        return "a step cannot be executed"
    if isinstance(found, bool) != isinstance(step["result"], bool) or found != exact(step["result"]):
        return "a step's result is not what executing it gives"
    if show(step["result"]) not in step["text"]:
        return "a step's text does not say its result"
    return ""


class _Question:
    """The values that a question states."""

    def __init__(self, text: str) -> None:
        self.text = text
        joined = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
        self.numbers = {Fraction(found) for found in NUMBER.findall(joined)}

    def states(self, value: Any) -> bool:
        """Return whether the question states a value."""
        if isinstance(value, str):
            return value in self.text or self._states_date(value)
        return abs(Fraction(value)) in self.numbers

    def knows(self, value: Any) -> bool:
        """Return whether a value is stated, or is common knowledge."""
        if isinstance(value, str):
            return not value.strip() or value in VOCABULARY or self.states(value)
        return value in COMMON or self.states(value)

    def _states_date(self, value: str) -> bool:
        found = DATE.fullmatch(value)
        if found is None or not 1 <= int(found[2]) <= 12:
            return False
        year, month, day = found[1], MONTHS[int(found[2]) - 1], int(found[3])
        return f"{day} {month} {year}" in self.text or f"{month} {day}, {year}" in self.text


def _leaves(value: Any) -> Iterator[Any]:
    """Yield the texts and numbers of given values; the names of columns are texts too."""
    if isinstance(value, Mapping):
        for inner in value.values():
            if isinstance(inner, list) and inner and isinstance(inner[0], Mapping):  # a table
                yield from (key for key in inner[0] if key not in ("name", "does", "needs"))
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, float):
        yield exact(value)
    else:
        yield value
