"""A small world to execute conversations in: exact arithmetic with `$N`, and results by reference."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, DivisionByZero, InvalidOperation, getcontext
from typing import NamedTuple

_TOKEN = re.compile(r"\s*(?:(\d+(?:\.\d+)?)|(\$\d+)|([a-z]+)|(.))")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?")
_FUNCTIONS = frozenset({"sum", "mean", "min", "max", "count", "sqrt"})


class Cannot(ValueError):
    """The expression is not arithmetic."""


class _Value(NamedTuple):
    number: Decimal
    percent: bool = False


def numbers_in(text: str) -> list[Decimal]:
    """Return all numbers of a text; header lines have none."""
    return [Decimal(found) for found in _NUMBER.findall(_THOUSANDS.sub("", text))]


def calculate(expression: str, results: Mapping[int, str] | None = None) -> str:
    """Return the value of `expression` as the calculator prints it.

    Raises:
        Cannot: When it is not arithmetic.
    """
    try:
        reader = _Reader(expression, results or {})
        answer = reader.sum().number
        if reader.peek():
            raise Cannot(expression)
    except (InvalidOperation, DivisionByZero, ArithmeticError) as error:
        raise Cannot(expression) from error
    return show(answer)


def show(number: Decimal) -> str:
    """Return a number without an exponent or empty decimals, at most 10 significant decimals."""
    number = round(number, 10) if number != number.to_integral_value() else number.to_integral_value()
    text = f"{number:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in {"-0", ""} else text


class _Reader:
    """Recursive descent: sums, products, powers, percent."""

    def __init__(self, text: str, results: Mapping[int, str]) -> None:
        getcontext().prec = 34
        self._tokens = [m[0].strip() for m in _TOKEN.finditer(_THOUSANDS.sub("", text.lower())) if m[0].strip()]
        self._at = 0
        self._results = results

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        token = self.peek()
        self._at += 1
        return token

    def sum(self) -> _Value:
        left = self._product()
        while self.peek() in {"+", "-"}:
            sign = 1 if self._take() == "+" else -1
            right = self._product()
            step = left.number * right.number if right.percent and not left.percent else right.number
            left = _Value(left.number + sign * step, left.percent and right.percent)
        return left

    def _product(self) -> _Value:
        left = self._power()
        while self.peek() in {"*", "/", "of"}:
            operator = self._take()
            right = self._power()
            number = left.number / right.number if operator == "/" else left.number * right.number
            left = _Value(number, operator != "of" and (left.percent or right.percent) and operator == "/")
        return left

    def _power(self) -> _Value:
        base = self._unary()
        if self.peek() == "^":
            self._take()
            return _Value(base.number ** self._power().number)
        return base

    def _unary(self) -> _Value:
        if self.peek() == "-":
            self._take()
            return _Value(-self._unary().number)
        found = self._atom()
        if self.peek() == "%":
            self._take()
            return _Value(found / 100, True)
        return _Value(found)

    def _atom(self) -> Decimal:
        token = self._take()
        if token in _FUNCTIONS:
            return self._function(token)
        if token.startswith("$"):
            numbers = numbers_in(self._results.get(int(token[1:]), ""))
            if len(numbers) != 1:
                raise Cannot(f"{token} is not one number")
            return numbers[0]
        if token == "(":
            inner = self.sum().number
            self._close()
            return inner
        if not token[:1].isdigit():
            raise Cannot(f"unexpected {token!r}")
        return Decimal(token)

    def _function(self, name: str) -> Decimal:
        if self._take() != "(":
            raise Cannot(f"{name} needs parentheses")
        numbers: list[Decimal] = []
        while True:
            if self.peek().startswith("$"):
                numbers += numbers_in(self._results.get(int(self._take()[1:]), ""))
            else:
                numbers.append(self.sum().number)
            if self.peek() != ",":
                break
            self._take()
        self._close()
        return _apply(name, numbers)

    def _close(self) -> None:
        if self._take() != ")":
            raise Cannot("a parenthesis is not closed")


def _apply(name: str, numbers: list[Decimal]) -> Decimal:
    if name == "count":
        return Decimal(len(numbers))
    if not numbers:
        raise Cannot(f"{name} of no numbers")
    if name == "sqrt":
        return numbers[0].sqrt()
    if name == "min":
        return min(numbers)
    if name == "max":
        return max(numbers)
    total = sum(numbers, Decimal(0))
    return total / len(numbers) if name == "mean" else total
