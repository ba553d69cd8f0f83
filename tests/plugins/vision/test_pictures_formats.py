"""Every format and mode that is taken shows what was put into it."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

pytest.importorskip("PIL")

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageCms, features

from agentkit.types import Provenance, Trust
from agentkit_vision.pictures import Limits, load
from tests.plugins.vision.picture_files import (
    BLUE,
    GREY_BLUE,
    GREY_RED,
    RED,
    chunk,
    file,
    in_mode,
    png,
    swapped_profile,
    two_halves,
    without_adobe,
)

KEPT = {  # what a format keeps of a mode: nothing lost that matters
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("1", "L", "P"),
    "BMP": ("1", "L", "P", "RGB"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "I;16", "F"),
    "PPM": ("1", "L", "RGB", "I", "I;16", "F"),
    "AVIF": ("RGB", "RGBA"),
}
EXACT = {"PNG", "GIF", "BMP", "TIFF", "PPM"}
PAIRS = [(format_, mode) for format_, modes in KEPT.items() for mode in modes]


def expected(image: Any, mode: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    match mode:
        case "1":
            return (0, 0, 0), (255, 255, 255)
        case "P":
            web = image.convert("P").convert("RGB")
            return web.getpixel((5, 5)), web.getpixel((50, 5))
        case "L" | "LA" | "I" | "I;16" | "F":
            return (GREY_RED,) * 3, (GREY_BLUE,) * 3
        case _:
            return RED, BLUE


@pytest.mark.parametrize(("format_", "mode"), PAIRS)
def test_formats_and_modes(format_: str, mode: str) -> None:
    if format_ == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    image = two_halves()
    stored = Image.fromarray(np.arange(60)[None].repeat(40, 0) >= 30) if mode == "1" else in_mode(image, mode)
    data = file(stored, format_)
    found = load(data)
    left, right = expected(image, mode)
    slack = 3 if format_ not in EXACT or mode in ("YCbCr", "LAB") else 0
    assert np.abs(found.pixels[5, 5].astype(int) - left).max() <= slack
    assert np.abs(found.pixels[5, 50].astype(int) - right).max() <= slack
    assert (found.format, found.size, found.frames) == (format_, (60, 40), 1)
    assert (found.pixels.shape, found.pixels.dtype, found.pixels.flags.writeable) == ((40, 60, 3), np.uint8, False)
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert [note for note in found.notes if "CMYK" not in note] == []


@given(width=st.integers(1, 40), height=st.integers(1, 40), mode=st.sampled_from(KEPT["PNG"]), seed=st.integers(0, 99))
def test_any_size_and_mode_of_a_lossless_format_is_exact(width: int, height: int, mode: str, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    stored = in_mode(Image.fromarray(values), mode)
    shown = np.asarray(stored.convert("RGB")) if mode != "I;16" else np.asarray(stored)[..., None] // 257
    found = load(file(stored, "PNG"))
    assert (found.size, bool((found.pixels == shown).all())) == ((width, height), True)


@given(width=st.integers(1, 700), height=st.integers(1, 700), side=st.integers(1, 64), jpeg=st.booleans())
def test_large_pictures_are_made_smaller_and_keep_their_aspect(width: int, height: int, side: int, jpeg: bool) -> None:
    found = load(file(Image.new("RGB", (width, height), RED), "JPEG" if jpeg else "PNG"), limits=Limits(max_side=side))
    kept_height, kept_width, _ = found.pixels.shape
    assert found.size == (width, height)
    assert max(kept_height, kept_width) == min(side, max(width, height))
    scale = max(kept_width, kept_height) / max(width, height)
    assert abs(kept_width - width * scale) < 1
    assert abs(kept_height - height * scale) < 1
    assert np.abs(found.pixels.astype(int) - RED).max() <= 2
    assert any("reduced from" in note for note in found.notes) == (max(width, height) > side)


def test_a_reduced_jpeg_shows_the_same_as_the_whole_one() -> None:
    ramp = np.linspace(0, 255, 1_600).astype(np.uint8)
    picture = Image.fromarray(
        np.stack([np.tile(ramp, (1_200, 1)), np.tile(ramp[:1_200, None], (1, 1_600))] * 2, 2)[..., :3]
    )
    jpeg = load(file(picture, "JPEG", quality=95), limits=Limits(max_side=100))
    lossless = load(file(picture, "PNG"), limits=Limits(max_side=100))
    assert jpeg.pixels.shape == lossless.pixels.shape == (75, 100, 3)
    assert np.abs(jpeg.pixels.astype(int) - lossless.pixels).max() <= 6


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation(format_: str, turn: int) -> None:
    upright = np.zeros((24, 40, 3), np.uint8)
    upright[:12, :20], upright[:12, 20:], upright[12:, :20] = RED, BLUE, (250, 250, 250)
    undo = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90",
            7: "TRANSVERSE", 8: "ROTATE_270"}  # fmt: skip
    stored = Image.fromarray(upright)
    if turn != 1:
        stored = stored.transpose(Image.Transpose[undo[turn]])
    exif = Image.Exif()
    exif[0x0112] = turn
    found = load(file(stored, format_, exif=exif, **({"quality": 100} if format_ in ("JPEG", "WEBP") else {})))
    assert (found.size, found.pixels.shape) == ((40, 24), (24, 40, 3))
    for (y, x), colour in {(4, 4): RED, (4, 30): BLUE, (20, 4): (250,) * 3, (20, 30): (0,) * 3}.items():
        assert np.abs(found.pixels[y, x].astype(int) - colour).max() <= 6
    assert found.notes == (("turned by EXIF",) if turn != 1 else ())
    small = load(file(stored, format_, exif=exif), limits=Limits(max_side=10))
    assert (small.size, small.pixels.shape) == ((40, 24), (6, 10, 3))


def test_nonsense_in_exif_turns_nothing() -> None:
    exif = Image.Exif()
    exif[0x0112] = 99
    assert load(file(two_halves(), "PNG", exif=exif)).notes == ()
    broken = load(file(two_halves(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"))
    assert np.abs(broken.pixels[5, 5].astype(int) - RED).max() <= 3


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "TIFF"])
def test_transparent_parts_are_white(format_: str) -> None:
    image = two_halves().convert("RGBA")
    image.putalpha(Image.fromarray((np.arange(60)[None].repeat(40, 0) < 30).astype(np.uint8) * 255))
    found = load(file(image, format_, **({"lossless": True} if format_ == "WEBP" else {})))
    assert (tuple(found.pixels[5, 5]), tuple(found.pixels[5, 50])) == (RED, (255, 255, 255))
    assert found.notes == ("transparent parts shown on white",)


def test_half_transparent_grey_and_palettes() -> None:
    half = load(file(Image.new("LA", (4, 4), (0, 128)), "PNG"))
    assert set(half.pixels.ravel()) == {127}
    palette = Image.new("P", (2, 1))
    palette.putpalette([*RED, *BLUE])
    palette.putpixel((1, 0), 1)
    for form, options in (
        ("PNG", {"transparency": 1}),
        ("GIF", {"transparency": 1}),
        ("PNG", {"transparency": b"\xff\0"}),
    ):
        found = load(file(palette, form, **options))
        assert found.pixels.tolist() == [[list(RED), [255, 255, 255]]]
        assert found.notes == ("transparent parts shown on white",)


@pytest.mark.parametrize(
    ("bits", "colour", "row", "key", "shown"),
    [
        (8, 0, b"\x10\x20", b"\0\x20", [[16] * 3, [255] * 3]),
        (16, 0, b"\x10\x10\x20\x20", b"\x20\x20", [[16] * 3, [255] * 3]),
        (1, 0, b"\x40", b"\0\x01", [[0] * 3, [255] * 3]),
        (8, 2, b"\x01\x02\x03\x04\x05\x06", b"\0\x04\0\x05\0\x06", [[1, 2, 3], [255] * 3]),
        (16, 2, b"\1\x80\2\0\3\0\xff\xff\x80\x80\0\0", b"\xff\xff\x80\x80\0\0", [[1, 2, 3], [255] * 3]),
    ],
)
def test_a_transparent_colour_of_a_png(bits: int, colour: int, row: bytes, key: bytes, shown: list[list[int]]) -> None:
    found = load(png(2, 1, b"\0" + row, bits=bits, colour=colour, more=chunk(b"tRNS", key)))
    assert found.pixels.tolist() == [shown]


def test_sixteen_bits_a_channel() -> None:
    row = b"\0" + b"".join(value.to_bytes(2, "big") for value in (65_535, 32_896, 0, 257, 514, 771))
    assert load(png(2, 1, row, bits=16)).pixels.tolist() == [[[255, 128, 0], [1, 2, 3]]]
    grey = Image.fromarray(np.array([[0, 128, 129, 32_896, 65_535]], np.uint16))
    assert load(file(grey, "PNG")).pixels[0, :, 0].tolist() == [0, 0, 1, 128, 255]
    inverse = file(grey, "TIFF", tiffinfo={262: 0})
    assert load(inverse).pixels[0, :, 0].tolist() == [255, 255, 254, 127, 0]


def test_wide_ranges_are_stretched_and_told() -> None:
    found = load(file(Image.fromarray(np.array([[-50.0, 0.0, 50.0, np.nan, np.inf, -np.inf]], np.float32)), "TIFF"))
    assert found.pixels[0, :, 0].tolist() == [0, 128, 255, 0, 255, 0]
    assert found.notes == ("brightness stretched from its range, -50 to 50",)
    whole = load(file(Image.fromarray(np.array([[0, 1_000_000]], np.int32)), "TIFF"))
    assert whole.pixels[0, :, 0].tolist() == [0, 255]
    flat = load(file(Image.fromarray(np.full((2, 2), 7.0, np.float32)), "TIFF"))
    assert flat.pixels.max() == 0
    edges = np.array([[-3.4e38, 3.4e38]], np.float32)
    assert load(file(Image.fromarray(edges), "TIFF")).pixels[0, :, 0].tolist() == [0, 255]
    nothing = load(file(Image.fromarray(np.full((2, 2), np.nan, np.float32)), "TIFF"))
    assert nothing.pixels.max() == 0


def test_cmyk_with_and_without_adobe_s_inversion() -> None:
    cmyk = two_halves().convert("CMYK")
    adobe = load(file(cmyk, "JPEG"))
    plain = load(without_adobe(file(ImageChops.invert(cmyk), "JPEG")))
    for found in (adobe, plain):
        assert np.abs(found.pixels[5, 5].astype(int) - RED).max() <= 6
        assert np.abs(found.pixels[5, 50].astype(int) - BLUE).max() <= 6
        assert found.notes == ("CMYK without a colour profile, so the colours are approximate",)


def test_colour_profiles() -> None:
    swapped = load(file(two_halves(), "PNG", icc_profile=swapped_profile()))
    assert swapped.notes == ("colours converted from its own profile to sRGB",)
    assert np.abs(swapped.pixels[5, 5].astype(int) - RED[::-1]).max() <= 2
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = load(file(two_halves(), "PNG", icc_profile=srgb))
    assert (tuple(plain.pixels[5, 5]), plain.notes) == (RED, ())
    grey = load(file(two_halves().convert("L"), "PNG", icc_profile=srgb))
    assert (tuple(grey.pixels[5, 5]), grey.notes) == ((GREY_RED,) * 3, ())
    broken = load(file(two_halves(), "PNG", icc_profile=b"no profile at all"))
    assert (tuple(broken.pixels[5, 5]), broken.notes) == (RED, ("its colour profile could not be used",))
    other = load(file(two_halves().convert("CMYK"), "TIFF", icc_profile=srgb))
    assert "its colour profile is for other colours, and was not used" in other.notes


@pytest.mark.parametrize("format_", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_first_frame_of_several(format_: str) -> None:
    if format_ == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    frames = [Image.new("RGB", (20, 10), colour) for colour in (RED, BLUE, (0, 255, 0))]
    found = load(file(frames[0], format_, save_all=True, append_images=frames[1:]))
    assert np.abs(found.pixels.astype(int) - RED).max() <= 4
    assert (found.frames, found.notes) == (3, (f"first of 3 {'pages' if format_ == 'TIFF' else 'frames'}",))


def test_an_animation_cut_short_after_its_first_frame_shows_that() -> None:
    frames = [Image.fromarray(np.random.default_rng(n).integers(0, 256, (40, 40, 3), np.uint8)) for n in range(3)]
    data = file(frames[0], "GIF", save_all=True, append_images=frames[1:])
    found = load(data[: len(data) * 2 // 3])
    assert found.size == (40, 40)
    assert found.frames in (1, 2)


def test_whose_words_it_may_hold() -> None:
    data = file(two_halves(), "PNG")
    assert load(data).provenance == Provenance(source="image:bytes", trust=Trust.UNTRUSTED)
    mine = Provenance(source="user", trust=Trust.TRUSTED)
    assert load(data, provenance=mine).provenance == mine
