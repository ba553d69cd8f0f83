"""Calls that differ only in how they are worded: "weather in Paris today" and "weather in Paris, today?".

Two calls are near-duplicates if they are of one tool, and every argument is equal or is a text of several words
whose letters are nearly the same (3-grams, Jaccard at least 0.9) and which names the same things: numbers, paths,
addresses. Page 2 is not page 3, and `a/x.py` is not `a/y.py`, however alike they look.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

ALIKE = 0.9
_WORDS = 3  # a text of fewer words is a name
_NAMES = re.compile(r"\S*[\d/\\@:._-]\S*")


def near(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two calls' canonical arguments say the same thing in nearly the same words."""
    return one.keys() == other.keys() and all(_alike(value, other[key]) for key, value in one.items())


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        named = _names(one)
        if one == other or named is None:
            return one == other
        return named == _names(other) and jaccard(_grams(one), _grams(other)) >= ALIKE
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return near(one, other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_alike(a, b) for a, b in zip(one, other, strict=True))
    return type(one) is type(other) and bool(one == other)


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the share of what either holds that both hold."""
    small, large = sorted((len(one), len(other)))
    if small < ALIKE * large:
        return 0.0  # it cannot come to more than small / large
    common = len(one & other)
    return common / (small + large - common) if large else 1.0


@lru_cache(maxsize=1_024)
def _names(text: str) -> frozenset[str] | None:
    """Return the numbers, paths and addresses of a text; None for a text that is a name itself."""
    words = text.split()
    if len(words) < _WORDS:
        return None
    return frozenset(name for word in words if (name := word.strip(".,:;!?()\"'")) and _NAMES.fullmatch(name))


@lru_cache(maxsize=1_024)
def _grams(text: str) -> frozenset[str]:
    plain = " ".join(re.findall(r"\w+", text.casefold()))
    return frozenset(plain[n : n + 3] for n in range(max(1, len(plain) - 2)))
