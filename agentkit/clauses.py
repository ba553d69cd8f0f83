"""The clauses of what somebody asks for: stretches between marks, or beside `and`, `then` and the like. By words alone, no grammar is read."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["clauses"]

_JOINS = r"(?:and\s+then|and|then|plus|afterwards|after\s+that)"
_CUT = re.compile(
    rf"""
    (?:^|\s*\n)\s*(?:[-*•]\s+|\d+[.)]\s+)                      # an entry of a list
    | \s*\n\s*
    | (?:\s*[,;.:?!]+\s+|\s+[-–—]+\s+|\s+)[(]?{_JOINS}(?:\s*[,:]|\s+also)?\s+
    | \s*[,;.:?!]+\s+also[,:]?\s+
    | (?<![\d)])\s+[&+/|]\s+                                   # between numbers it is a sum
    | (?<=[?!;])\s+ | \s*[,.]+\s+
    """,
    re.IGNORECASE | re.VERBOSE,
)


@lru_cache(maxsize=256)
def clauses(text: str) -> tuple[str, ...]:
    """Return the clauses of a text in their order, without the marks between them; a question mark stays where no conjunction follows.

    A dot in a file's name ends none: room comes after a mark that does. A colon ends none either: what comes before it says what
    the rest is about.
    """
    return tuple(filter(None, map(str.strip, _CUT.split(text))))
