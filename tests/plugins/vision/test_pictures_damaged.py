"""Damaged files, bombs, and files that are something else: always a sentence, never a traceback or a full memory."""

from __future__ import annotations

import struct
import subprocess
import sys
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PIL")

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, features

from agentkit.errors import InvalidParams, UnsupportedPart
from agentkit_vision.pictures import Limits, load
from agentkit_vision.pictures.magic import FORMATS, kind_of
from tests.plugins.vision.picture_files import chunk, file, in_mode, png, swapped_profile, two_halves


def _valid() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    noisy = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "words"
    more = {"exif": exif, "icc_profile": swapped_profile()}
    frames = {"save_all": True, "append_images": [noisy.rotate(180), noisy.rotate(90)]}
    made = {
        "png": file(noisy, "PNG", **more),
        "apng": file(noisy, "PNG", **frames),
        "png-palette": file(noisy.convert("P"), "PNG", transparency=3),
        "png-16": file(in_mode(noisy, "I;16"), "PNG"),
        "jpeg": file(noisy, "JPEG", **more),
        "jpeg-progressive": file(noisy, "JPEG", progressive=True),
        "jpeg-cmyk": file(noisy.convert("CMYK"), "JPEG"),
        "mpo": file(noisy, "MPO", **frames),
        "webp": file(noisy, "WEBP", **more),
        "webp-lossless": file(noisy.convert("RGBA"), "WEBP", lossless=True, **frames),
        "gif": file(noisy, "GIF", **frames),
        "bmp": file(noisy, "BMP"),
        "tiff": file(noisy, "TIFF", **more),
        "tiff-lzw": file(noisy, "TIFF", compression="tiff_lzw"),
        "tiff-jpeg": file(noisy, "TIFF", compression="jpeg"),
        "tiff-deflate": file(in_mode(noisy, "F"), "TIFF", compression="tiff_adobe_deflate"),
        "tiff-fax": file(noisy.convert("1"), "TIFF", compression="group4"),
        "tiff-lab": file(in_mode(noisy, "LAB"), "TIFF"),
        "ppm": file(noisy, "PPM"),
        "ppm-plain": b"P3\n2 2\n255\n" + b"10 20 30 " * 4,
        "pfm": file(in_mode(noisy, "F"), "PPM"),
    }
    if features.check("avif"):
        made["avif"] = file(noisy, "AVIF", **more)
    return made


VALID = _valid()


def told(data: bytes, **limits: int) -> str:
    """What is said of a file that may be damaged; nothing where it is shown all the same."""
    message = ""
    try:
        found = load(data, limits=Limits(**{"max_pixels": 1_000_000, "max_side": 64, **limits}))
    except (InvalidParams, UnsupportedPart) as error:
        message = str(error)
    else:
        assert found.pixels.dtype == np.uint8
        assert max(found.pixels.shape) <= 64
    assert not message or ("'bytes'" in message and "\n" not in message)
    return message


@pytest.mark.parametrize("name", VALID)
def test_the_files_themselves_are_good(name: str) -> None:
    assert told(VALID[name]) == ""


@given(
    name=st.sampled_from(sorted(VALID)),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), min_size=1, max_size=12),
    in_head=st.booleans(),
)
def test_flipped_bits(name: str, flips: list[tuple[float, int]], in_head: bool) -> None:
    data = bytearray(VALID[name])
    reach = min(len(data), 200) if in_head else len(data)
    for place, bit in flips:
        data[int(place * reach)] ^= 1 << bit
    told(bytes(data))


@pytest.mark.parametrize("name", VALID)
def test_every_byte_of_the_head_broken_once(name: str) -> None:
    data = VALID[name]
    for at in range(min(len(data), 120)):
        for value in (0, 0xFF, data[at] ^ 0x80):
            told(data[:at] + bytes([value]) + data[at + 1 :])


