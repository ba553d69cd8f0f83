"""Texts that match a regular expression, drawn by walking through it.

Covers literals, classes, alternatives, groups, repetitions and anchors. Look-around and back references are refused: what
is drawn is matched in the end, so nothing that does not fit is ever given.
"""

from __future__ import annotations

import re
from random import Random
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

__all__ = ["Undrawable", "matching"]

MORE = 4  # repetitions beyond the least, where there is no most
PRINTABLE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
ANY = PRINTABLE + "-_ "
CATEGORIES = {
    codes.CATEGORY_DIGIT: "0123456789",
    codes.CATEGORY_WORD: PRINTABLE + "_",
    codes.CATEGORY_SPACE: " ",
    codes.CATEGORY_NOT_DIGIT: "abcdefgh",
    codes.CATEGORY_NOT_SPACE: PRINTABLE,
    codes.CATEGORY_NOT_WORD: "-.,",
}


class Undrawable(Exception):
    """No value can be drawn; the message says for what."""


def matching(pattern: str, rng: Random, *, tries: int = 20) -> str:
    """Return a text in which `pattern` is found.

    Raises:
        Undrawable: it is no regular expression, or one with something in it that cannot be drawn.
    """
    try:
        tree, compiled = parser.parse(pattern), re.compile(pattern)
    except (re.error, OverflowError) as error:
        raise Undrawable(f"the pattern {pattern!r} is no regular expression ({error})") from error
    for _ in range(tries):
        text = "".join(_draw(tree, rng, {}))
        if compiled.search(text):
            return text
    raise Undrawable(f"no text was found for the pattern {pattern!r}; give an example or a default")


def _draw(tree: Any, rng: Random, groups: dict[int, str]) -> list[str]:
    out: list[str] = []
    for code, told in tree:
        if code is codes.LITERAL:
            out.append(chr(told))
        elif code is codes.NOT_LITERAL:
            out.append(rng.choice([one for one in PRINTABLE if one != chr(told)]))
        elif code is codes.ANY:
            out.append(rng.choice(ANY))
        elif code is codes.IN:
            out.append(rng.choice(_class(told)))
        elif code in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
            least, most, inner = told
            for _ in range(
                rng.randint(least, min(most, least + MORE) if most is codes.MAXREPEAT else min(most, least + 8))
            ):
                out += _draw(inner, rng, groups)
        elif code is codes.SUBPATTERN:
            found = "".join(_draw(told[-1], rng, groups))
            if told[0] is not None:
                groups[told[0]] = found
            out.append(found)
        elif code is codes.ATOMIC_GROUP:
            out += _draw(told, rng, groups)
        elif code is codes.BRANCH:
            out += _draw(rng.choice(told[1]), rng, groups)
        elif code is codes.GROUPREF:
            out.append(groups.get(told, ""))
        elif code is not codes.AT:
            raise Undrawable(f"a pattern with {str(code).lower()} in it cannot be drawn; give an example or a default")
    return out


def _class(told: Any) -> str:
    """Return the characters of a class; printable ones where it says which are not."""
    found: list[str] = []
    negated = False
    for code, what in told:
        if code is codes.NEGATE:
            negated = True
        elif code is codes.LITERAL:
            found.append(chr(what))
        elif code is codes.RANGE:
            found += [chr(one) for one in range(what[0], min(what[1], what[0] + 200) + 1)]
        elif code is codes.CATEGORY:
            found += CATEGORIES[what]
    if not negated:
        return "".join(found)
    left = [one for one in ANY if one not in found]
    if not left:
        raise Undrawable("a class of characters has nothing printable in it; give an example or a default")
    return "".join(left)
