"""Captions of pictures, and questions about them with their answers, from labels alone.

What is said depends on the labels, the seed and the index, and on nothing else. Wordings for training and for testing are apart.

    canonical(labels)                                  "a small striped red shoe, left, on white"
    caption(labels, seed=0, index=7)                   "on white, there is a little red shoe with stripes on the left"
    questions(labels, vocabulary, seed=0, index=7)     [Question(text="Which color is the shoe?", answer="red", ...), ...]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from agentkit_vision.world.templates import CHOICE, OPEN, ORDERS, YES_NO, Split, Templates, polite, wordings
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
    thing_of,
    with_article,
)

__all__ = ["Form", "Question", "answer_of", "asked_about", "canonical", "caption", "question", "questions", "typed"]

_Wording = Callable[[str], str]
Form = Literal["open", "yes_no", "choice"]
FORMS: tuple[Form, ...] = ("open", "yes_no", "choice")
PLAIN = "plain"  # a texture that goes without saying
_AT = {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom", "centre": "in the centre"}  # fmt: skip
_MORE_AT = {
    "left": ("on the left side", "to the left"), "right": ("on the right side", "to the right"), "top": ("near the top", "up at the top"),
    "bottom": ("near the bottom", "down at the bottom"), "centre": ("in the middle", "in the center"),
}  # fmt: skip
_SAID = {
    "small": ("small", "little", "tiny"), "large": ("large", "big"), "medium": ("medium", "medium-sized"),
    "grey": ("grey", "gray"), "dotted": ("dotted", "spotted"), "checked": ("checked", "checkered"), "striped": ("striped", "stripy"),
}  # fmt: skip
_WITH = {"striped": "with stripes", "dotted": "with dots", "checked": "with checks"}
_ORDERS = (*ORDERS, "please ", "i ", "i'd ")
_POLITE = 0.2  # share of questions to train on that begin politely; choices do not
_BEGUN = ("", "", "there is ", "a picture of ", "this is ", "a photo of ", "i see ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question about a picture.

    Attributes:
        text: as people type it.
        answer: short, in lower case.
        attribute: what it is about.
        form: open, yes_no (the answer is `yes` or `no`), or choice (the answer is one of the two that are named).
        split: whose wording it is.
    """

    text: str
    answer: str
    attribute: str
    form: Form
    split: Split


def canonical(labels: Labels) -> str:
    """Return the caption in its one fixed form: `a small striped red shoe, left, on white`, without a full stop.

    Left out is what goes without saying: a plain texture, and the place of several things. Attributes that have no place
    in it follow by name: `, material wood`.
    """
    said = _Said(labels)
    words = [*said.before(lambda value: value), said.noun()]
    place = said.place()
    parts = [said.counted(words), *([place] if place else []), *said.others()]
    ground = said.background()
    return ", ".join([*parts, *([f"on {ground}"] if ground else [])])


def caption(labels: Labels, *, seed: int, index: int) -> str:
    """Return the caption in one of many wordings, drawn by the seed and the index; it says what `canonical` says."""
    rng = Random(f"caption/{seed}/{index}")
    said = _Said(labels)
    texture = said.value("texture")
    after = texture in _WITH and rng.random() < 0.3
    words = [*said.before(lambda value: rng.choice(_SAID.get(value, (value,))), texture=not after), said.noun()]
    text = said.counted(words, digits=rng.random() < 0.2) + (f" {_WITH[texture]}" if after else "")
    place = said.place()
    if place:
        at = rng.choice((_at(place), *_MORE_AT.get(place, ())))
        text += rng.choice((f", {at}", f" {at}", f", {place}"))
    text = ", ".join([text, *said.others()])
    begun = rng.choice(_BEGUN)
    if said.several and begun in ("there is ", "this is "):
        begun = "there are "
    ground = said.background()
    if not ground:
        return begun + text
    ground = rng.choice(_SAID.get(ground, (ground,)))
    if rng.random() < 0.15:
        return f"on {ground}, {begun}{text}"
    text += rng.choice((f", on {ground}", f" on {ground}", f" on a {ground} background", f", {ground} background"))
    return begun + text


def asked_about(labels: Labels) -> list[str]:
    """Return the attributes that can be asked about: those that a picture shows, each value said by one attribute only.

    Not asked about is what is mixed, the place of several things, and an attribute that names nothing (a product's shape
    `none`, the category `shape` of a shape).
    """
    named = roles(tuple(labels))
    found = []
    for name, role in named.items():
        value = plain_value(labels[name])
        if (
            value == MIXED
            or not value
            or (role == NOUN and value in ABSENT)
            or (role == "position" and value == SPREAD)
        ):
            continue
        found.append(name)
    return found


def answer_of(labels: Labels, attribute: str) -> str:
    """Return the answer to an open question: the value in lower case, a number up to twelve in words."""
    return number_word(plain_value(labels[attribute]))


def questions(
    labels: Labels, vocabulary: Vocabulary, *, seed: int, index: int, split: Split = "train", forms: Sequence[Form] = FORMS
) -> list[Question]:  # fmt: skip
    """Return a question of every form about every attribute of a picture; see `question`."""
    return [
        question(labels, vocabulary, name, form=form, seed=seed, index=index, split=split)
        for name in asked_about(labels)
        for form in forms
        if form == "open" or _others(labels, vocabulary, name)
    ]


