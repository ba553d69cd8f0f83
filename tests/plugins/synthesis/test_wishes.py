"""What people call images: read word by word, and never past a word that means nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.errors import InvalidParams
from agentkit_synthesis.images.renderer import ATTRIBUTES
from agentkit_synthesis.wishes import NAMED, SHAPES, image_wish

SIZES, TEXTURES, COLOURS = ATTRIBUTES["size"], ATTRIBUTES["texture"], ATTRIBUTES["colour"]


def test_the_shapes_are_the_renderers() -> None:
    assert ATTRIBUTES["shape"] == SHAPES


@given(
    st.sampled_from(SIZES), st.sampled_from(TEXTURES), st.sampled_from(COLOURS), st.sampled_from(SHAPES), st.booleans()
)
def test_attributes_are_found(size: str, texture: str, colour: str, shape: str, plural: bool) -> None:
    ending = ("es" if shape.endswith("s") else "s") if plural else ""
    text = f"labelled images of {size} {texture} {colour} {shape}{ending}"
    wish = image_wish(text)
    assert wish.source == "products"
    assert wish.where == {"size": size, "texture": texture, "colour": colour, "shape": shape}
    assert re.search(NAMED, text)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("red circles", {"colour": "red", "shape": "circle"}),
        ("Red Circle", {"colour": "red", "shape": "circle"}),
        ("three big blue stars on a black background", {"count": "3", "size": "large", "colour": "blue", "shape": "star", "background": "black"}),
        ("violet crosses on gray", {"colour": "purple", "shape": "cross", "background": "grey"}),
        ("a heart in the middle", {"shape": "heart", "position": "centre"}),
        ("shapes", {}),
    ],
)  # fmt: skip
def test_products(text: str, where: dict[str, str]) -> None:
    wish = image_wish(text)
    assert (wish.source, wish.where) == ("products", where)


@pytest.mark.parametrize(
    ("text", "where"),
    [("digits", {}), ("handwritten digits", {}), ("sevens", {"digit": "7"}), ("images of the digit 7", {"digit": "7"}), ("sixes", {"digit": "6"})],
)  # fmt: skip
def test_digits(text: str, where: dict[str, str]) -> None:
    wish = image_wish(text)
    assert (wish.source, wish.where) == ("digits", where)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("red cats", "'cat' in 'red cats' is nothing that can be drawn; there are the shapes circle, square"),
        ("red blue circles", "two of one colour: red and blue"),
        ("circles and squares", "two of one shape"),
        ("digit 12", "'12' in 'digit 12' is no digit"),
        ("sevens and eights", "two of one digit: 7 and 8"),
        ("black crosses", "'black'"),
        ("../elsewhere", "'elsewhere'"),
    ],
)
def test_what_cannot_be_made_is_said(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InvalidParams, match=re.escape(told)):
        image_wish(text, tmp_path)


def test_a_folder_of_the_workspace_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "photos" / "shoes").mkdir(parents=True)
    assert image_wish("photos/shoes", tmp_path).source == str(tmp_path / "photos" / "shoes")
    assert re.search(NAMED, "photos/shoes")


@pytest.mark.parametrize("text", ["images", "cats", "please", "200 labelled red circles", "are they any good", ""])
def test_a_decoder_cannot_take_these(text: str) -> None:
    assert not re.search(NAMED, text)
