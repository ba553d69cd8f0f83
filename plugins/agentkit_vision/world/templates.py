"""Wordings of questions, each list twice: those to train on, and those that are kept for testing.

Slots: `{the}` is `it`, `the shoe`, `they` or `the shoes`; `{is}`, `{does}` and `{has}` agree with it; `{thing}` is the noun, in the
plural for several, `{things}` always in the plural, `{singular}` never; `{value}` is a value, `{a}` a noun with its article, `{one}`
and `{other}` are two values; `{at}` is a place; `{attribute}` is an attribute's name.

No wording tells the answer: a question about what a thing is does not name it, and one that counts is always in the plural.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

__all__ = ["CHOICE", "OPEN", "ORDERS", "YES_NO", "Split", "Templates", "polite", "wordings"]

Split = Literal["train", "test"]


class Templates(NamedTuple):
    """Wordings that mean the same."""

    train: tuple[str, ...]
    test: tuple[str, ...]


OPEN: Mapping[str, Templates] = {
    "noun": Templates(
        (
            "what is in the picture", "what is it", "what is this", "what is shown here", "what can you see", "what do you see",
            "what is in the photo", "what object is this", "what kind of thing is it", "what kind of thing is in the picture",
            "what is in this image", "which product is this", "what does the picture show", "name the thing in the picture",
            "what am i looking at", "tell me what this is", "what's this", "what's in the picture", "what type of thing is shown",
        ),
        (
            "what does the photo show", "what product is in the image", "what sort of thing is this", "what's shown in the picture",
            "can you tell me what it is", "which thing is in the photo",
        ),
    ),
    "colour": Templates(
        (
            "what colour {is} {the}", "which colour {is} {the}", "what color {is} {the}", "which color {is} {the}",
            "what is the colour of the {thing}", "what is the color of the {thing}", "tell me the colour of the {thing}",
            "what's the colour of the {thing}", "what colour {does} the {thing} have", "what is its colour", "what's its color",
            "in what colour {is} {the}", "name the colour", "what colour", "say what colour {the} {is}",
        ),
        (
            "can you tell me what colour {the} {is}", "which colour {does} the {thing} have", "what color do you see on the {thing}",
            "what's the color of the {thing}", "tell me which color {the} {is}", "what colour would you say {the} {is}",
        ),
    ),
    "size": Templates(
        (
            "how big {is} {the}", "how large {is} {the}", "what size {is} {the}", "which size {is} {the}",
            "what is the size of the {thing}", "tell me the size of the {thing}", "what's the size", "what is its size",
            "what size {does} the {thing} have", "say how big {the} {is}", "what size",
        ),
        (
            "can you tell me how big {the} {is}", "how big would you say {the} {is}", "what's the size of the {thing}",
            "tell me what size {the} {is}", "which size {does} the {thing} have",
        ),
    ),
    "count": Templates(
        (
            "how many {things} are there", "how many {things} are in the picture", "how many {things} can you see",
            "how many {things} do you see", "how many things are there", "how many are there", "count the {things}",
            "what is the number of {things}", "how many {things} does the picture show", "how many {things} are shown",
            "how many", "tell me how many {things} there are", "say how many {things} you see", "how many objects are there",
        ),
        (
            "can you count the {things}", "how many {things} are in the photo", "what number of {things} is shown",
            "how many things do you see in the picture", "count the things in the image", "how many {things} does the image have",
        ),
    ),
    "position": Templates(
        (
            "where {is} {the}", "where in the picture {is} {the}", "on which side {is} {the}", "what is the position of the {thing}",
            "where can i find the {thing}", "where {is} the {thing} in the image", "tell me where {the} {is}",
            "in which part of the picture {is} {the}", "what is its position", "where do you see the {thing}", "where",
        ),
        (
            "can you tell me where {the} {is}", "in what part of the image {is} {the}", "where in the photo {is} {the}",
            "what's the position of the {thing}", "which part of the picture {is} {the} in",
        ),
    ),
    "texture": Templates(
        (
            "what pattern {is} on {the}", "which pattern {does} the {thing} have", "what is the pattern of the {thing}",
            "what texture {does} the {thing} have", "what pattern", "what is the texture of the {thing}", "what pattern is it",
            "what pattern do you see", "tell me the pattern of the {thing}", "what's the pattern", "which texture {is} {the}",
            "is there a pattern, and which", "what kind of pattern {does} the {thing} have", "what is its pattern",
        ),
        (
            "can you tell me which pattern the {thing} {has}", "which pattern do you see on the {thing}",
            "what sort of pattern is this", "what's the texture of the {thing}", "tell me what pattern it has",
        ),
    ),
    "background": Templates(
        (
            "what colour is the background", "what color is the background", "what is the background", "which background is it",
            "what is behind the {thing}", "what colour is behind the {thing}", "on what background {is} {the}",
            "what is the colour of the background", "which colour is the background", "tell me the background",
            "what's the color of the background", "what is {the} on", "name the background",
        ),
        (
            "can you tell me the colour of the background", "what color is behind the {thing}", "which background do you see",
            "what background {is} {the} on", "tell me what colour the background is",
        ),
    ),
    "": Templates(
        (
            "what is the {attribute}", "what's the {attribute}", "which {attribute} is it", "what {attribute} is it",
            "what is the {attribute} of the {thing}", "what {attribute} {does} the {thing} have", "tell me the {attribute}",
            "which {attribute} does it have", "what {attribute}", "name the {attribute}", "what is its {attribute}",
        ),
        (
            "can you tell me the {attribute}", "what would you say is the {attribute}", "tell me which {attribute} it is",
            "what's the {attribute} of the {thing}", "which {attribute} {does} the {thing} have",
        ),
    ),
}  # fmt: skip

YES_NO: Mapping[str, Templates] = {
    "noun": Templates(
        (
            "is it {a}", "is this {a}", "is there {a} in the picture", "does the picture show {a}", "do you see {a}",
            "is that {a}", "is {a} in the photo", "can you see {a}", "is {a} shown here", "tell me whether it is {a}", "tell me if this is {a}",
        ),
        ("does the image show {a}", "is there {a} here", "would you say it is {a}", "is {a} in the image"),
    ),
    "count": Templates(
        (
            "are there {value} {things}", "are there {value} things in the picture", "do you see {value} {things}",
            "does the picture show {value} {things}", "are {value} {things} shown", "is the number of {things} {value}",
            "tell me whether there are {value} {things}", "tell me if you see {value} {things}",
        ),
        ("can you see {value} {things}", "does the image have {value} {things}", "are {value} things in the photo"),
    ),
    "one": Templates(
        (
            "is there one {singular}", "is there just one {singular} in the picture", "do you see only one {singular}",
            "does the picture show one {singular}", "is only one {singular} shown", "is there a single {singular}",
            "tell me whether there is one {singular}", "tell me if you see only one {singular}",
        ),
        ("can you see just one {singular}", "does the image have one {singular}", "is there only one thing in the photo"),
    ),
    "position": Templates(
        (
            "{is} {the} {at}", "do you see the {thing} {at}", "is there something {at}", "{is} the {thing} {at} of the picture",
            "tell me whether {the} {is} {at}", "tell me if the {thing} {is} {at}",
        ),
        ("can you see the {thing} {at}", "is anything {at}", "{is} {the} {at} in the photo"),
    ),
    "background": Templates(
        (
            "is the background {value}", "is it on {value}", "{is} {the} on {value}", "is there a {value} background",
            "is it {value} behind the {thing}", "does the picture have a {value} background", "tell me whether the background is {value}",
            "tell me if it is on {value}",
        ),
        ("does it have a {value} background", "would you say the background is {value}", "is it shown on {value}"),
    ),
    "": Templates(
        (
            "{is} {the} {value}", "is the {attribute} {value}", "would you call the {thing} {value}",
            "is its {attribute} {value}", "do you see something {value}", "{is} the {thing} {value} or not", "tell me whether {the} {is} {value}",
            "tell me if the {thing} {is} {value}", "say whether the {attribute} is {value}",
        ),
        ("would you say {the} {is} {value}", "do you think {the} {is} {value}", "can you see that {the} {is} {value}"),
    ),
}  # fmt: skip

CHOICE: Mapping[str, Templates] = {
    "noun": Templates(
        ("is it {one} or {other}", "is this {one} or {other}", "{one} or {other}", "which is it, {one} or {other}", "do you see {one} or {other}"),
        ("would you say it is {one} or {other}", "what does the picture show, {one} or {other}"),
    ),
    "count": Templates(
        ("are there {one} or {other}", "are there {one} or {other} {things}", "do you see {one} or {other} {things}", "{one} or {other} {things}"),
        ("can you see {one} or {other} {things}", "is the number {one} or {other}"),
    ),
    "": Templates(
        (
            "{is} {the} {one} or {other}", "is the {attribute} {one} or {other}", "which {attribute} is it, {one} or {other}",
            "{one} or {other}", "what is the {attribute}, {one} or {other}",
        ),
        ("would you say the {attribute} is {one} or {other}", "is its {attribute} {one} or {other}"),
    ),
}  # fmt: skip


ORDERS: Mapping[str, tuple[str, ...]] = {
    "tell me ": (
        "please tell me ", "could you tell me ", "could you please tell me ", "can you please tell me ", "can you say ", "would you tell me ",
        "do you know ", "i would like to know ", "i want to know ", "i'd like you to tell me ",
    ),
    "say ": ("please say ", "could you say ", "can you please say ", "i would like to know ", "do you know "),
    "name ": ("please name ", "could you name ", "can you please name ", "would you name ", "i want you to name "),
    "count ": ("please count ", "could you count ", "can you please count ", "would you count ", "i want you to count "),
}  # fmt: skip
"""What orders begin with -> how people ask for the same politely. To train on: the test's wordings have beginnings of their own."""


def polite(templates: Sequence[str]) -> tuple[str, ...]:
    """Return every order among wordings, with every polite beginning."""
    return tuple(
        beginning + text.removeprefix(order)
        for text in templates
        for order, beginnings in ORDERS.items()
        if text.startswith(order)
        for beginning in beginnings
    )


def wordings(forms: Mapping[str, Templates], role: str, split: Split) -> tuple[str, ...]:
    """Return the wordings for a role and a split; the general ones where the role has none of its own."""
    found = forms.get(role, forms[""])
    return found.train if split == "train" else found.test
