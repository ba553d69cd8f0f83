"""Reading a query's words: which attribute values it asks for, which it refuses, and which words are unknown.

Knows plain English word forms and a handful of negations ("without", "but not", "no", "instead of"); it is no parser.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from agentkit_vision.nn.words import split

__all__ = ["Reading", "beside", "content", "read_query"]

WORDS = """
    a alike all also an and any are as at be being but by can could d do does else exactly fetch find for from get give i if
    image images in instead is it its just kind like ll locate look looking looks lookalikes m match matches matching me more
    most much must my need of on one ones only or other others otherwise out photo photograph photographs photos pics picture
    pictures please re resemble resembles resembling s same search see should show similar so some something than that the
    their them then there these they thing things this those to up us ve version versions very want wanted was we were what
    where which with would you
"""
STOP = frozenset(WORDS.split())
ASK = """
    but can could fetch find get give i image images it like locate me need one ones photo photos pics picture pictures please
    same search see show similar them these they this those us want would you
"""
ASKING = frozenset(ASK.split())  # before and after what is wanted these are about the search
REFUSING = ("without any", "without", "but not", "and not", "not", "no", "except for", "except", "excluding", "minus", "other than", "instead of", "rather than")  # fmt: skip
OTHER = frozenset({"other", "another", "different"})  # before the name of an attribute
ENDS = frozenset({",", ";", ".", ":", "!", "?", "but", "with", "in", "like"})
NUMBERS = frozenset(["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"])
LIKE = frozenset({"like", "similar", "more", "others", "such", "same", "alike"})
NEAR = 3  # words
_AROUND = ",;.:!?()[]\"' "
_EXCEPT = re.compile(r"\bexcept(?:\s+(?:for|that))?\b", re.IGNORECASE)
_TOKEN = re.compile(r"[^\W_]+|[,;.:!?]")
Phrase = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A query's words, understood.

    Attributes:
        asked: attribute -> values that it names, in their order.
        refused: attribute -> values that it does not want.
        other: attributes that it wants otherwise than a photo has them ("in another colour").
        wanted: its text without what is refused.
        unwanted: what is refused and is no attribute's value, as it was written.
        unknown: words that are no value, no attribute's name and no stop word; empty where the encoder tells no attributes.
    """

    asked: Mapping[str, Sequence[str]] = field(default_factory=dict)
    refused: Mapping[str, Sequence[str]] = field(default_factory=dict)
    other: Sequence[str] = ()
    wanted: str = ""
    unwanted: Sequence[str] = ()
    unknown: Sequence[str] = ()


def read_query(text: str, attributes: Mapping[str, Sequence[str]], *, photo: bool = False) -> Reading:
    """Return what a text asks for.

    Args:
        text: the words.
        attributes: attribute -> values that the encoder tells apart; may be empty.
        photo: whether they go with a photo: "like this except blue" asks for blue, "shoes except blue ones" refuses it.
    """
    text = _EXCEPT.sub("but", text) if photo else text
    told, values = _TOKEN.findall(text.casefold()), _phrases(attributes)
    words = [word for at, word in enumerate(told) if not _says_how_many(told, at)]
    names = {form: name for name in attributes for word in _words(name) for form in _forms(word)}
    asked: dict[str, list[str]] = {}
    refused: dict[str, list[str]] = {}
    wanted, unknown, unwanted = list[str](), list[str](), list[list[str]]()
    at, refusing = 0, False
    while at < len(words):
        if length := _refusal(words, at):
            at, refusing = at + length, True
            unwanted.append([])
            continue
        word = words[at]
        refusing = refusing and word not in ENDS
        value, length = _value(words, at, values)
        if value is not None:
            (refused if refusing else asked).setdefault(value[0], []).append(value[1])
        elif refusing and word not in STOP:
            unwanted[-1].append(word)
        if value is None and word not in STOP | ENDS | OTHER and not _named(word, names):
            unknown.append(word)
        wanted += [] if refusing else words[at : at + length]
        at += length
    return Reading(
        asked={name: tuple(dict.fromkeys(found)) for name, found in asked.items()},
        refused={name: tuple(dict.fromkeys(found)) for name, found in refused.items()},
        other=tuple(
            dict.fromkeys(name for before, word in pairwise(words) if before in OTHER for name in _named(word, names))
        ),
        wanted=re.sub(r" (?=[,;.:!?])", "", " ".join(wanted)).strip(" ,;.:!?"),
        unwanted=tuple(" ".join(phrase) for phrase in unwanted if phrase),
        unknown=tuple(dict.fromkeys(unknown)) if attributes else (),
    )


