"""What steps may call: numbers, units, lists, sets, tables, lines of text. The verifier's side; no solver uses it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

__all__ = ["FUNCTIONS", "UNITS"]

Row = Mapping[str, Any]

# In the base unit of each quantity. Definitions of the SI and of the international yard and pound (1959).
UNITS: Mapping[str, tuple[str, Fraction]] = {
    "mm": ("length", Fraction(1, 1000)), "cm": ("length", Fraction(1, 100)), "m": ("length", Fraction(1)),
    "km": ("length", Fraction(1000)), "in": ("length", Fraction(254, 10_000)), "ft": ("length", Fraction(3048, 10_000)),
    "g": ("mass", Fraction(1)), "kg": ("mass", Fraction(1000)), "t": ("mass", Fraction(1_000_000)), "mg": ("mass", Fraction(1, 1000)),
    "ml": ("volume", Fraction(1, 1000)), "cl": ("volume", Fraction(1, 100)), "l": ("volume", Fraction(1)),
    "s": ("time", Fraction(1)), "min": ("time", Fraction(60)), "h": ("time", Fraction(3600)), "days": ("time", Fraction(86_400)),
    "B": ("data", Fraction(1)), "KB": ("data", Fraction(1000)), "MB": ("data", Fraction(10**6)), "GB": ("data", Fraction(10**9)),
}  # fmt: skip


def convert(amount: Any, unit: str, wanted: str) -> Fraction:
    """Return an amount in another unit of the same quantity."""
    quantity, factor = UNITS[unit]
    other, divisor = UNITS[wanted]
    if quantity != other:
        raise ValueError(f"{unit} and {wanted} measure different things")
    return Fraction(amount) * factor / divisor


def rounded(number: Any, places: int) -> Fraction:
    """Return a number with so many decimals, halves away from zero."""
    scaled = abs(Fraction(number)) * 10**places
    whole = math.floor(scaled + Fraction(1, 2))
    return Fraction(whole if number >= 0 else -whole, 10**places)


def ceil(number: Any) -> int:
    """Return the smallest whole number that is not smaller."""
    return math.ceil(Fraction(number))


def mean(numbers: Sequence[Any]) -> Fraction:
    """Return the arithmetic mean."""
    return sum(map(Fraction, numbers), Fraction(0)) / len(numbers)


def median(numbers: Sequence[Any]) -> Fraction:
    """Return the middle of the numbers, or the mean of the two in the middle."""
    order, half = sorted(map(Fraction, numbers)), len(numbers) // 2
    return order[half] if len(order) % 2 else (order[half - 1] + order[half]) / 2


def union(*sets: Sequence[Any]) -> list[Any]:
    """Return what is in any, in order, each once."""
    return sorted({item for one in sets for item in one})


def common(*sets: Sequence[Any]) -> list[Any]:
    """Return what is in all, in order."""
    return sorted({item for item in sets[0] if all(item in other for other in sets[1:])})


def without(one: Sequence[Any], *others: Sequence[Any]) -> list[Any]:
    """Return what is in the first and in none of the others, in order."""
    return sorted({item for item in one if not any(item in other for other in others)})


def unlike(one: Sequence[Any], other: Sequence[Any]) -> list[Any]:
    """Return what is in exactly one of two sets, in order."""
    return sorted({item for item in [*one, *other] if (item in one) != (item in other)})


def unique(items: Sequence[Any]) -> list[Any]:
    """Return each item once, in the order of its first appearance."""
    found: list[Any] = []
    for item in items:
        if item not in found:
            found.append(item)
    return found


def count(items: Sequence[Any] | str, item: Any) -> int:
    """Return how often an item is there."""
    if isinstance(items, str):
        return sum(items.startswith(item, at) for at in range(len(items)))
    return sum(one == item for one in items)


TESTS: Mapping[str, Callable[[Any, Any], bool]] = {
    "is": lambda a, b: a == b,
    "is not": lambda a, b: a != b,
    "over": lambda a, b: a > b,
    "under": lambda a, b: a < b,
    "at least": lambda a, b: a >= b,
    "at most": lambda a, b: a <= b,
}


def where(table: Sequence[Row], column: str, test: str, value: Any) -> list[Row]:
    """Return the rows whose column passes a test: is, is not, over, under, at least, at most."""
    return [row for row in table if TESTS[test](row[column], value)]


def column(table: Sequence[Row], name: str) -> list[Any]:
    """Return one column's values."""
    return [row[name] for row in table]


def most(table: Sequence[Row], name: str) -> Row:
    """Return the row with the largest value of a column.

    Raises:
        ValueError: several have it.
    """
    return _only([row for row in table if all(other[name] <= row[name] for other in table)])


def least(table: Sequence[Row], name: str) -> Row:
    """Return the row with the smallest value of a column.

    Raises:
        ValueError: several have it.
    """
    return _only([row for row in table if all(other[name] >= row[name] for other in table)])


def find(table: Sequence[Row], name: str, value: Any) -> Row:
    """Return the one row whose column has a value.

    Raises:
        ValueError: there is none, or more than one.
    """
    return _only([row for row in table if row[name] == value])


def with_word(lines: Sequence[str], word: str) -> list[str]:
    """Return the lines that hold a word."""
    return [line for line in lines if re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", line)]


def word(line: str, position: int) -> str:
    """Return a line's word number `position`, from 1."""
    return re.split(r"\s+", line.strip())[position - 1]


def words(lines: Sequence[str], position: int) -> list[str]:
    """Return word number `position` of every line."""
    return [word(line, position) for line in lines]


def setting(lines: Sequence[str], key: str) -> str:
    """Return what the last line `key = value` gives a key, or an empty text."""
    found = ""
    for line in lines:
        name, sign, value = line.partition("=")
        if sign and name.strip() == key:
            found = value.strip()
    return found


def keys(lines: Sequence[str]) -> list[str]:
    """Return the keys of lines `key = value`, in order."""
    return [line.partition("=")[0].strip() for line in lines if "=" in line]


def first_of(values: Sequence[str]) -> str:
    """Return the first text that is not empty."""
    return next(value for value in values if value != "")


def number(text: str) -> Fraction:
    """Return the number that begins a text, as in `250ms`."""
    found = re.match(r"-?\d+(?:\.\d+)?", text)
    if found is None:
        raise ValueError(f"{text!r} begins with no number")
    return Fraction(found[0])


def _only(rows: Sequence[Row]) -> Row:
    if len(rows) != 1:
        raise ValueError(f"{len(rows)} rows where there is to be one")
    return rows[0]


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs, "ceil": ceil, "column": column, "common": common, "convert": convert, "count": count, "find": find,
    "first_of": first_of, "keys": keys, "least": least, "len": len, "lower": str.lower, "max": max, "mean": mean, "median": median,
    "min": min, "most": most, "number": number, "reversed": lambda items: items[::-1], "rounded": rounded, "setting": setting,
    "sorted": sorted, "sum": lambda numbers: sum(map(Fraction, numbers), Fraction(0)), "text": str, "union": union, "unique": unique,
    "unlike": unlike, "upper": str.upper, "where": where, "with_word": with_word, "without": without, "word": word, "words": words,
}  # fmt: skip
