"""A problem with its solution, step by step: what families make, before it has a style.

Texts of steps are templates over the values (`{price}`, `{s1}` for the first result, `{r}` for this step's), so that the same
solution can be told in any style, and with a wrong step in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

__all__ = ["Move", "Problem", "Working", "as_number", "show"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One step of a solution.

    Attributes:
        do: what is done, as an order that begins with a verb: "multiply the price by {count}".
        why: the reason, as a clause: "every box costs the same".
        expression: what is worked out, in the language of `expressions`.
        result: what came out, worked out by the family.
        shown: the calculation as people write it; empty where `do` says it all.
        says: how the result is told.
        fixed: later steps depend on this result by more than its value; it cannot be told wrongly.
    """

    do: str
    why: str
    expression: str
    result: Any
    shown: str = ""
    says: str = "{r}"
    fixed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem and its solution; the answer is the last step's result.

    Attributes:
        kind: which problem of its family, for instance "change".
        question: what the user says.
        given: the values that the question states, by the names that steps use.
        moves: the solution.
        conclusion: the answer as a sentence, a template over the values.
        unit: what follows a bare answer, for instance "km".
    """

    kind: str
    question: str
    given: Mapping[str, Any]
    moves: tuple[Move, ...]
    conclusion: str
    unit: str = ""

    @property
    def key(self) -> str:
        """A hash of the problem without its wording: equal for two ways to ask the same."""
        content = [self.kind, self.given, [move.expression for move in self.moves]]
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(slots=True)
class Working:
    """A solution that is being written."""

    given: dict[str, Any] = field(default_factory=dict)
    moves: list[Move] = field(default_factory=list)

    def step(self, do: str, why: str, expression: str, result: Any, shown: str = "", says: str = "{r}", *, fixed: bool = False) -> str:  # fmt: skip
        """Add a step; return the name of its result."""
        move = Move(
            do=do, why=why, expression=expression, result=as_number(result), shown=shown, says=says, fixed=fixed
        )
        self.moves.append(move)
        return f"s{len(self.moves)}"

    def done(self, kind: str, question: str, conclusion: str, unit: str = "") -> Problem:
        """Return the problem."""
        return Problem(kind=kind, question=question, given=self.given, moves=tuple(self.moves), conclusion=conclusion, unit=unit)  # fmt: skip


def as_number(value: Any) -> Any:
    """Return a value as JSON holds it: a whole number as `int`, another as `float`.

    Raises:
        ValueError: a number has more decimals than a float keeps.
    """
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, Sequence):
        return [as_number(item) for item in value]
    if isinstance(value, Mapping):
        return {name: as_number(item) for name, item in value.items()}
    number = Fraction(str(value)) if isinstance(value, float) else Fraction(value)
    if number.denominator == 1:
        return int(number)
    if Fraction(repr(float(number))) != number:
        raise ValueError(f"{number} has too many decimals for a step")
    return float(number)


def show(value: Any) -> str:
    """Return a value as people write it: `yes`, `12.5`, `a, b and c` without the and, `none` for an empty list."""
    match value:
        case bool():
            return "yes" if value else "no"
        case float() | Fraction():
            return f"{float(value):.10f}".rstrip("0").rstrip(".")
        case list() | tuple():
            return ", ".join(show(item) for item in value) or "none"
        case dict():
            return ", ".join(f"{name} {show(item)}" for name, item in value.items())
        case _:
            return str(value)
