"""The language that steps are written in, and its evaluator: what the verifier executes.

A step's expression is a small part of Python: literals, names (`s1` is the result of the first step), arithmetic, comparisons,
`and`/`or`/`not`, `a if c else b`, lists, indexing, slicing, and calls of the functions in `FUNCTIONS`. Numbers are exact. The code
that writes traces does not use this evaluator, so that a trace that passes was worked out twice.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

from agentkit_synthesis.traces.calendar_functions import CALENDAR
from agentkit_synthesis.traces.functions import FUNCTIONS as GENERAL
from agentkit_synthesis.traces.graph_functions import GRAPHS

__all__ = ["FUNCTIONS", "NotExecutable", "evaluate", "exact", "literals", "names", "plain"]

FUNCTIONS: Mapping[str, Callable[..., Any]] = {**GENERAL, **CALENDAR, **GRAPHS}
BINARY: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod, ast.Div: lambda a, b: Fraction(a) / Fraction(b), ast.Pow: lambda a, b: _power(a, b),
}  # fmt: skip
COMPARED: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip
UNARY: Mapping[type, Callable[[Any], Any]] = {ast.USub: operator.neg, ast.Not: operator.not_}
LARGEST, LONGEST = 10**15, 10_000  # numbers, and lists and texts


class NotExecutable(Exception):
    """An expression that is not of the language, or that has no value."""


def evaluate(expression: str, values: Mapping[str, Any]) -> Any:
    """Return an expression's value: a number (`int`, or `Fraction` where it is not whole), text, truth value or list.

    Raises:
        NotExecutable: it is not of the language, a name is unknown, or it has no value.
    """
    try:
        return exact(_value(_parsed(expression), values))
    except NotExecutable:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError, AttributeError) as error:
        raise NotExecutable(f"{expression}: {error}") from error


def exact(value: Any) -> Any:
    """Return a value whose numbers are exact: whole ones as `int`, others as the `Fraction` that their digits say."""
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        value = Fraction(repr(value))
    if isinstance(value, Fraction):
        return int(value) if value.denominator == 1 else value
    if isinstance(value, list | tuple):
        return [exact(item) for item in value]
    if isinstance(value, Mapping):
        return {key: exact(item) for key, item in value.items()}
    raise NotExecutable(f"{type(value).__name__} is no value of a step")


def plain(value: Any) -> Any:
    """Return a value as JSON holds it: numbers that are not whole as decimals."""
    if isinstance(value, Fraction):
        return float(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


@lru_cache(maxsize=1_000)
def names(expression: str) -> frozenset[str]:
    """Return the values that an expression reads by name."""
    called = {id(node.func) for node in ast.walk(_parsed(expression)) if isinstance(node, ast.Call)}
    return frozenset(node.id for node in ast.walk(_parsed(expression)) if isinstance(node, ast.Name) and id(node) not in called)  # fmt: skip


@lru_cache(maxsize=1_000)
def literals(expression: str) -> tuple[Any, ...]:
    """Return the numbers and texts that stand in an expression."""
    found = (node.value for node in ast.walk(_parsed(expression)) if isinstance(node, ast.Constant))
    return tuple(exact(value) for value in found if not isinstance(value, bool))


@lru_cache(maxsize=1_000)
def _parsed(expression: str) -> ast.expr:
    if len(expression) > 2_000:
        raise NotExecutable("an expression of more than 2,000 characters")
    try:
        return ast.parse(expression, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NotExecutable(f"{expression}: {error}") from error


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return exact(value)
        case ast.Name(id=name):
            if name not in values:
                raise NotExecutable(f"{name}: no such value")
            return values[name]
        case ast.BinOp():
            return _binary(node, values)
        case ast.UnaryOp() if type(node.op) in UNARY:
            return UNARY[type(node.op)](_value(node.operand, values))
        case ast.BoolOp(op=op, values=parts):
            found = [bool(_value(part, values)) for part in parts]
            return all(found) if isinstance(op, ast.And) else any(found)
        case ast.Compare():
            return _compared(node, values)
        case ast.IfExp(test=test, body=body, orelse=other):
            return _value(body if _value(test, values) else other, values)
        case ast.List(elts=items):
            return [_value(item, values) for item in items]
        case ast.Subscript():
            return _part(node, values)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in FUNCTIONS:
            return FUNCTIONS[name](*[_value(argument, values) for argument in arguments])
    raise NotExecutable(f"{ast.unparse(node)}: not of the language of steps")


def _binary(node: ast.BinOp, values: Mapping[str, Any]) -> Any:
    operate = BINARY.get(type(node.op))
    left, right = _value(node.left, values), _value(node.right, values)
    if operate is None:
        raise NotExecutable(f"{ast.unparse(node)}: not of the language of steps")
    if isinstance(node.op, ast.Mult) and any(isinstance(part, str | list) for part in (left, right)):
        raise NotExecutable(f"{ast.unparse(node)}: only numbers are multiplied")
    found = operate(left, right)
    if isinstance(found, int | Fraction) and not -LARGEST <= found <= LARGEST:
        raise NotExecutable(f"{ast.unparse(node)}: is too large")
    if isinstance(found, str | list) and len(found) > LONGEST:
        raise NotExecutable(f"{ast.unparse(node)}: is too long")
    return exact(found)


def _compared(node: ast.Compare, values: Mapping[str, Any]) -> bool:
    left = _value(node.left, values)
    for op, part in zip(node.ops, node.comparators, strict=True):
        right = _value(part, values)
        if type(op) not in COMPARED:
            raise NotExecutable(f"{ast.unparse(node)}: not of the language of steps")
        if not COMPARED[type(op)](left, right):
            return False
        left = right
    return True


def _part(node: ast.Subscript, values: Mapping[str, Any]) -> Any:
    whole = _value(node.value, values)
    if isinstance(node.slice, ast.Slice):
        ends = [
            None if end is None else _value(end, values)
            for end in (node.slice.lower, node.slice.upper, node.slice.step)
        ]
        return whole[slice(*ends)]
    return whole[_value(node.slice, values)]


def _power(base: Any, exponent: Any) -> Any:
    if not isinstance(exponent, int) or not 0 <= exponent <= 20:
        raise NotExecutable(f"{base} ** {exponent}: only whole exponents to 20")
    return base**exponent
