"""Works out what people write: `15% of 200`, `200 + 15%`, `sum(3, 4)`, `945 divided by 12.6`.

A parser of its own over exact decimals of 50 digits; nothing is ever evaluated as code. What is unclear is
refused with a sentence, never guessed: a comma that could be two things, two numbers with nothing between them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import (
    ROUND_HALF_EVEN,
    ROUND_HALF_UP,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
    Underflow,
    localcontext,
)
from typing import NamedTuple

from agentkit_basics.lexer import FUNCTIONS, MAX_DIGITS, CalculationError, Token, tokens
from agentkit_basics.numbers_in_text import numbers_in

MAX_CHARS = 200_000
MAX_DEPTH = 50
_CONTEXT = Context(
    prec=MAX_DIGITS,
    rounding=ROUND_HALF_EVEN,
    Emin=-500,
    Emax=500,
    traps=[InvalidOperation, DivisionByZero, Overflow, Underflow],
)
_SHOWN_DIGITS = 15  # of what does not come out even: 1/3, sqrt(2)

_LIST = ("sum", "mean", "min", "max", "count", "median")
_NAMES = "|".join(name for name, function in FUNCTIONS.items() if function in (*_LIST, "sqrt", "abs"))
_LEAD = r"^\s*(?:(?:what(?:['’]?s| is)?|how much is|calculate|compute|work out|find|tell me)\s+)?(?:the\s+)?"
_PHRASES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(_LEAD + r"square\s+root\s+of\s+(?P<a>.+)$", re.I | re.S), "sqrt({a})"),
    (re.compile(_LEAD + rf"(?P<f>{_NAMES})(?:\s+up)?\s+of\s+(?P<a>.+)$", re.I | re.S), "{f}({a})"),
    (re.compile(_LEAD + r"(?:add|sum|total)(?:\s+(?:up|together))?\s+(?!\()(?P<a>.+)$", re.I | re.S), "sum({a})"),
    (re.compile(_LEAD + r"subtract\s+(?P<a>.+?)\s+from\s+(?P<b>.+)$", re.I), "({b}) - ({a})"),
    (re.compile(_LEAD + r"multiply\s+(?P<a>.+?)\s+(?:by|and|with)\s+(?P<b>.+)$", re.I), "({a}) * ({b})"),
    (re.compile(_LEAD + r"divide\s+(?P<a>.+?)\s+by\s+(?P<b>.+)$", re.I), "({a}) / ({b})"),
)
_LEADING = re.compile(r"^\s*(?:what(?:['’]?s| is)|how much is|calculate|compute|work out|find|tell me)\b", re.I)
_BINARY = {"+": 10, "-": 10, "*": 20, "/": 20, "mod": 20, "(": 20, "of": 30, "^": 50}
_NEGATION = 40


class Value(NamedTuple):
    """A number, and whether it was written as a percentage."""

    number: Decimal
    percent: bool = False


def evaluate(expression: str) -> Decimal:
    """Return the value of `expression`.

    Raises:
        CalculationError: it cannot be worked out; says why in one sentence.
    """
    return _evaluate(expression)[0]


def work_out(expression: str) -> str:
    """Return the value as people write it: no exponent, no trailing zeros; 15 digits where it never ends.

    Raises:
        CalculationError: it cannot be worked out; says why in one sentence.
    """
    value, exact = _evaluate(expression)
    if not exact:
        digits = max(_SHOWN_DIGITS, value.adjusted() + 1)
        value = Context(prec=min(digits, MAX_DIGITS), rounding=ROUND_HALF_EVEN).plus(value)
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _evaluate(expression: str) -> tuple[Decimal, bool]:
    if len(expression) > MAX_CHARS:
        raise CalculationError(f"the calculation is longer than {MAX_CHARS:,} characters; split it up")
    text = expression.replace("\u00a0", " ").strip()
    text = re.sub(r"[\s=?!]+$|(?<=\w)\.$", "", text)
    text = re.sub(r"^\s*=\s*", "", text)
    if not text:
        raise CalculationError("there is nothing to work out; give a calculation such as 15% of 200")
    for pattern, form in _PHRASES:
        if match := pattern.match(text):
            text = form.format(**match.groupdict())
            break
    text = _LEADING.sub("", text)
    with localcontext(_CONTEXT) as context:
        try:
            value = +_whole(text, 0)
        except DivisionByZero:
            raise CalculationError("that divides by zero, which has no result") from None
        except Overflow:
            raise CalculationError(f"the result is too large: it has more than {MAX_DIGITS} digits") from None
        except Underflow:
            raise CalculationError("the result is too small to be told from zero") from None
        except InvalidOperation:
            raise CalculationError("that has no result among the real numbers") from None
        exact = not context.flags[Inexact]
    if value and (value.adjusted() >= MAX_DIGITS or value.adjusted() < -MAX_DIGITS):
        raise CalculationError(f"the result is too large or too small: it has more than {MAX_DIGITS} digits")
    return value, exact


def _whole(text: str, depth: int) -> Decimal:
    """Return the value of a whole text: a calculation, or a list of them that is added up."""
    if "\n" in text.strip() and not re.match(r"^\s*\w+\s*\(", text):
        raise CalculationError(
            f"these are {len(numbers_in(text))} numbers in a text; say what to do with them, such as sum(...)"
        )
    parser = _Parser(tokens(text), depth)
    values = [parser.expression(0).number]
    while parser.take(","):
        while parser.take(","):  # "1, 2, and 3"
            pass
        if parser.at_end:
            break
        values.append(parser.expression(0).number)
    parser.finish()
    return sum(values[1:], values[0])


class _Parser:
    """A Pratt parser: each operator's number says how tightly it holds."""

    def __init__(self, found: list[Token], depth: int) -> None:
        self._tokens, self._position, self._depth = found, 0, depth

    @property
    def at_end(self) -> bool:
        return self._next.kind == "end"

    @property
    def _next(self) -> Token:
        return self._tokens[self._position]

    def take(self, operator: str) -> bool:
        """Go past `operator` if it is next."""
        if self._next.kind == "op" and self._next.text == operator:
            self._position += 1
            return True
        return False

    def finish(self) -> None:
        """Refuse whatever is left."""
        if not self.at_end:
            raise CalculationError(f"'{self._next.text}' is not expected where it stands")

    def expression(self, tightness: int) -> Value:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise CalculationError(f"the brackets are nested more than {MAX_DEPTH} deep; split it up")
        left = self._suffixed(self._operand())
        while True:
            operator = self._operator()
            if operator is None or _BINARY[operator] <= tightness:
                break
            if operator != "(":  # 2(3 + 4): the operand begins with the bracket
                self._position += 1
            hold = _BINARY[operator] - (operator in ("^", "of"))
            left = self._suffixed(_apply(operator, left, self.expression(hold)))
        self._depth -= 1
        return left

    def _operator(self) -> str | None:
        token = self._next
        if token.kind == "call":
            return "("
        if token.kind == "number":
            before = self._tokens[self._position - 1].text
            raise CalculationError(f"nothing stands between '{before}' and '{token.text}'; write what to do with them")
        return token.text if token.kind == "op" and token.text in _BINARY else None

    def _operand(self) -> Value:
        token = self._next
        self._position += 1
        if token.kind == "number":
            return Value(token.value)
        if token.kind == "call":
            return Value(_call(token.text, token.inner, self._depth))
        if token.text == "(":
            value = self.expression(0)
            if not self.take(")"):
                raise CalculationError("a bracket is not closed; add the missing ')'")
            return Value(value.number)
        if token.text in ("-", "+"):
            value = self.expression(_NEGATION)
            return value._replace(number=-value.number) if token.text == "-" else value
        if token.text == "half":
            return Value(self.expression(_BINARY["of"] - 1).number / 2)
        raise CalculationError(f"a number is missing before '{token.text}'" if token.text else "a number is missing")

    def _suffixed(self, value: Value) -> Value:
        while True:
            if self.take("%"):
                if self._next.kind in ("number", "call") or self._next.text == "(":
                    raise CalculationError("'%' before a number is unclear; write 15% of 200, or 15 mod 200")
                value = Value(value.number / 100, percent=True)
            elif self.take("^2"):
                value = Value(value.number**2)
            elif self.take("^3"):
                value = Value(value.number**3)
            else:
                return value


