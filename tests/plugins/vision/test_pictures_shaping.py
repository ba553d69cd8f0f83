"""Pixels in other sizes, and as PNG."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest

pytest.importorskip("PIL")

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from agentkit.errors import InvalidParams
from agentkit_vision.pictures import load, resized, thumbnail, to_png
from tests.plugins.vision.picture_files import BLUE, RED, file, two_halves

SIZES = {"width": st.integers(1, 90), "height": st.integers(1, 90)}


@given(**SIZES, size=st.integers(1, 64), fit=st.sampled_from(["letterbox", "crop"]))
def test_a_square_of_one_colour(width: int, height: int, size: int, fit: Any) -> None:
    pixels = np.full((height, width, 3), RED, np.uint8)
    made = resized(pixels, size, fit=fit, fill=BLUE)
    assert (made.shape, made.dtype, made.flags.c_contiguous) == ((size, size, 3), np.uint8, True)
    inner = max(1, round(width * size / max(width, height))) * max(1, round(height * size / max(width, height)))
    assert int((made == RED).all(2).sum()) == (size * size if fit == "crop" else inner)
    assert int((made == BLUE).all(2).sum()) == (0 if fit == "crop" else size * size - inner)


def test_a_square_of_its_own_size_is_itself() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (17, 17, 3), np.uint8)
    for fit in ("letterbox", "crop"):
        assert (resized(pixels, 17, fit=fit) == pixels).all()  # type: ignore[arg-type]


def test_letterbox_shows_all_and_crop_the_middle() -> None:
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, :10], pixels[:, 10:20], pixels[:, 20:] = RED, BLUE, RED
    boxed = resized(pixels, 30)
    assert (boxed[:10] == 255).all()
    assert (boxed[20:] == 255).all()
    assert (boxed[10:20] == pixels).all()
    assert (resized(pixels, 10, fit="crop") == BLUE).all()
    assert (resized(np.swapaxes(pixels, 0, 1), 10, fit="crop") == BLUE).all()


@given(**SIZES)
def test_png_and_back(width: int, height: int) -> None:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    data = to_png(pixels)
    assert data == to_png(np.asfortranarray(pixels))
    assert (load(data).pixels == pixels).all()


@given(**SIZES, side=st.integers(1, 64))
def test_thumbnails(width: int, height: int, side: int) -> None:
    picture = load(file(Image.new("RGB", (width, height), RED), "PNG"))
    shown = Image.open(BytesIO(thumbnail(picture, side)))
    assert (shown.format, shown.mode) == ("PNG", "RGB")
    assert max(shown.size) == min(side, max(width, height))
    assert (np.asarray(shown) == RED).all()


def test_a_thumbnail_leaves_the_picture_as_it_is() -> None:
    picture = load(file(two_halves(), "PNG"))
    before = picture.pixels.copy()
    thumbnail(picture, 8)
    assert (picture.pixels == before).all()


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_are_no_pixels(pixels: Any) -> None:
    for function in (to_png, lambda wrong: resized(wrong, 8)):
        with pytest.raises(InvalidParams, match=r"/pixels: .* is not \(height, width, 3\) of uint8"):
            function(pixels)


def test_what_are_no_sizes() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(InvalidParams, match="/size: 0"):
        resized(pixels, 0)
    with pytest.raises(InvalidParams, match="/fit: 'stretch' is neither"):
        resized(pixels, 8, fit="stretch")  # type: ignore[arg-type]
    with pytest.raises(InvalidParams, match="/side: -1"):
        thumbnail(load(to_png(pixels)), -1)
