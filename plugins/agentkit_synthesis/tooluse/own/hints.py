"""What an argument's name, description and examples say about its values, where its schema says nothing.

Guarantees: no tool and no argument is known by name; what counts is what the words and the examples look like.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from agentkit_synthesis.values import value
from agentkit_synthesis.worlds import Cannot, calculate

__all__ = ["examples_of", "is_arithmetic", "pool_of", "varied"]

_SUCH = re.compile(
    r"(?:\bsuch as|\be\.g\.,?|\bfor example,?|\bfor instance,?|\blike)\s+(.+?)(?:[.;](?=\s|$)|$)", re.IGNORECASE
)
_QUOTED = re.compile(r"[`'\"“](.+?)[`'\"”](?=[\s,.;)]|$)")
_TAIL = re.compile(r"\s+(?:for|where|which|that|when|if)\s.*$")
_ARITHMETIC = re.compile(r"\b(arithmetic|formula|sums?|maths?|mathematical|calculations?|calculate)\b", re.IGNORECASE)
_OPERATOR = re.compile(
    r"\d\s+[-+*/^]\s+\(?\d|\d\s*[*^]\s*\(?\d|\d\+\d|\d\s*%\s*of|\)\s*[-+*/^]|\b[a-z]+\(\s*\d"
)  # no date, no telephone number
_WORDS = re.compile(r"[a-z]+")
POOLS: Mapping[str, str] = {
    "city": "city", "town": "city", "place": "city", "location": "city", "destination": "city", "origin": "city",
    "person": "person", "author": "person", "customer": "person", "employee": "person", "owner": "person", "recipient": "person",
    "user": "person", "who": "person",
    "email": "@email", "mail": "@email", "phone": "@phone", "telephone": "@phone", "path": "@path", "file": "@path",
    "filename": "@path", "folder": "folder",
    "directory": "folder", "url": "url", "link": "url", "website": "url", "title": "title", "subject": "subject",
    "topic": "topic", "query": "term", "search": "term",
    "keyword": "term", "word": "word", "item": "item", "product": "product", "article": "product", "room": "room",
    "event": "event", "song": "song", "artist": "artist",
    "book": "book", "language": "language", "currency": "currency", "company": "company", "service": "service", "host": "host",
    "server": "host", "branch": "branch",
    "message": "message", "note": "note", "content": "content", "text": "phrase", "sentence": "phrase", "animal": "animal",
    "color": "color", "colour": "color", "food": "food",
    "command": "command", "id": "@id", "identifier": "@id", "number": "@id", "code": "@code", "name": "person", "unit": "unit",
    "medicine": "medicine", "sport": "sport",
}  # fmt: skip


def examples_of(description: str, schema: Mapping[str, Any]) -> list[str]:
    """Return the values that a description gives as examples, and those of the schema; texts, in order.

    `such as 15% of 200, (3 + 4) * 2, or sum($1) for numbers` gives the first two: what refers to results is no value.
    """
    found = [str(one) for one in schema.get("examples", ()) if isinstance(one, str | int | float)]
    found += _QUOTED.findall(description)
    for told in _SUCH.findall(description):
        if not _QUOTED.search(told):
            found += [_TAIL.sub("", part) for part in re.split(r",\s+(?:or\s+|and\s+)?|\s+or\s+", told)]
    kept = (one.strip().rstrip(",") for one in found)
    return [one for one in dict.fromkeys(kept) if one and "$" not in one and len(one) <= 80]


def is_arithmetic(name: str, description: str, about: str, examples: Sequence[str]) -> bool:
    """Whether an argument is a sum to work out: its examples are, or its words and its tool's say so.

    Args:
        name: the argument's.
        description: the argument's.
        about: the tool's description.
        examples: of the argument.
    """
    if examples:
        return any(_OPERATOR.search(one) and _works(one) for one in examples)
    words = f"{name.replace('_', ' ')} {description}"
    return bool(
        re.search(r"\bexpressions?\b|\bformula\b|\bequation\b", words) and _ARITHMETIC.search(f"{words} {about}")
    )


def pool_of(name: str, description: str) -> str:
    """Return the pool of values that an argument's name, or else its description, stands for; nothing if none."""
    for text in (name, description):
        words = _WORDS.findall(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text).casefold())
        for word in reversed(words) if text is name else words:
            for form in (word, word.removesuffix("s")):
                if form in POOLS:
                    return POOLS[form]
    return ""


def varied(example: str, rng: Random) -> str:
    """Return an example as it is, or with other digits in it."""
    if rng.random() < 0.4 or not re.search(r"\d", example):
        return example
    return re.sub(r"\d", lambda found: found[0] if found[0] == "0" else str(rng.randint(1, 9)), example)


def drawn(pool: str, rng: Random) -> str:
    """Return a value of a pool."""
    return value(pool, rng, "train")


def _works(text: str) -> bool:
    try:
        calculate(text)
    except Cannot:
        return False
    return True
