"""Templates and ways of saying things: alternatives, optional parts, politeness, case.

A phrasing that begins with `*` belongs to test, with `+` to dev, else to training; the same holds for values.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from random import Random
from typing import Any
from zlib import crc32

from agentkit_synthesis.conversation import Split

_MARKS: dict[str, Split] = {"*": "test", "+": "dev"}
_CHOICE = re.compile(r"\(([^()]*\|[^()]*)\)")
_OPTION = re.compile(r"\[([^\[\]]*)\]")
SLOT = re.compile(r"\{(\w+)\}")

BEFORE = (
    "hey, ", "hi, ", "please ", "can you ", "could you ", "I need you to ", "ok, ", "so, ", "quick one: ", "hello, ",
    "would you ", "hi there, ", "next: ", "also, ", "right, ", "good morning, ", "please, ", "well, ", "um, ",
    "I have a question. ", "I'm in a hurry. ", "it's for work: ", "one thing: ", "listen, ", "ok so ", "hey! ",
    "*kindly ", "*one more thing: ", "*if you don't mind, ", "+good evening, ", "+excuse me, ",
)  # fmt: skip
AFTER = (
    " please", ", please", "?", "!", ".", " thanks", ", thanks", " now", " for me", "? thanks", ". Thank you", " asap",
    ", ok?", " if you can", "...", "* when you get a moment", "*, cheers", "+ right away", "+, will you",
)  # fmt: skip


@cache
def data(name: str) -> Mapping[str, Any]:
    """Return a data file of this package, read once."""
    return tomllib.loads(resources.files("agentkit_synthesis").joinpath("data", name).read_text(encoding="utf-8"))


@cache
def of_split(marked: tuple[str, ...], split: Split) -> tuple[str, ...]:
    """Return the entries of a marked list that belong to `split`, without their marks."""
    chosen = tuple(e.lstrip("*+") for e in marked if _MARKS.get(e[:1], "train") == split)
    return chosen or tuple(e for e in marked if e[:1] not in _MARKS)


def pick(rng: Random, marked: Sequence[str], split: Split) -> str:
    """Return one entry of `split` from a marked list."""
    return rng.choice(of_split(tuple(marked), split))


def share_of(text: str) -> Split:
    """Return the split that owns a generated value or task: by rule, so the three never meet."""
    share = crc32(text.lower().encode()) % 8
    return "test" if share == 3 else "dev" if share == 5 else "train"


def fill(template: str, rng: Random, values: Mapping[str, str], *, options: frozenset[str] = frozenset()) -> str:
    """Return `template` with alternatives chosen, `[optional]` parts kept if in `options`, slots filled."""
    return SLOT.sub(lambda m: values.get(m[1], m[0]), shape(template, rng, options))


def shape(template: str, rng: Random, options: frozenset[str]) -> str:
    """Return `template` with its alternatives chosen and only the wanted optional parts, slots still open."""
    if "[" in template:
        template = _OPTION.sub(lambda m: m[1] if set(SLOT.findall(m[1])) <= options else "", template)
    while "(" in template and _CHOICE.search(template):
        template = _CHOICE.sub(lambda m: rng.choice(m[1].split("|")), template)
    return template


def dress(text: str, rng: Random, split: Split) -> str:
    """Return a request with greetings, endings and case as people type them."""
    roll = rng.random()
    question = text.split(" ", 1)[0].lower().rstrip("'s") in {
        "what", "how", "is", "are", "where", "when", "which", "who", "do", "does", "has", "will", "can", "any", "why",
    }  # fmt: skip
    if roll < 0.28:
        opening = pick(rng, BEFORE, split)
        if question and opening.rstrip().endswith(("you", "to", "kindly", "please")):
            opening = "hey, "
        text = opening + text
    roll = rng.random()
    if roll < 0.25:
        ending = pick(rng, AFTER, split)
        text = text + ("?" if question and ending in {"!", "."} else ending)
    elif roll < 0.5:
        text += "?" if question else "."
    if rng.random() < 0.5 and text[:1].islower() and ("." not in text.split(" ")[0]):
        text = text[0].upper() + text[1:]
    return text


def sentence(text: str) -> str:
    """Return `text` with a capital, unless it begins with a reference, a path, an address or an identifier."""
    first = text.split(" ", 1)[0].rstrip(":,.")
    return text[:1].upper() + text[1:] if first.isalpha() else text
