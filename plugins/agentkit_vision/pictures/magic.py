"""What a file is, by its first bytes; what it is called counts for nothing here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["EXTENSIONS", "FORMATS", "HEAD_BYTES", "Kind", "kind_of"]

HEAD_BYTES = 512  # that `kind_of` looks at
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")  # that are decoded
EXTENSIONS = frozenset(
    [
        ".png",
        ".apng",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".webp",
        ".gif",
        ".bmp",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".pfm",
        ".avif",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a file is.

    Attributes:
        format: one of `FORMATS`, or empty for all others.
        name: in words, with an article: `a PNG picture`, `a PDF document`; empty where nothing is known.
        is_picture: whether people would call it one, taken or not.
    """

    format: str = ""
    name: str = ""
    is_picture: bool = False


_STARTS: Mapping[bytes, str] = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
_OTHERS: Mapping[bytes, str] = {  # pictures that are not taken
    b"\xff\x0a": "a JPEG XL picture",
    b"\0\0\0\x0cJXL \r\n\x87\n": "a JPEG XL picture",
    b"\0\0\0\x0cjP  \r\n\x87\n": "a JPEG 2000 picture",
    b"\xff\x4f\xff\x51": "a JPEG 2000 picture",
    b"8BPS": "a Photoshop document",
    b"%!PS": "a PostScript document",
    b"\xc5\xd0\xd3\xc6": "a PostScript document",
    b"%PDF-": "a PDF document",
    b"gimp xcf": "a GIMP document",
    b"\0\0\x01\0": "an icon file",
    b"\x76\x2f\x31\x01": "an OpenEXR picture",
    b"#?RADIANCE": "a Radiance picture",
    b"DDS ": "a DDS texture",
    b"FUJIFILMCCD-RAW": "a camera's raw file",
    b"IIU\0": "a camera's raw file",
    b"IIRO": "a camera's raw file",
}
_STRANGERS: Mapping[bytes, str] = {
    b"PK\x03\x04": "a ZIP archive or an Office document",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"SQLite format 3\0": "a database",
    b"GGUF": "a model file",
    b"OggS": "a sound or video file",
    b"ID3": "a sound file",
    b"fLaC": "a sound file",
    b"\x1aE\xdf\xa3": "a video file",
}
_PPM = re.compile(rb"P(?:[1-6]|f)[ \t\r\n#]+[\d#]")  # a number follows, unlike in a text that begins with `P5 `
_SVG = re.compile(rb"<svg[\s>]|<!doctype svg", re.IGNORECASE)
_HTML = re.compile(rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype html|html|head|body)\b", re.IGNORECASE | re.DOTALL)


def kind_of(head: bytes) -> Kind:
    """Return what a file is whose first bytes, up to 512 of them, are `head`."""
    if head[:4] in (b"II*\0", b"MM\0*") and head[8:10] == b"CR":
        return Kind(name="a camera's raw file", is_picture=True)
    format_ = next((found for start, found in _STARTS.items() if head.startswith(start)), "") or _other_format(head)
    if format_:
        return Kind(format=format_, name=f"{'an' if format_ == 'AVIF' else 'a'} {format_} picture", is_picture=True)
    if head[4:8] == b"ftyp":
        return _media(head)
    for table, is_picture in ((_OTHERS, True), (_STRANGERS, False)):
        for start, name in table.items():
            if head.startswith(start):
                return Kind(name=name, is_picture=is_picture)
    return _text(head[:HEAD_BYTES])


def _other_format(head: bytes) -> str:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return "BMP"
    return "PPM" if _PPM.match(head) else ""


def _media(head: bytes) -> Kind:
    """Return the kind of an ISO media file, by the brands that it names."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12]} | {head[at : at + 4] for at in range(16, end - 3, 4)}
    if brands & {b"avif", b"avis"}:
        return Kind(format="AVIF", name="an AVIF picture", is_picture=True)
    if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}:
        return Kind(name="an HEIC picture", is_picture=True)
    if b"crx " in brands:
        return Kind(name="a camera's raw file", is_picture=True)
    return Kind(name="a video or sound file")


def _text(head: bytes) -> Kind:
    if not head:
        return Kind(name="empty")
    if _HTML.match(head.removeprefix(b"\xef\xbb\xbf")):
        return Kind(name="a web page (HTML)")
    if _SVG.search(head):
        return Kind(name="an SVG drawing", is_picture=True)
    printable = sum(byte >= 32 or byte in b"\t\n\r\f\x1b" for byte in head)
    return Kind(name="a text file") if printable == len(head) and _is_utf8(head) else Kind()


def _is_utf8(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"  # cut off inside a character
    return True
