"""How attributes and values are called: roles of attributes, synonyms of values, numbers, plurals, articles."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

__all__ = [
    "ABSENT", "MIXED", "NOUN", "SPREAD", "Labels", "Vocabulary", "number_of", "number_word", "plain_value", "plural", "roles", "same_value",
    "singular", "synonyms", "thing_of", "with_article",
]  # fmt: skip

Labels = Mapping[str, str]  # attribute -> value
Vocabulary = Mapping[str, Sequence[str]]  # attribute -> its values

NOUN = "noun"  # the role of attributes that say what a thing is
ABSENT = frozenset({"", "none", "shape"})  # values of a noun that name nothing: another attribute does
MIXED, SPREAD = "mixed", "spread"  # things that differ; the place of several things

_ROLES: Mapping[str, str] = {
    **dict.fromkeys(("category", "shape", "label", "class", "kind", "object", "product", "item", "animal", "type"), NOUN),
    **dict.fromkeys(("colour", "color"), "colour"),
    **dict.fromkeys(("texture", "pattern"), "texture"),
    **dict.fromkeys(("position", "place", "location"), "position"),
    **dict.fromkeys(("background", "backdrop"), "background"),
    **dict.fromkeys(("count", "number", "quantity"), "count"),
    "size": "size",
}  # fmt: skip
_NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip
_SAME = {
    "gray": "grey", "violet": "purple", "turquoise": "cyan", "big": "large", "little": "small", "tiny": "small", "huge": "large",
    "center": "centre", "centred": "centre", "centered": "centre", "middle": "centre", "spotted": "dotted", "dots": "dotted",
    "stripes": "striped", "stripy": "striped", "stripey": "striped", "checkered": "checked", "chequered": "checked",
    "checks": "checked", "disc": "circle", "disk": "circle", "rhombus": "diamond", "plus": "cross", "boot": "shoe",
    "handbag": "bag", "cup": "mug", "tshirt": "shirt", "tee": "shirt", "seat": "chair", "solid": "plain", "single": "one",
}  # fmt: skip
_IRREGULAR = {"person": "people", "man": "men", "woman": "women", "child": "children", "mouse": "mice", "foot": "feet", "knife": "knives", "fish": "fish", "sheep": "sheep"}  # fmt: skip
_SINGULARS = {many: one for one, many in _IRREGULAR.items()}


def plain_value(value: str) -> str:
    """Return a value as people write it: lower case, with spaces."""
    return " ".join(value.lower().replace("_", " ").split())


def number_word(value: str) -> str:
    """Return a number up to twelve in words; anything else as it is."""
    return _NUMBERS[int(value)] if value.isascii() and value.isdigit() and int(value) < len(_NUMBERS) else value


def number_of(word: str) -> str:
    """Return a number word in digits; anything else as it is."""
    return str(_NUMBERS.index(word)) if word in _NUMBERS else word


def same_value(word: str) -> str:
    """Return the word of the rendered worlds for a synonym: `gray` is `grey`, `spotted` is `dotted`."""
    return _SAME.get(word, word)


def synonyms(value: str) -> tuple[str, ...]:
    """Return other words for a value of the rendered worlds."""
    return tuple(word for word, meant in _SAME.items() if meant == value)


def plural(noun: str) -> str:
    """Return the plural of a noun, by the rules of spelling and a few exceptions."""
    head, _, last = noun.rpartition(" ")
    if last in _IRREGULAR:
        many = _IRREGULAR[last]
    elif re.search(r"(s|x|z|ch|sh)$", last):
        many = f"{last}es"
    elif re.search(r"[^aeiou]y$", last):
        many = f"{last[:-1]}ies"
    else:
        many = f"{last}s"
    return f"{head} {many}".strip()


def singular(word: str) -> str:
    """Return the singular of a word that `plural` may have made; a word without a plural's ending as it is."""
    head, _, last = word.rpartition(" ")
    if last in _SINGULARS:
        one = _SINGULARS[last]
    elif re.search(r"[^aeiou]ies$", last):
        one = f"{last[:-3]}y"
    elif re.search(r"(s|x|z|ch|sh)es$", last):
        one = last[:-2]
    else:
        one = last[:-1] if re.search(r"[^s]s$", last) else last
    return f"{head} {one}".strip()


def with_article(words: str) -> str:
    """Return words with `a` or `an` before them, by their first letter."""
    return f"{'an' if words[:1] in 'aeio' and words else 'a'} {words}"


def roles(attributes: Sequence[str]) -> dict[str, str]:
    """Return attribute -> its role: noun, colour, size, texture, position, background, count, or its own name."""
    return {name: _ROLES.get(name.lower(), name) for name in attributes}


def thing_of(labels: Labels) -> str:
    """Return the noun for what is in a picture; `thing` where no attribute says, or where several things differ."""
    for name, role in roles(tuple(labels)).items():
        if role == NOUN and plain_value(labels[name]) not in ABSENT:
            value = plain_value(labels[name])
            return "thing" if value == MIXED else value
    return "thing"
