"""What a caption says, read back as attributes, and how well that agrees with the truth.

Reading takes synonyms, plurals and numbers in words or digits. What goes without saying is added where a thing is named at all:
one thing where it stands in the singular, a plain texture, `spread` for several things, and the values of a noun that name nothing.

    attributes_of("three little red shoes on gray", vocabulary)    {"category": "shoe", "colour": "red", "count": "3", ...}
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

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
    same_value,
    singular,
    synonyms,
)

__all__ = ["Scores", "answer_key", "attribute_scores", "attributes_of", "said_pairs", "same_answer"]

UNSAID = ABSENT | {MIXED, SPREAD}  # values that a caption tells by another attribute, or not at all
_BEFORE = re.compile(r"^(?:it is|its|they are|theyre|there are|there is|this is|these are|on|in|at|an|a|the)\s+")


@dataclass(frozen=True, slots=True)
class Scores:
    """How well pairs of attribute and value were found, all pairs counted alike (micro average).

    Attributes:
        precision: share of the pairs said that are true; 1 where nothing was said.
        recall: share of the true pairs that were said; 1 where there was nothing to say.
        f1: their harmonic mean, `2 TP / (2 TP + FP + FN)`.
        by_attribute: attribute -> its own F1.
        pairs: true pairs.
    """

    precision: float
    recall: float
    f1: float
    by_attribute: Mapping[str, float]
    pairs: int


def attributes_of(caption: str, vocabulary: Vocabulary) -> dict[str, str]:
    """Return what a caption says: attribute -> value of the vocabulary; attributes that it does not mention are left out.

    A background is what something is `on`, or what is called a background. A value that follows its attribute's name
    (`material wood`) is that attribute's. Of several values of one attribute the first one said counts.
    """
    text = f" {_words(caption)} "
    named = roles(tuple(vocabulary))
    found: dict[str, str] = {}
    for name, role in named.items():
        label = re.escape(plain_value(name))
        patterns = [rf" {label} (?:is )?{{}}(?= )"]
        if role == "background":
            patterns += [
                r" on (?:an? |the )?{}(?: background)?(?= )",
                r" (?:an? )?{} background(?= )",
                r" background (?:is )?{}(?= )",
            ]
        for pattern in patterns:
            hit, rest = _taken(text, pattern, _forms(role, vocabulary[name]))
            if hit is not None:
                found[name], text = hit, rest
                break
    several = False
    for name, role in named.items():
        if name in found or role == "background":
            continue
        forms = _forms(role, vocabulary[name])
        hit, _ = _taken(text, " {}(?= )", forms)
        if hit is None:
            continue
        found[name] = hit
        if role == NOUN:
            several = not re.search(rf" (?:{_either(_singulars(vocabulary[name]))})(?= )", text)
    return _implied(found, vocabulary, named, several=several)


def said_pairs(labels: Labels) -> set[tuple[str, str]]:
    """Return the pairs that a caption is to say: all but what is mixed, and what another attribute tells."""
    return {(name, value) for name, value in labels.items() if plain_value(value) not in UNSAID}


def attribute_scores(told: Iterable[tuple[Labels, Labels]]) -> Scores:
    """Return how well attributes were found.

    Args:
        told: for each picture what was said (`attributes_of`) and the truth.
    """
    right, said, true = Counter[str](), Counter[str](), Counter[str]()
    for found, truth in told:
        mine, theirs = said_pairs(found), said_pairs(truth)
        right.update(name for name, _ in mine & theirs)
        said.update(name for name, _ in mine)
        true.update(name for name, _ in theirs)
    hits, claims, facts = right.total(), said.total(), true.total()
    return Scores(
        precision=hits / claims if claims else 1.0,
        recall=hits / facts if facts else 1.0,
        f1=_f1(hits, claims, facts),
        by_attribute={name: _f1(right[name], said[name], true[name]) for name in true},
        pairs=facts,
    )


def answer_key(text: str) -> str:
    """Return what is compared of an answer: `A shoe.`, `shoes` and `it is a shoe` are one, and so are `3` and `three`."""
    plain = _words(text)
    while (short := _BEFORE.sub("", plain)) != plain:
        plain = short
    return number_word(same_value(singular(plain)) if plain not in ("yes", "no") else plain)


def same_answer(said: str, truth: str) -> bool:
    """Return whether two answers are the same but for articles, plurals, synonyms, numbers and punctuation."""
    return answer_key(said) == answer_key(truth)


def _implied(
    found: dict[str, str], vocabulary: Vocabulary, named: Mapping[str, str], *, several: bool
) -> dict[str, str]:
    """Return what was found, and what goes without saying once a thing is named."""
    nouns = [name for name, role in named.items() if role == NOUN]
    if not any(name in found for name in nouns):
        return {name: found[name] for name in vocabulary if name in found}
    for name in nouns:
        empty = [value for value in vocabulary[name] if plain_value(value) in ABSENT]
        if name not in found and empty:
            found[name] = empty[0]
    for name, role in named.items():
        if name in found:
            continue
        if role == "count" and not several and "1" in vocabulary[name]:
            found[name] = "1"
        if role == "texture" and "plain" in vocabulary[name]:
            found[name] = "plain"
    many = any(role == "count" and found.get(name, "1") != "1" for name, role in named.items())
    for name, role in named.items():
        if role == "position" and name not in found and many and SPREAD in vocabulary[name]:
            found[name] = SPREAD
    return {name: found[name] for name in vocabulary if name in found}


def _taken(text: str, pattern: str, forms: Mapping[str, str]) -> tuple[str | None, str]:
    """Return the value whose form comes first in a pattern, and the text without it."""
    if not forms:
        return None, text
    found = re.search(pattern.replace("{}", f"(?P<value>{_either(forms)})"), text)
    if found is None:
        return None, text
    return forms[found["value"]], text[: found.start()] + text[found.end() :]


def _either(forms: Iterable[str]) -> str:
    return "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))


def _forms(role: str, values: Iterable[str]) -> dict[str, str]:
    """Return how a value may be said -> the value; a value's own name is never another's synonym."""
    told = [value for value in values if plain_value(value) not in UNSAID]
    forms: dict[str, str] = {}
    for value in told:
        plain = _words(value)
        ways = [plain, *synonyms(plain)]
        if role == "count":
            ways += [number_word(plain)]
        if role == NOUN:
            ways += [plural(way) for way in ways]
        forms |= {way: value for way in ways if way not in forms}
    return {**forms, **{_words(value): value for value in told}}


def _singulars(values: Iterable[str]) -> list[str]:
    return [way for value in values for way in (_words(value), *synonyms(_words(value)))]


def _words(text: str) -> str:
    """Return the words of a text in lower case, without apostrophes, a space between them."""
    return " ".join(
        re.findall(r"[^\W_]+", text.lower().replace("'", "").replace("\N{RIGHT SINGLE QUOTATION MARK}", ""))
    )


def _f1(right: int, said: int, true: int) -> float:
    return 2 * right / (said + true) if said + true else 1.0