def _apply(operator: str, left: Value, right: Value) -> Value:
    a, b = left.number, right.number
    match operator:
        case "+" | "-":
            if right.percent and not left.percent:
                b = a * b  # 200 + 15% is 230
            return Value(a + b if operator == "+" else a - b, left.percent and right.percent)
        case "*" | "(":
            return Value(a * b)
        case "/":
            if not b:
                raise CalculationError("that divides by zero, which has no result")
            return Value(a / b)
        case "mod":
            if not b:
                raise CalculationError("that divides by zero, which has no result")
            return Value(a - b * (a / b).to_integral_value(rounding="ROUND_FLOOR"))
        case "of":
            if not left.percent:
                raise CalculationError("'of' is understood after a percentage, as in 15% of 200")
            return Value(a * b)
        case _:
            return Value(_power(a, b))


def _power(base: Decimal, exponent: Decimal) -> Decimal:
    if base < 0 and exponent != exponent.to_integral_value():
        raise CalculationError("a negative number has no such root")
    if not base and exponent <= 0:
        raise CalculationError("zero to the power of zero or less has no result")
    size = abs(base.adjusted() + 1) * abs(exponent)
    if size > 10 * MAX_DIGITS or abs(exponent) > 10_000:
        raise CalculationError(f"that power is too large or too small: it has more than {MAX_DIGITS} digits")
    return base**exponent


