"""What people call images, as a source and attributes: `small red circles`, `digits`, `handwritten sevens`, `photos/shoes`.

Guarantees: a word that names nothing known is an error that says what there is; none is passed over in silence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agentkit.errors import InvalidParams

__all__ = ["NAMED", "PRODUCTS", "SHAPES", "ImageWish", "image_wish"]

DIGITS, PRODUCTS = "digits", "products"
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SAME = {
    "color": "colour", "gray": "grey", "disc": "circle", "disk": "circle", "rhombus": "diamond", "plus": "cross", "violet": "purple",
    "turquoise": "cyan", "big": "large", "little": "small", "tiny": "small", "center": "centre", "centred": "centre", "middle": "centre",
    "spotted": "dotted", "checkered": "checked", "chequered": "checked", "stripy": "striped", "number": "digit",
    "sixes": "six",
}  # fmt: skip
SHAPES = (
    "circle",
    "square",
    "triangle",
    "star",
    "diamond",
    "ring",
    "cross",
    "heart",
)  # the renderer's, without importing numpy
_THINGS = "|".join(
    f"{word}(es)?" if word.endswith(("s", "x")) else f"{word}s?"
    for word in (*SHAPES, "disc", "disk", "digit", *NUMBERS)
)
NAMED = rf"^(\D|\b\d\b)*\b({_THINGS}|\ds?)$|/"  # words that end in something that can be drawn, or a path
FILLING = frozenset({
    "a", "an", "the", "of", "in", "on", "at", "with", "and", "or", "some", "labelled", "labeled", "label", "image",
    "picture", "photo", "pic", "img", "drawing", "synthetic", "handwritten", "product", "shape", "thing", "object",
    "coloured", "colored", "size", "sized", "written", "different", "random",
})  # fmt: skip
BACKGROUND = re.compile(r"\bon (?:an? )?(\w+)(?: background)?\b|\b(\w+) background\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageWish:
    """A source of images, and the attributes that are asked for."""

    source: str
    where: Mapping[str, str] = field(default_factory=dict)


def image_wish(text: str, workspace: Path | None = None) -> ImageWish:
    """Return what a few words ask for.

    Args:
        text: attributes of products, digits, or a folder of labelled images.
        workspace: where a folder is looked for.

    Raises:
        InvalidParams: a word means nothing here, or two contradict each other.
    """
    folder = _folder(text, workspace)
    if folder is not None:
        return ImageWish(source=str(folder))
    words = [word for word in map(_singular, re.findall(r"[a-z]+|\d+", text.casefold())) if word not in FILLING]
    if words and all(word == "digit" or word in NUMBERS or word.isdigit() for word in words):
        return _digits(text, [word for word in words if word != "digit"])
    return _products(text)


def _products(text: str) -> ImageWish:
    from agentkit_synthesis.images.renderer import ATTRIBUTES  # noqa: PLC0415  numpy; with the first call

    where: dict[str, str] = {}
    lower = text.casefold()
    for found in BACKGROUND.finditer(lower):
        value = SAME.get(found[1] or found[2], found[1] or found[2])
        if value in ATTRIBUTES["background"]:
            _put(where, "background", value, text)
            lower = lower.replace(found[0], " ")
    known = {value: name for name, values in ATTRIBUTES.items() if name != "background" for value in values}
    for word in map(_singular, re.findall(r"[a-z]+|\d+", lower)):
        value = str(NUMBERS.index(word)) if word in NUMBERS else word
        if word in FILLING:
            continue
        if value not in known:
            raise InvalidParams(f"/what: {word!r} in {text!r} is nothing that can be drawn; {_there_is(ATTRIBUTES)}")
        _put(where, known[value], value, text)
    return ImageWish(source=PRODUCTS, where=where)


def _digits(text: str, words: Sequence[str]) -> ImageWish:
    where: dict[str, str] = {}
    for word in words:
        value = str(NUMBERS.index(word)) if word in NUMBERS else word
        if len(value) != 1:
            raise InvalidParams(f"/what: {word!r} in {text!r} is no digit; name one from 0 to 9, or `digits` for all")
        _put(where, "digit", value, text)
    return ImageWish(source=DIGITS, where=where)


def _put(where: dict[str, str], name: str, value: str, text: str) -> None:
    if where.get(name, value) != value:
        raise InvalidParams(f"/what: {text!r} has two of one {name}: {where[name]} and {value}; ask for one at a time")
    where[name] = value


def _folder(text: str, workspace: Path | None) -> Path | None:
    """Return the folder in the workspace that a text names, if it does."""
    name = text.strip()
    if workspace is None or not name:
        return None
    root = workspace.resolve()
    path = (root / name).resolve()
    return path if path != root and path.is_relative_to(root) and path.is_dir() else None


def _singular(word: str) -> str:
    """Return a word in the singular, as the renderer calls it."""
    word = SAME.get(word, word)
    if word.endswith(("xes", "sses")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    return SAME.get(word, word)


def _there_is(attributes: Mapping[str, tuple[str, ...]]) -> str:
    shapes, colours = ", ".join(attributes["shape"]), ", ".join(attributes["colour"])
    return f"there are the shapes {shapes} in {colours}; digits; or a folder of labelled images in the workspace"