@given(name=st.sampled_from(sorted(VALID)), part=st.floats(0, 1))
def test_files_cut_short(name: str, part: float) -> None:
    told(VALID[name][: int(part * len(VALID[name]))])


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "bmp", "tiff", "tiff-lzw", "ppm", "pfm"])
def test_half_a_file_is_said_to_be_damaged(name: str) -> None:
    assert "is damaged or cut short" in told(VALID[name][: len(VALID[name]) // 2])


@given(data=st.binary(max_size=300), start=st.sampled_from([value[:16] for value in VALID.values()] + [b""]))
@example(data=b"", start=b"")
def test_any_bytes(data: bytes, start: bytes) -> None:
    told(start + data)


@given(data=st.binary(max_size=600))
def test_the_kind_of_any_bytes(data: bytes) -> None:
    kind = kind_of(data)
    assert kind.format in ("", *FORMATS)
    assert bool(kind.format) <= kind.is_picture


BOMBS = {
    "PNG": png(60_000, 60_000, b""),
    "APNG": png(60_000, 60_000, b"", more=chunk(b"acTL", struct.pack(">II", 2, 0))),
    "BMP": b"BM" + struct.pack("<IHHI", 100, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 60_000, 60_000, 1, 24, *[0] * 6),
    "GIF": b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0) + b",\0\0\0\0" + struct.pack("<HHB", 60_000, 60_000, 0) + b"\x08\0;",
    "PPM": b"P6 60000 60000 255\n" + bytes(100),
    "WEBP": b"RIFF" + struct.pack("<I", 100) + b"WEBPVP8X" + struct.pack("<II", 10, 0) + b"\xfe\x3f\0" * 2 + bytes(100),
    "JPEG": VALID["jpeg"].replace(b"\x08\0\x18\0\x20\x03", b"\x08\xea\x60\xea\x60\x03", 1),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_by_their_header(name: str) -> None:
    began = _peak()
    for sides in ({}, {"max_pixels": 200_000_000}):
        with pytest.raises(InvalidParams, match="pixels that may be decoded; make it smaller, or raise max_pixels"):
            load(BOMBS[name], limits=Limits(**sides))
    assert _peak() - began < 200_000  # kilobytes; the pixels would be ten gigabytes


def _peak() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_the_size_is_said() -> None:
    assert "60,000 x 60,000 pixels, more than the 50,000,000" in told(BOMBS["PNG"], max_pixels=50_000_000)


def test_the_limit_is_exact() -> None:
    data = file(Image.new("RGB", (100, 50)), "PNG")
    assert told(data, max_pixels=5_000) == ""
    assert "100 x 50" in told(data, max_pixels=4_999)


def test_a_tile_larger_than_its_tiff() -> None:
    made = BytesIO()
    two_halves().save(made, "TIFF", tiffinfo={322: 60_000, 323: 60_000})
    told(made.getvalue())


def test_a_bomb_of_compressed_text_in_a_good_picture() -> None:
    import zlib

    text = b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9)
    began = _peak()
    told(png(1, 1, b"\0\1\2\3", more=chunk(b"zTXt", text)))
    told(png(1, 1, b"\0\1\2\3", more=chunk(b"iCCP", text)))
    assert _peak() - began < 400_000


OTHERS: dict[str, tuple[bytes, type[Exception], str]] = {
    "empty": (b"", InvalidParams, "is empty"),
    "text": (b"hello, I am a text file\n", InvalidParams, "is a text file; give a picture"),
    "utf-8 cut": (("a" + "é" * 300).encode(), InvalidParams, "is a text file"),
    "html": (b"\n<!-- x -->\n<html><body>", InvalidParams, "is a web page"),
    "svg": (b'<svg width="1" height="1"/>', UnsupportedPart, "is an SVG drawing, which is not taken"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3", UnsupportedPart, "is a PDF document"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", UnsupportedPart, "is a PostScript document"),
    "heic": (b"\0\0\0\x1cftypheic\0\0\0\0mif1heic", UnsupportedPart, "is an HEIC picture"),
    "heif": (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic", UnsupportedPart, "is an HEIC picture"),
    "mp4": (b"\0\0\0\x1cftypisom\0\0\2\0isomiso2", InvalidParams, "is a video or sound file"),
    "psd": (b"8BPS\0\1", UnsupportedPart, "is a Photoshop document"),
    "icon": (b"\0\0\1\0\1\0", UnsupportedPart, "is an icon file"),
    "raw": (b"II*\0\x10\0\0\0CR\2\0", UnsupportedPart, "is a camera's raw file"),
    "jxl": (b"\xff\x0a\0\0", UnsupportedPart, "is a JPEG XL picture"),
    "zip": (b"PK\3\4", InvalidParams, "is a ZIP archive"),
    "model": (b"GGUF\3\0\0\0", InvalidParams, "is a model file"),
    "noise": (b"\x80\x01\xfe\xff" * 9, InvalidParams, "is no picture that is known here"),
    "P5": (b"P5 is the room where we meet", InvalidParams, "is a text file"),
    "BM": (b"BMW is a make of cars", InvalidParams, "is a text file"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_files_that_are_something_else(name: str) -> None:
    data, error, words = OTHERS[name]
    with pytest.raises(error, match="'bytes' ") as caught:
        load(data)
    assert words in str(caught.value)


def test_no_pixels_at_all() -> None:
    for width, height in ((0, 5), (5, 0)):
        assert told(png(width, height, b"")) != ""
    assert told(b"P6 0 5 255\n") != ""


def test_many_threads_at_once() -> None:
    wrong: list[Any] = []

    def work(name: str) -> None:
        for _ in range(5):
            if told(VALID[name]) or not told(VALID["png"][:60]):
                wrong.append(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in VALID]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def torn_strip(tiff: bytes) -> bytes:
    """The same TIFF with other bytes where its pixels are."""
    start = Image.open(BytesIO(tiff)).tag_v2[273][0]
    return tiff[: start + 8] + bytes(20) + tiff[start + 28 :]


NOISY = {  # what Pillow, or a library below it, has something to print about
    "a warning": lambda: VALID["apng"].replace(b"acTL\0\0\0\3", b"acTL\0\0\0\0"),
    "a bomb": lambda: png(12_000, 9_000, b""),  # enough for Pillow's warning, not for its error
    "libtiff, zip": lambda: VALID["tiff-deflate"].replace(b"\x78\x9c", b"\x78\x9d"),
    "libtiff, fax": lambda: torn_strip(VALID["tiff-fax"]),
    "the log": lambda: VALID["tiff"].replace(b"\x15\1\3\0\1\0\0\0\3\0", b"\x15\1\3\0\1\0\0\0\x7f\0"),
    "nan": lambda: b"Pf 1 1 -1.0\n\1\0\xa0\x7f",  # a signalling one
}


def test_nothing_is_printed_and_no_other_decoder_is_loaded(tmp_path: Path) -> None:
    for name, make in NOISY.items():
        (tmp_path / f"{name}.png").write_bytes(make())
    code = (
        "import sys; from agentkit_vision.pictures import load\n"
        "from agentkit.errors import InvalidParams\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n        load(path)\n    except InvalidParams:\n        print('told')\n"
        "print(*(name for name in sys.modules if 'Eps' in name or 'Pdf' in name), sep='')"
    )
    arguments = [sys.executable, "-W", "always", "-c", code, *map(str, sorted(tmp_path.glob("*.png")))]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True)
    assert (set(done.stdout.split()), done.stderr) == ({"told"}, "")


@pytest.mark.parametrize("name", ["a warning", "libtiff, zip", "libtiff, fax", "the log"])
def test_those_files_are_noisy_without_us(name: str, tmp_path: Path) -> None:
    (tmp_path / "noisy").write_bytes(NOISY[name]())
    code = "import sys; from PIL import Image\ntry: Image.open(sys.argv[1]).load()\nexcept Exception: pass"
    arguments = [sys.executable, "-c", code, str(tmp_path / "noisy")]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr != ""