def _call(name: str, inner: str, depth: int) -> Decimal:
    if depth > MAX_DEPTH:
        raise CalculationError(f"the brackets are nested more than {MAX_DEPTH} deep; split it up")
    values = _listed(inner, depth) if name in _LIST else [_whole_one(part, depth) for part in _split(inner)]
    if name in _LIST and not values and name != "count":
        raise CalculationError(f"there are no numbers in '{' '.join(inner.split())[:60]}'")
    return _FUNCTIONS[name](values)


def _listed(inner: str, depth: int) -> list[Decimal]:
    """Return the numbers of a list's text: calculations between commas, or else whatever numbers it holds."""
    if "\n" in inner.strip():
        return numbers_in(inner)
    if not inner.strip():
        return []
    try:
        return [_whole_one(part, depth) for part in _split(inner, words=True)]
    except CalculationError:
        if re.search(r"[*^+()]", inner) or not re.search(r"[^\W\d_]|\d\s+-?\d", inner):
            raise
        return numbers_in(inner)


def _whole_one(text: str, depth: int) -> Decimal:
    parser = _Parser(tokens(text), depth)
    value = parser.expression(0)
    parser.finish()
    return value.number


def _split(inner: str, *, words: bool = False) -> list[str]:
    """Return what stands between the commas; `1,234, 5` has thousands, `1,234` and `1,200,300` are lists."""
    if re.search(r"\d,\s|;", inner) or (words and re.search(r"\band\b", inner)):
        inner = re.sub(r"(?<![\d,])\d{1,3}(?:,\d{3})+(?![\d,]\d)", lambda match: match[0].replace(",", ""), inner)
    parts, depth, start = [], 0, 0
    separator = re.compile(r"[(),;]|\band\b" if words else r"[(),;]", re.IGNORECASE)
    for match in separator.finditer(inner):
        depth += (match[0] == "(") - (match[0] == ")")
        if not depth and match[0] not in "()":
            parts.append(inner[start : match.start()])
            start = match.end()
    return [part for part in (*parts, inner[start:]) if part.strip()]


def _single(values: list[Decimal], name: str) -> Decimal:
    if len(values) != 1:
        raise CalculationError(f"{name} takes one number, not {len(values)}")
    return values[0]


def _square_root(values: list[Decimal]) -> Decimal:
    value = _single(values, "sqrt")
    if value < 0:
        raise CalculationError("a negative number has no square root among the real numbers")
    return value.sqrt()


def _rounded(values: list[Decimal]) -> Decimal:
    if len(values) not in (1, 2):
        raise CalculationError("round takes a number and how many decimals, as in round(3.14159, 2)")
    places = values[1] if len(values) == 2 else Decimal(0)
    if places != places.to_integral_value() or abs(places) > 30:
        raise CalculationError("round takes a whole number of decimals, at most 30")
    if values[0].adjusted() + places >= MAX_DIGITS - 1:
        return values[0]
    return values[0].quantize(Decimal(1).scaleb(-int(places)), rounding=ROUND_HALF_UP)


def _median(values: list[Decimal]) -> Decimal:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


_FUNCTIONS: dict[str, Callable[[list[Decimal]], Decimal]] = {
    "sum": lambda values: sum(values[1:], values[0]),
    "mean": lambda values: sum(values[1:], values[0]) / len(values),
    "min": min,
    "max": max,
    "count": lambda values: Decimal(len(values)),
    "median": _median,
    "sqrt": _square_root,
    "abs": lambda values: abs(_single(values, "abs")),
    "round": _rounded,
}