def beside(reading: Reading, own: Mapping[str, str]) -> Reading:
    """Return what is asked for beside a photo whose attributes are `own`: what is to be other refuses the photo's value."""
    refused = dict(reading.refused)
    for name in reading.other:
        if name in own and name not in reading.asked:
            refused[name] = tuple(dict.fromkeys([*refused.get(name, ()), own[name]]))
    return replace(reading, refused=refused)


def content(text: str, *, like: str | None = None, k: int | None = None) -> str:
    """Return the words of "find 4 like photo.png in blue, please" that say what: "in blue"; nothing where none does.

    Args:
        text: a clause of somebody's request, or words.
        like: a photo that it may name.
        k: a number of pictures that it may name: the first such number says how many are wanted.
    """
    words = (text.replace(like, " ") if like else text).split()
    bare = [word.casefold().strip(_AROUND) for word in words]
    asked = next((at for at, word in enumerate(bare) if k is not None and split(word) == split(str(k))), None)
    if asked is not None:
        del words[asked], bare[asked]
    said = [at for at in range(len(words)) if _says_something(bare, at)] or [len(words)]
    about = [at for at, word in enumerate(bare) if word in ASKING]
    start = max((at + 1 for at in about if at < said[0]), default=0)
    end = min((at for at in about if at > said[-1]), default=len(words))
    kept = words[start:end]
    return "" if all(map(str.isdecimal, kept)) else " ".join(kept).strip(_AROUND)


def _says_something(words: Sequence[str], at: int) -> bool:
    """Whether a word, or the refusal that begins with it, says what is wanted; "another" does before what it is about."""
    if words[at] in OTHER and not _refusal(words, at):
        return at + 1 < len(words) and words[at + 1] not in STOP
    return _refusal(words, at) > 0 or not (words[at] in STOP | ENDS | {""} or words[at].isdecimal())


def _phrases(attributes: Mapping[str, Sequence[str]]) -> dict[Phrase, tuple[str, str]]:
    """Return every form of every value: the first attribute that has a word keeps it."""
    found: dict[Phrase, tuple[str, str]] = {}
    for name, values in attributes.items():
        for value in values:
            *first, last = _words(value) or [""]
            for form in (*_forms(last), *_turned(last)):
                found.setdefault((*first, form), (name, value))
    return found


def _value(
    words: Sequence[str], at: int, values: Mapping[Phrase, tuple[str, str]]
) -> tuple[tuple[str, str] | None, int]:
    """Return the longest value that begins at a word, and how many words it takes."""
    longest = max(map(len, values), default=0)
    if words[at] in STOP and (at + 1 == len(words) or words[at + 1] in STOP | ENDS):
        return None, 1  # "a blue one": no number
    for length in range(min(longest, len(words) - at), 0, -1):
        *first, last = words[at : at + length]
        for form in _forms(last):
            if (*first, form) in values:
                return values[*first, form], length
    return None, 1


def _says_how_many(words: Sequence[str], at: int) -> bool:
    """Return whether a number says how many pictures are wanted, as in "three like it", and not how many things are in one."""
    is_number = words[at] in NUMBERS or words[at].isdecimal()
    return is_number and not LIKE.isdisjoint(words[at + 1 : at + 1 + NEAR])


def _named(word: str, names: Mapping[str, str]) -> list[str]:
    """Return the attribute that a word names, if any."""
    return [names[form] for form in _forms(word) if form in names][:1]


def _refusal(words: Sequence[str], at: int) -> int:
    """Return how many words a negation takes that begins here; 0 for none."""
    for phrase in REFUSING:
        parts = phrase.split()
        if words[at : at + len(parts)] == parts:
            return len(parts)
    return 0


def _turned(word: str) -> Iterator[str]:
    """Yield the nouns of a word such as `dotted`, singular and plural, and the comparative of any: `dots`, `larger`."""
    yield word + ("r" if word.endswith("e") else "er")
    if word.endswith("ed") and len(word) > 5:
        base = word[:-2]
        base = base[:-1] if base[-1] == base[-2] else base
        yield from (base, f"{base}s", f"{base}e", f"{base}es")


def _words(text: str) -> list[str]:
    return [word for word in _TOKEN.findall(text.casefold()) if word[0].isalnum()]


def _forms(word: str) -> tuple[str, ...]:
    """Return a word with its singulars and its plural, and the other spelling of a few."""
    found = [word]
    if len(word) > 3 and word.endswith("ies"):
        found.append(f"{word[:-3]}y")
    if len(word) > 3 and word.endswith(("ses", "xes", "zes", "ches", "shes")):
        found.append(word[:-2])
    if len(word) > 2 and word.endswith("s") and not word.endswith("ss"):
        found.append(word[:-1])
    spelt = {"gray": "grey", "grey": "gray", "color": "colour", "colour": "color", "colors": "colour"}
    return (*found, *(spelt[form] for form in found if form in spelt))
