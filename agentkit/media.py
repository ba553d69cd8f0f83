"""Pictures and sounds of a task and of messages: read once, kept beside the state, and found again by their hash.

A part is read when its run begins and a copy is kept under its SHA-256 in the data folder, so that checkpoints stay small
and a resumed run sees what it saw before, whatever became of the file. In a message it is one of LangChain's content
blocks. What is kept was recognised by its first bytes; decoding it is for whoever looks at it.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import re
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from agentkit import config
from agentkit.errors import UnsupportedPart, UsageError
from agentkit.types import AudioPart, ImagePart, Provenance, Trust

__all__ = [
    "AUDIO", "IMAGES", "MAX_BYTES", "PICTURE_NAMES", "block_of", "bytes_of", "fetched", "is_media", "kept", "looks_like",
    "mime_type", "pixels", "prune",
]  # fmt: skip

MAX_BYTES = 32 << 20  # of one file
IMAGES = frozenset({"image", "image_url", "input_image"})  # types of content blocks
AUDIO = frozenset({"audio", "input_audio"})
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"ID3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
_BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heic",
}
PICTURE_NAMES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".avif", ".heic"})
_KEPT = re.compile(r"[0-9a-f]{64}")
_SIZE_AT = {"image/png": (16, ">II"), "image/gif": (6, "<HH"), "image/bmp": (18, "<ii")}

Kind = Literal["image", "audio"]
Block = Mapping[str, Any]


def is_media(block: Block) -> bool:
    """Whether a content block is a picture or a sound."""
    return block.get("type") in IMAGES or block.get("type") in AUDIO


def looks_like(path: Path) -> bool:
    """Whether a path has a picture's name."""
    return path.suffix.lower() in PICTURE_NAMES


def mime_type(data: bytes) -> str | None:
    """Return what the file of these bytes is, by how it begins; None: neither a picture nor a sound that is known."""
    for begin, kind in _MAGIC:
        if data.startswith(begin):
            return kind
    if data[:4] == b"RIFF":
        return _RIFF.get(data[8:12])
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12])
    is_mp3 = len(data) > 2 and data[0] == 0xFF and data[1] & 0xE6 == 0xE2
    return "audio/mpeg" if is_mp3 else None


def pixels(data: bytes) -> int | None:
    """Return how many pixels a picture says it has, without decoding it; None where its form is not known here."""
    kind = mime_type(data)
    try:
        if kind == "image/jpeg":
            return _jpeg_pixels(data)
        at, form = _SIZE_AT[str(kind)]
        width, height = struct.unpack_from(form, data, at)
    except (KeyError, struct.error, IndexError):
        return None
    return abs(int(width) * int(height))


def kept(part: ImagePart | AudioPart) -> ImagePart | AudioPart:
    """Return a part, given by path or as bytes, whose path is a copy in the folder for copies.

    Its provenance says where it came from.

    Raises:
        UsageError: it cannot be read, is too large, or is no picture or sound.
    """
    is_image = isinstance(part, ImagePart)
    name, data = _read(part)
    kind = mime_type(data)
    if kind is None or not kind.startswith("image" if is_image else "audio"):
        what = f"a file of type {kind}" if kind else "not a file of a known form"
        wanted = "a picture (PNG, JPEG, ...)" if is_image else "a sound (WAV, MP3, FLAC)"
        raise UsageError(f"{name}: {what}, and not {wanted}; give one")
    provenance = part.provenance
    if provenance.source == "user":
        provenance = Provenance(source=f"{'image' if is_image else 'audio'}:{name}", trust=provenance.trust)
    path = _copy(data)
    return ImagePart(path=path, provenance=provenance) if is_image else AudioPart(path=path, provenance=provenance)


def fetched(part: ImagePart, data: bytes) -> ImagePart:
    """Return a part by URL as one of the bytes that were there; those are a stranger's, unless the part says otherwise."""
    trust = Trust.UNTRUSTED if part.provenance.source == "user" else part.provenance.trust
    return ImagePart(data=data, provenance=Provenance(source=f"image:{part.url}", trust=trust))


def block_of(part: ImagePart | AudioPart) -> dict[str, Any]:
    """Return LangChain's content block of a part: by its hash where it was kept, else with its bytes.

    Raises:
        UsageError: it cannot be read, or is by URL.
    """
    kind = "image" if isinstance(part, ImagePart) else "audio"
    _, data = _read(part)
    block = {"type": kind, "mime_type": mime_type(data) or "application/octet-stream"}
    if part.path is not None and part.path.parent == _folder():
        told = {"source": part.provenance.source, "trust": part.provenance.trust.value}
        return {**block, "file_id": part.path.name, "extras": told}
    return {**block, "base64": base64.b64encode(data).decode()}