def question(
    labels: Labels,
    vocabulary: Vocabulary,
    attribute: str,
    *,
    form: Form = "open",
    seed: int,
    index: int,
    split: Split = "train",
) -> Question:
    """Return one question about one attribute.

    Args:
        labels: of the picture.
        vocabulary: the values that wrong alternatives are drawn from.
        attribute: one of `asked_about`.
        form: yes_no and choice need another value; `yes` is the answer to half of them.
        seed, index: what wording and alternatives are drawn by.
        split: whose wordings.
    """
    rng = Random(f"question/{seed}/{index}/{attribute}/{form}/{split}")
    role = roles(tuple(labels))[attribute]
    truth = plain_value(labels[attribute])
    slots = _slots(labels, attribute, role, rng)
    if form == "open":
        return _asked(_wordings(OPEN, role, split, rng), slots, number_word(truth), attribute, form, split, rng)
    other = rng.choice(_others(labels, vocabulary, attribute))
    shown = (lambda value: with_article(value)) if role == NOUN else number_word
    if form == "choice":
        pair = [truth, other]
        rng.shuffle(pair)
        if all(value.isdigit() for value in pair):
            pair.sort(key=int)
        pair = [shown(value) for value in pair]
        slots |= {"one": pair[0], "other": pair[1]}
        return _asked(wordings(CHOICE, role, split), slots, number_word(truth), attribute, form, split, rng)
    right = rng.random() < 0.5
    value = truth if right else other
    slots |= {"value": number_word(value), "a": with_article(value), "at": _at(value)}
    slots["singular"] = thing_of(labels)
    if role == "count" and value == "1":
        role = "one"
    return _asked(_wordings(YES_NO, role, split, rng), slots, "yes" if right else "no", attribute, form, split, rng)


def typed(text: str, rng: Random) -> str:
    """Return a question as people type it: with a capital or without, with a question mark or without."""
    roll = rng.random()
    if text.startswith(_ORDERS):
        return text if roll < 0.5 else f"{text[:1].upper()}{text[1:]}{'.' if roll < 0.75 else ''}"
    if roll < 0.35:
        return text
    if roll < 0.55:
        return f"{text}?"
    return f"{text[:1].upper()}{text[1:]}{'?' if roll < 0.9 else ''}"


def _wordings(forms: Mapping[str, Templates], role: str, split: Split, rng: Random) -> tuple[str, ...]:
    """Return wordings; now and then polite ones, to train on."""
    found = wordings(forms, role, split)
    return polite(found) if split == "train" and rng.random() < _POLITE else found


def _asked(
    templates: Sequence[str], slots: dict[str, str], answer: str, attribute: str, form: Form, split: Split, rng: Random
) -> Question:
    text = typed(rng.choice(templates).format_map(slots), rng)
    return Question(text=text, answer=answer, attribute=attribute, form=form, split=split)


def _slots(labels: Labels, attribute: str, role: str, rng: Random) -> dict[str, str]:
    """Return what the slots stand for; the noun does not name what is asked for."""
    noun = "thing" if role == NOUN else thing_of(labels)
    several = _Said(labels).several
    named = f"the {plural(noun) if several else noun}"
    the = rng.choice((("they" if several else "it"), named))
    return {
        "the": the, "thing": plural(noun) if several else noun, "things": plural(noun), "is": "are" if several else "is",
        "does": "do" if several else "does", "has": "have" if several else "has", "attribute": plain_value(attribute),
    }  # fmt: skip


def _others(labels: Labels, vocabulary: Vocabulary, attribute: str) -> list[str]:
    """Return the values that a picture could have instead; of nouns those of all attributes that name things."""
    role, truth = roles(tuple(labels))[attribute], plain_value(labels[attribute])
    alike = [name for name, one in roles(tuple(vocabulary)).items() if one == role] if role == NOUN else [attribute]
    values = dict.fromkeys(plain_value(value) for name in alike for value in vocabulary.get(name, ()))
    unsaid = ABSENT | {MIXED, SPREAD}
    return [value for value in values if value != truth and value not in unsaid]


def _at(place: str) -> str:
    return _AT.get(place, f"at {place}")


class _Said:
    """What a caption says of labels, part by part."""

    def __init__(self, labels: Labels) -> None:
        self._labels, self._roles = labels, roles(tuple(labels))
        count = self.value("count")
        self.several = count.isdigit() and int(count) != 1

    def value(self, role: str) -> str:
        """Return the value of the first attribute with a role, or an empty string; `mixed` says nothing."""
        name = next((name for name, one in self._roles.items() if one == role), None)
        value = "" if name is None else plain_value(self._labels[name])
        return "" if value == MIXED else value

    def before(self, said: _Wording, *, texture: bool = True) -> list[str]:
        """Return the words before the noun: size, texture, colour."""
        names = ("size", "texture", "colour") if texture else ("size", "colour")
        found = [self.value(name) for name in names]
        return [said(value) for value in found if value and value != PLAIN]

    def noun(self) -> str:
        """Return the noun, in the plural for several things."""
        noun = thing_of(self._labels)
        return plural(noun) if self.several else noun

    def counted(self, words: Sequence[str], *, digits: bool = False) -> str:
        """Return the words with their number, or with an article."""
        count = self.value("count")
        if self.several:
            return " ".join([count if digits else number_word(count), *words])
        return with_article(" ".join(words))

    def place(self) -> str:
        """Return where it is; several things are nowhere in particular."""
        place = self.value("position")
        return "" if place == SPREAD else place

    def background(self) -> str:
        """Return what it is on."""
        return self.value("background")

    def others(self) -> list[str]:
        """Return the attributes that have no place of their own, by name."""
        known = {NOUN, "size", "texture", "colour", "count", "position", "background"}
        extra = [(name, plain_value(self._labels[name])) for name, role in self._roles.items() if role not in known]
        nouns = [name for name, role in self._roles.items() if role == NOUN]
        spoken = thing_of(self._labels)
        extra += [
            (name, value)
            for name in nouns
            if (value := plain_value(self._labels[name])) not in ABSENT | {spoken, MIXED}
        ]
        return [f"{plain_value(name)} {value}" for name, value in extra if value]
