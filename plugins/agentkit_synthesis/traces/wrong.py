"""Subtly wrong solutions: one step goes wrong as people's do, and everything after it follows from that.

The wrong step keeps its expression, so that whoever executes it must see that its result is not that. The final answer is
another one, too.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from random import Random
from typing import Any

from agentkit_synthesis.traces.expressions import NotExecutable, evaluate, exact, plain
from agentkit_synthesis.traces.problem import Problem, as_number, show

__all__ = ["Wrong", "go_wrong"]

TRIES = 12
SWAPS: Mapping[type, type] = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Sub, ast.Mod: ast.FloorDiv, ast.FloorDiv: ast.Mod}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wrong:
    """A wrong solution.

    Attributes:
        step: number of the wrong step, from 1.
        mistake: what went wrong in it.
        results: of every step.
    """

    step: int
    mistake: str
    results: tuple[Any, ...]


def go_wrong(problem: Problem, rng: Random) -> Wrong | None:
    """Return a wrong solution of a problem, or None where no mistake that was tried changes the answer."""
    open_ = [number for number, move in enumerate(problem.moves, 1) if not move.fixed]
    if not open_:
        return None
    for _ in range(TRIES):
        step = rng.choice(open_)
        made = _mistaken(problem, step, rng)
        if made is None:
            continue
        mistake, value = made
        results = _follow(problem, step, value)
        if results is not None and show(results[-1]) != show(problem.moves[-1].result):
            return Wrong(step, mistake, results)
    return None


def _follow(problem: Problem, step: int, value: Any) -> tuple[Any, ...] | None:
    """Return all results where step `step` gives `value`; None where the later steps no longer make sense."""
    values = {name: exact(one) for name, one in problem.given.items()}
    results = []
    for number, move in enumerate(problem.moves, 1):
        if number < step:
            result = move.result
        elif number == step:
            result = value
        else:
            try:
                result = as_number(plain(evaluate(move.expression, values)))
            except (NotExecutable, ValueError):
                return None
            if type(result) is not type(move.result) and not _both_numbers(result, move.result):
                return None
            if move.fixed and result != move.result:
                return None
            if _unlikely(result, move.result):
                return None
        results.append(result)
        values[f"s{number}"] = exact(result)
    return tuple(results)


def _both_numbers(one: Any, other: Any) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other))


def _unlikely(result: Any, right: Any) -> bool:
    """Return whether a wrong result gives itself away: negative, of many decimals, or nothing at all."""
    if isinstance(result, float) and len(show(result).partition(".")[2]) > max(2, len(show(right).partition(".")[2])):
        return True
    if _both_numbers(result, right):
        return bool(result < 0 <= right)
    return result in ("", []) and right not in ("", [])


def _mistaken(problem: Problem, step: int, rng: Random) -> tuple[str, Any] | None:
    """Return a mistake and what it makes of a step's result."""
    move = problem.moves[step - 1]
    right = move.result
    if isinstance(right, bool):
        return "the opposite", not right
    found: tuple[str, Any] | None = None
    if isinstance(right, int | float):
        found = rng.choice(NUMBERS)(right, rng) if rng.random() < 0.6 else _swapped(problem, step)
    elif isinstance(right, list):
        found = _other_list(right, problem, rng)
    elif isinstance(right, str):
        found = _other_text(right, problem, rng)
    if found is None or show(found[1]) == show(right) or _unlikely(found[1], right):
        return None
    return found


def _off_by_one(right: Any, rng: Random) -> tuple[str, Any]:
    unit = Fraction(1, 10 ** len(show(right).partition(".")[2]))
    return "off by one", as_number(exact(right) + rng.choice((-1, 1)) * unit)


def _carry(right: Any, rng: Random) -> tuple[str, Any] | None:
    if abs(right) < 10:
        return None
    return "a carry forgotten or made twice", as_number(exact(right) + rng.choice((-10, 10)))


def _digits(right: Any, rng: Random) -> tuple[str, Any] | None:
    text = show(right)
    at = [
        n
        for n in range(len(text) - 1)
        if text[n : n + 2].isdigit() and text[n] != text[n + 1] and (n or text[1] != "0")
    ]
    if not at:
        return None
    n = rng.choice(at)
    swapped = text[:n] + text[n + 1] + text[n] + text[n + 2 :]
    return "two digits swapped", as_number(float(swapped) if "." in swapped else int(swapped))


NUMBERS: Sequence[Callable[[Any, Random], tuple[str, Any] | None]] = (_off_by_one, _carry, _digits)


def _swapped(problem: Problem, step: int) -> tuple[str, Any] | None:
    """Return what another operation gives at the top of the expression."""
    tree = ast.parse(problem.moves[step - 1].expression, mode="eval")
    node = tree.body
    if not isinstance(node, ast.BinOp) or type(node.op) not in SWAPS:
        return None
    node.op = SWAPS[type(node.op)]()
    values = {name: exact(one) for name, one in problem.given.items()}
    values |= {f"s{n}": exact(move.result) for n, move in enumerate(problem.moves[: step - 1], 1)}
    try:
        result = evaluate(ast.unparse(tree), values)
        return ("another operation", as_number(plain(result))) if isinstance(result, int | Fraction) else None
    except (NotExecutable, ValueError):
        return None


def _other_list(right: list[Any], problem: Problem, rng: Random) -> tuple[str, Any] | None:
    more = [one for one in _texts(problem.given) if one not in right] if right and isinstance(right[0], str) else []
    if len(right) > 1 and (not more or rng.random() < 0.6):
        n = rng.randrange(len(right))
        return "one left out", right[:n] + right[n + 1 :]
    fitting = sorted({one for one in more if any(_alike(one, other) for other in right)})
    if fitting:
        return "one too many", sorted([*right, rng.choice(fitting)])
    return None


def _other_text(right: str, problem: Problem, rng: Random) -> tuple[str, Any] | None:
    try:
        day = date.fromisoformat(right)
        return "a day, a week or a month off", (day + timedelta(days=rng.choice((-1, 1, 2, 7, 30)))).isoformat()
    except (ValueError, OverflowError):
        pass
    if len(right) == 5 and right[2] == ":" and right.replace(":", "").isdigit():
        minutes = (int(right[:2]) * 60 + int(right[3:]) + rng.choice((-60, -10, -1, 1, 10, 60))) % 1440
        return "minutes or an hour off", f"{minutes // 60:02}:{minutes % 60:02}"
    others = [name for group in ALIKE if right in group for name in group if name != right]
    others = others or sorted(_same_place(right, problem.given) - {right})
    others = others or sorted({one for one in _texts(problem.given) if one != right and _alike(one, right)})
    if others:
        return "another one", rng.choice(others)
    return ("a letter lost", right[:-1]) if len(right) > 2 and right.isalpha() and "word" in problem.given else None


ALIKE = (("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"), ("call", "ask", "decline"))


def _alike(one: str, other: str) -> bool:
    """Return whether two texts could be taken for one another: of the same sort and about as long."""
    return one[:1].isupper() == other[:1].isupper() and one[:1].isdigit() == other[:1].isdigit() and (" " in one) == (" " in other) and ("_" in one) == ("_" in other)  # fmt: skip


def _same_place(word: str, given: Mapping[str, Any]) -> set[str]:
    """Return what stands in other lines where `word` stands in one."""
    lines = [text.split() for text in _texts(given) if " " in text]
    places = {line.index(word) for line in lines if word in line}
    return {line[place] for line in lines for place in places if place < len(line)}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
