"""Numbers that are written out in English: `fifty`, `twenty-five`, `two hundred and six`, `a thousand`."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["spoken_numbers"]

_UNITS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SMALL = {word: n for n, word in enumerate(_UNITS)} | {word: 10 * n for n, word in enumerate(_TENS, 2)}
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000}
_POINT = "the this that which each every another other any same first last next new old"  # before `one`, which is no number then
_POINTING = frozenset(_POINT.split())
_WORD = re.compile(r"[a-z]+|[^a-z\s-]+")  # a sign ends a number; a hyphen joins


@lru_cache(maxsize=256)
def spoken_numbers(text: str) -> tuple[int, ...]:
    """Return the numbers that words of `text` say, in their order; `a` counts as one before hundred, thousand and million.

    Only words: digits are left to whoever reads digits. `half`, ordinals and other languages are not read.
    """
    words = _WORD.findall(text.lower())
    found: list[int] = []
    place = 0
    while place < len(words):
        value, place_after = _number(words, place)
        if place_after == place:
            place += 1
            continue
        if words[place:place_after] != ["one"] or not place or words[place - 1] not in _POINTING:
            found.append(value)
        place = place_after
    return tuple(found)


def _number(words: list[str], start: int) -> tuple[int, int]:
    """Return the number that begins at `start` and the place after it; the same place where none does."""
    total, part, place, open_to = 0, 0, start, 0  # `open_to`: what may still be added is below it
    while place < len(words):
        word = words[place]
        if word in ("a", "and"):
            following = words[place + 1] if place + 1 < len(words) else ""
            joins = following in _SCALES if word == "a" else place > start and _adds(following, open_to)
            if not joins or (word == "a" and place > start):
                break
            part, place = (1 if word == "a" else part), place + 1
            open_to = 0 if word == "a" else open_to
            continue
        if word in _SCALES:
            scale = _SCALES[word]
            if place == start or part == 0 or part >= scale:
                break
            if scale == 100:
                part, open_to = part * 100, 100
            else:
                total, part, open_to = total + part * scale, 0, scale
        elif place == start or _adds(word, open_to):
            part += _SMALL.get(word, 0)
            if word not in _SMALL:
                break
            open_to = 10 if word in _TENS else 0
        else:
            break
        place += 1
    return total + part, place


def _adds(word: str, open_to: int) -> bool:
    return 0 < _SMALL.get(word, 0) < open_to
