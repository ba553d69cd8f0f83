"""Cuts a calculation into numbers, operators and function calls; knows the words people use for them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

MAX_DIGITS = 50
MAX_TOKENS = 1_000


class CalculationError(ValueError):
    """This cannot be worked out; the message is a sentence that says why."""


class Token(NamedTuple):
    """A number, an operator, a call or the end."""

    kind: str  # "number" | "op" | "call" | "end"
    text: str
    value: Decimal = Decimal(0)
    inner: str = ""  # of a call: what stands between its brackets, as it is


FUNCTIONS = {
    "sum": "sum", "total": "sum", "add": "sum",
    "mean": "mean", "average": "mean", "avg": "mean",
    "min": "min", "minimum": "min", "smallest": "min", "lowest": "min",
    "max": "max", "maximum": "max", "largest": "max", "highest": "max", "biggest": "max",
    "count": "count", "median": "median", "sqrt": "sqrt", "abs": "abs", "round": "round",
}  # fmt: skip

_OPERATORS = {
    r"(?:to\s+the\s+power\s+of)\b|\*\*|\^": "^",
    r"(?:(?:is\s+)?divided\s+by|over)\b|[/÷]": "/",
    r"(?:multiplied\s+by|times)\b|[*×·⋅]|x(?=\s*[\d(.$])": "*",
    r"plus\b|\+": "+",
    r"(?:minus|less)\b|[-−–]": "-",
    r"(?:percent|per\s+cent|pct)\b|%": "%",
    r"squared\b|²": "^2",
    r"cubed\b|³": "^3",
    r"half\s+of\b": "half",
    r"(?:modulo|mod)\b": "mod",
    r"of\b": "of",
    r"and\b|,|;": ",",
    r"\(": "(",
    r"\)": ")",
}
_OPERATOR = re.compile("|".join(f"({pattern})" for pattern in _OPERATORS), re.IGNORECASE)
_OPERATOR_NAMES = tuple(_OPERATORS.values())
_NUMBER = re.compile(
    r"(?:\d{1,3}(?:,\d{3})+(?![\d,])|\d+)(?:\.\d*)?(?:e[+-]?\d+(?![\w.]))?|\.\d+(?:e[+-]?\d+(?![\w.]))?", re.I
)
_TIGHT_COMMA = re.compile(r"(?<=\d),(?=\d)")
_WORD = re.compile(r"[a-z]+(?:['’][a-z]+)?", re.IGNORECASE)
_CALL = re.compile(rf"({'|'.join(FUNCTIONS)})\s*\(", re.IGNORECASE)
_FILLERS = frozenset({
    "the", "a", "an", "my", "our", "please", "what", "what's", "whats", "is", "calculate", "compute", "evaluate", "for",
    "me", "dollar", "dollars", "euro", "euros", "pound", "pounds", "usd", "eur", "gbp", "together", "up", "equals",
    "equal",
})  # fmt: skip
_ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 10**6, "billion": 10**9}
_SMALL = {word: n for n, word in enumerate(_ONES)} | {word: 10 * n for n, word in enumerate(_TENS, 2)}
_WRITTEN = re.compile(
    rf"(?:{'|'.join([*_TENS, *sorted(_ONES, key=len, reverse=True), *_SCALES])})(?![a-z])", re.IGNORECASE
)


def tokens(text: str) -> list[Token]:
    """Return the tokens of a calculation, the end included.

    Raises:
        CalculationError: something in it is no part of a calculation.
    """
    found: list[Token] = []
    for token in _scan(text):
        if len(found) >= MAX_TOKENS:
            raise CalculationError(f"the calculation has more than {MAX_TOKENS:,} parts; split it up")
        found.append(token)
    return [*found, Token("end", "the end")]


def closing(text: str, start: int) -> int:
    """Return where the bracket that is open before `start` closes."""
    depth = 1
    for position in range(start, len(text)):
        depth += (text[position] == "(") - (text[position] == ")")
        if not depth:
            return position
    raise CalculationError("a bracket is not closed; add the missing ')'")


def _scan(text: str) -> Iterator[Token]:
    position = 0
    while position < len(text):
        rest_starts = position
        if text[position].isspace() or text[position] in "$€£¥₹\"'`":
            position += 1
            continue
        if call := _CALL.match(text, position):
            end = closing(text, call.end())
            yield Token("call", FUNCTIONS[call[1].lower()], inner=text[call.end() : end])
            position = end + 1
            continue
        if number := _NUMBER.match(text, position):
            position = number.end()
            value, position = _scaled(_literal(number[0]), text, position)
            yield Token("number", text[rest_starts:position].strip(), value)
            continue
        if _WRITTEN.match(text, position):
            value, position = _written(text, position)
            yield Token("number", text[rest_starts:position].strip(), value)
            continue
        if operator := _OPERATOR.match(text, position):
            name = _OPERATOR_NAMES[(operator.lastindex or 1) - 1]
            if operator[0] == "," and _TIGHT_COMMA.match(text, position):
                raise CalculationError(f"the comma in '{_around(text, position)}' is unclear; write 1.5, or sum(1, 5)")
            position = operator.end()
            yield Token("op", name)
            continue
        word = _WORD.match(text, position)
        if word is None:
            raise CalculationError(f"'{text[position]}' is no part of a calculation")
        if word[0].lower().replace("’", "'") not in _FILLERS:
            raise CalculationError(
                f"'{word[0][:40]}' is no part of a calculation; use numbers, + - * / ^ % and sum(...)"
            )
        position = word.end()


def _literal(text: str) -> Decimal:
    value = Decimal(text.replace(",", "").rstrip("."))
    if len(value.as_tuple().digits) > MAX_DIGITS or abs(value.adjusted()) > MAX_DIGITS:
        raise CalculationError(f"the number {text[:20]}... has more than {MAX_DIGITS} digits")
    return value


def _scaled(value: Decimal, text: str, position: int) -> tuple[Decimal, int]:
    """Return `value` times the scale word that follows: 2 million."""
    match = re.compile(rf"\s+({'|'.join(_SCALES)})s?(?![a-z])", re.IGNORECASE).match(text, position)
    return (value * _SCALES[match[1].lower()], match.end()) if match else (value, position)


def _written(text: str, position: int) -> tuple[Decimal, int]:
    """Return the number that is written out at `position`: two hundred and five."""
    total = group = 0
    last = ""
    while match := _WRITTEN.match(text, position):
        word = match[0].lower()
        if word == "hundred":
            group = (group or 1) * 100
        elif word in _SCALES:
            total, group = total + (group or 1) * _SCALES[word], 0
        elif last and last not in _SCALES and not (last in _TENS and _SMALL[word] < 10):
            break  # "two three" are two numbers
        else:
            group += _SMALL[word]
        last, position = word, match.end()
        joint = re.compile(r"(?:\s*-\s*|\s+)(?:and\s+)?" if word in _SCALES else r"\s*-\s*|\s+", re.I).match(
            text, position
        )
        if joint is None or not _WRITTEN.match(text, joint.end()):
            break
        position = joint.end()
    return Decimal(total + group), position


def _around(text: str, position: int) -> str:
    return text[max(position - 8, 0) : position + 9].strip()