def bytes_of(block: Block) -> bytes:
    """Return the bytes of a content block, in agentkit's form, LangChain's or OpenAI's.

    Raises:
        UnsupportedPart: it is by URL, its copy is gone or is not what it was, or it is no picture or sound.
    """
    name = block.get("file_id")
    data = _inline(block) if name is None else _kept_bytes(str(name))
    if len(data) > MAX_BYTES:
        raise UnsupportedPart(f"a part of {len(data)} bytes; at most {MAX_BYTES} can be shown: make it smaller")
    kind, wanted = mime_type(data), "image" if block.get("type") in IMAGES else "audio"
    if kind is None or not kind.startswith(wanted):
        raise UnsupportedPart(
            f"a part of type '{block.get('type')}' that is {kind or 'of no known form'}; leave it out"
        )
    return data


def prune(older_than_s: float, told: str) -> int:
    """Delete the copies that nobody used for so long, but for those whose hash is in the text `told`; return the bytes."""
    freed, horizon = 0, time.time() - older_than_s
    for path in _folder().glob("*") if _folder().is_dir() else ():
        with contextlib.suppress(OSError):  # another process may have done it
            status = path.stat()
            if status.st_mtime < horizon and path.name not in told:
                path.unlink()
                freed += status.st_size
    return freed


def _read(part: ImagePart | AudioPart) -> tuple[str, bytes]:
    """Return what people call a part, and its bytes."""
    if part.data is not None:
        name, data = part.provenance.source if part.provenance.source != "user" else "bytes", part.data
    elif part.path is not None:
        name = str(part.path)
        try:
            with part.path.expanduser().open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise UsageError(f"{name}: cannot be read ({error.strerror}); check the path") from error
    else:
        by_url = isinstance(part, ImagePart) and part.url is not None
        raise UsageError(f"a part {'by URL is fetched by an agent' if by_url else 'of nothing'}; give a path or bytes")
    if len(data) > MAX_BYTES:
        raise UsageError(f"{name}: larger than {MAX_BYTES >> 20} MiB; make it smaller")
    if not data:
        raise UsageError(f"{name}: the file is empty; give another")
    return name, data


def _folder() -> Path:
    return config.data_dir() / "media"


def _copy(data: bytes) -> Path:
    """Write the bytes under their hash, whole or not at all; return where."""
    path = _folder() / hashlib.sha256(data).hexdigest()
    try:
        if path.is_file() and path.stat().st_size == len(data):
            os.utime(path)
            return path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside = path.with_suffix(f".{os.getpid()}.{os.urandom(4).hex()}")
        aside.write_bytes(data)
        aside.chmod(0o600)
        aside.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: a picture cannot be kept there ({error.strerror}); make room") from error
    return path


def _kept_bytes(name: str) -> bytes:
    path = _folder() / name
    if not _KEPT.fullmatch(name):
        raise UnsupportedPart(f"a part of a file with the id '{name[:80]}', which is not one of agentkit's")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnsupportedPart(
            f"{path}: the copy of a picture or sound of this conversation is gone ({error.strerror}); give it again"
        ) from error
    if hashlib.sha256(data).hexdigest() != name:
        raise UnsupportedPart(f"{path}: the copy of a picture or sound of this conversation has changed; give it again")
    with contextlib.suppress(OSError):  # `prune` looks at when it was last used
        os.utime(path)
    return data


def _inline(block: Block) -> bytes:
    """Return the bytes that a block itself holds."""
    found = block.get("base64", block.get("data"))
    if found is None:
        inner = block.get(str(block.get("type")), block.get("url"))
        found = inner.get("url", inner.get("data")) if isinstance(inner, Mapping) else inner
    if isinstance(found, bytes):
        return found
    text = str(found or "")
    if text.startswith("data:"):
        text = text.partition(",")[2]
    elif "://" in text[:16]:
        raise UnsupportedPart(f"a part by URL ({text[:80]}): fetch it first, and give its bytes")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnsupportedPart(f"a part of type '{block.get('type')}' whose data is not base64 ({error})") from error


def _jpeg_pixels(data: bytes) -> int | None:
    """Return the size that a JPEG's frame header says; a progressive one has its own mark."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        mark, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= mark <= 0xCF and mark not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return int(height) * int(width)
        at += 2 + length
    return None
