"""Queries to search pictures by, in words: `red shoes`, and from a picture onwards: `three like it but blue`.

Each says which labels a hit has to have. Drawn by the seed and the index, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from agentkit_vision.world.templates import Split
from agentkit_vision.world.wording import asked_about
from agentkit_vision.world.words import (
    ABSENT,
    MIXED,
    NOUN,
    SPREAD,
    Labels,
    Vocabulary,
    number_word,
    plain_value,
    plural,
    roles,
    with_article,
)

__all__ = ["Change", "Query", "change", "query"]

_BEGUN: Mapping[Split, tuple[str, ...]] = {
    "train": ("", "", "", "find ", "show me ", "pictures of ", "photos of ", "i want "),
    "test": ("", "search for ", "images with ", "get me "),
}  # fmt: skip
_LIKE: Mapping[Split, tuple[str, ...]] = {
    "train": (
        "{n}like it but {new}", "{n}like this but {new}", "the same but {new}", "something like it, but {new}",
        "find {n}like it but {new}", "{n}like this one, only {new}", "similar but {new}", "show me {n}like that but {new}",
    ),
    "test": ("{n}similar to it, only {new}", "look for {n}like this one but {new}", "the same thing but {new}"),
}  # fmt: skip
_AT = {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom", "centre": "in the centre"}  # fmt: skip
FIXED = {"count", "position"}  # roles that nobody asks to have changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Words to search by; `wanted` are the labels that a hit has."""

    text: str
    wanted: Labels = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Words that go with a picture: what is wanted is like it but for what is `changed`.

    Attributes:
        text: `three like it but blue`.
        changed: attribute -> the new value.
        wanted: the picture's labels with the change.
        count: how many are asked for; None where nobody said.
    """

    text: str
    changed: Labels
    wanted: Labels
    count: int | None = None


def query(labels: Labels, *, seed: int, index: int, split: Split = "train") -> Query:
    """Return a query that a picture with these labels answers: a noun, mostly, and one or two other attributes."""
    rng = Random(f"query/{seed}/{index}/{split}")
    named = roles(tuple(labels))
    asked = [name for name in asked_about(labels) if named[name] != "count" or labels[name] != "1"]
    nouns = [name for name in asked if named[name] == NOUN][:1] if rng.random() < 0.85 else []
    others = [name for name in asked if named[name] != NOUN]
    chosen = {*nouns, *rng.sample(others, min(len(others), rng.choice((0, 1, 1, 2) if nouns else (1, 2))))}
    wanted = {name: labels[name] for name in labels if name in chosen}
    noun = plain_value(labels[nouns[0]]) if nouns else "thing"
    return Query(text=rng.choice(_BEGUN[split]) + _worded(wanted, noun, named, rng), wanted=wanted)


def change(labels: Labels, vocabulary: Vocabulary, *, seed: int, index: int, split: Split = "train") -> Change:
    """Return a wish for something like a picture with one attribute changed.

    Raises:
        ValueError: no attribute has another value.
    """
    rng = Random(f"change/{seed}/{index}/{split}")
    named = roles(tuple(labels))
    unsaid = ABSENT | {MIXED, SPREAD}
    choices = {
        name: found
        for name in asked_about(labels)
        if named[name] not in FIXED
        and (
            found := [one for one in vocabulary.get(name, ()) if one != labels[name] and plain_value(one) not in unsaid]
        )
    }
    if not choices:
        raise ValueError("no attribute of this picture has another value that could be wished for")
    name = rng.choice(list(choices))
    value = rng.choice(choices[name])
    count = rng.choice((None, None, 2, 3, 4, 5))
    like = rng.choice(_LIKE[split])
    some = "" if like.startswith("{n}") else "something "
    text = like.format(n=some if count is None else f"{number_word(str(count))} ", new=_new(named[name], name, value))
    said = None if count is None or number_word(str(count)) not in text.split() else count
    return Change(text=text, changed={name: value}, wanted={**labels, name: value}, count=said)


def _worded(wanted: Labels, noun: str, named: Mapping[str, str], rng: Random) -> str:
    """Return the wanted labels as a phrase: in the plural, with a number, or with an article."""
    told = {named[name]: plain_value(value) for name, value in wanted.items()}
    before = [told[role] for role in ("size", "texture", "colour") if role in told]
    several = "count" in told or rng.random() < 0.6
    words = " ".join([*before, plural(noun) if several else noun])
    phrase = f"{number_word(told['count'])} {words}" if "count" in told else words if several else with_article(words)
    phrase += f" {_AT.get(told['position'], told['position'])}" if "position" in told else ""
    phrase += f" on {told['background']}" if "background" in told else ""
    known = {NOUN, "size", "texture", "colour", "count", "position", "background"}
    rest = [f"{plain_value(name)} {plain_value(value)}" for name, value in wanted.items() if named[name] not in known]
    return " with ".join([phrase, *([" and ".join(rest)] if rest else [])])


def _new(role: str, attribute: str, value: str) -> str:
    value = plain_value(value)
    if role == NOUN:
        return with_article(value)
    if role == "background":
        return f"on {value}"
    return value if role in ("colour", "size", "texture") else f"with {plain_value(attribute)} {value}"
