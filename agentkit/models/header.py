"""Read the header of a GGUF file and believe nothing it says.

Every count, length, type and offset is held against the size of the file before it is used, so that a
damaged file ends in a `ModelFileError` here and not in an abort inside llama.cpp.
"""

from __future__ import annotations

import mmap
import stat
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from agentkit.errors import ModelFileError
from agentkit.models.formats import TENSOR_TYPES

AGAIN = "download it again"
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY, _UINT32 = 8, 9, 4
_KEPT_ITEMS = 512  # of an array; longer ones (tokens, merges) are kept as `LongArray`
_SMALLEST_KEY, _SMALLEST_TENSOR = 13, 24  # bytes
_MAX_DIMENSIONS, _MAX_NAME = 4, 63
_PLAUSIBLE = 100_000  # tensors, or keys
_DEFAULT_ALIGNMENT = 32
_TOKENS = "tokenizer.ggml.tokens"

_MAGICS = {
    b"PK\x03\x04": "a zip or PyTorch file",
    b"\x80\x02": "a Python pickle",
    b"\x1f\x8b": "a gzip archive",
    b"tjgg": "a GGML file from before GGUF",
    b"ggjt": "a GGML file from before GGUF",
    b"lmgg": "a GGML file from before GGUF",
    b"ggml": "a GGML file from before GGUF",
    b"fmgg": "a GGML file from before GGUF",
    b"FUGG": "a GGUF file of a machine with the other byte order",
    b"\x89HDF": "an HDF5 file",
    b"%PDF": "a PDF",
}


@dataclass(frozen=True, slots=True)
class LongArray:
    """An array of the metadata that is too long to keep: what it holds and how many."""

    kind: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor's place in the file."""

    name: str
    kind: str
    shape: tuple[int, ...]  # rows last
    values: int
    size: int  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a GGUF file says about itself, checked against its size."""

    version: int
    metadata: Mapping[str, Any]
    tensors: tuple[Tensor, ...]
    repeated_token: str | None = None  # of the vocabulary, one that is there twice


def read_header(path: Path) -> Header:
    """Return the header of the GGUF at `path`.

    Raises:
        ModelFileError: it is no GGUF, or it is damaged; says what it is and what to do.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise ModelFileError(f"{path}: {what}, not a GGUF model; give the path of a .gguf file")
        with path.open("rb") as file:
            if not file.read(1):
                raise ModelFileError(f"{path}: the file is empty; {AGAIN}")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
                return _Reader(path, view).header()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror}); check path and permissions") from error


class _Reader:
    """A position in the file; every step forward is checked."""

    def __init__(self, path: Path, view: mmap.mmap) -> None:
        self._path, self._view = path, view
        self._size, self._at = len(view), 0
        self._repeated: str | None = None

    def header(self) -> Header:
        if self._view[:4] != b"GGUF":
            self._broken(describe(self._view[:512]))
        self._at = 4
        version = self._scalar("<I")
        self._check_version(version)
        n_tensors, n_keys = self._scalar("<Q"), self._scalar("<Q")
        if n_keys > self._size // _SMALLEST_KEY or n_tensors > self._size // _SMALLEST_TENSOR:
            if max(n_keys, n_tensors) < _PLAUSIBLE:
                self._cut("the keys")
            self._damaged(f"it claims {n_tensors} tensors and {n_keys} keys in {self._size} bytes")
        metadata, alignment = self._metadata(n_keys)
        tensors = self._tensors(n_tensors, alignment)
        return Header(version=version, metadata=metadata, tensors=tensors, repeated_token=self._repeated)

    def _check_version(self, version: int) -> None:
        if version in (2, 3):
            return
        if version == 1:
            self._broken("a GGUF of version 1, which is no longer read; get a newer conversion of the model")
        if version & 0xFFFF == 0:
            self._broken("a GGUF of a machine with the other byte order; get the little-endian file")
        self._broken(f"a GGUF of version {version}, and versions 2 and 3 are known; update agentkit, or {AGAIN}")

    def _metadata(self, n_keys: int) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        alignment = _DEFAULT_ALIGNMENT
        for _ in range(n_keys):
            key = self._string("a key")
            if not key or key in found:
                self._damaged(f"the key '{key[:60]}' is there twice" if key else "a key has no name")
            kind = self._scalar("<I")
            found[key] = self._array(key) if kind == _ARRAY else self._value(kind, key)
            if key == "general.alignment":
                alignment = found[key]
                if kind != _UINT32 or alignment == 0 or alignment & (alignment - 1):
                    self._damaged(f"its alignment {alignment!r:.40} is no power of two")
        return found, alignment

    def _value(self, kind: int, key: str) -> Any:
        if kind == _STRING:
            return self._string(f"'{key[:60]}'")
        if kind not in _SCALARS:
            self._damaged(f"'{key[:60]}' has the unknown type {kind}")
        return self._scalar(_SCALARS[kind])

    def _array(self, key: str) -> Any:
        kind, length = self._scalar("<I"), self._scalar("<Q")
        width = 8 if kind == _STRING else struct.calcsize(_SCALARS.get(kind, "<"))
        if not width:
            self._damaged(f"'{key[:60]}' is an array of the unknown type {kind}")
        if length * width > self._size - self._at:
            self._damaged(f"'{key[:60]}' claims {length} items, which do not fit into the file", cut=True)
        if kind == _STRING and key == _TOKENS:
            begin = self._at
            self._skip_strings(length, key)
            self._repeated, self._at = self._repeat(begin, length), begin
        if length <= _KEPT_ITEMS:
            return tuple(self._value(kind, key) for _ in range(length))
        if kind == _STRING:
            self._skip_strings(length, key)
        else:
            self._at += length * width
        return LongArray(kind, length)

    def _skip_strings(self, length: int, key: str) -> None:
        """Step over many strings quickly; a vocabulary has hundreds of thousands."""
        unpack, view, size, at = struct.Struct("<Q").unpack_from, self._view, self._size, self._at
        for _ in range(length):
            if at + 8 > size:
                self._cut(f"'{key[:60]}'")
            at += 8 + unpack(view, at)[0]
        if at > size:
            self._cut(f"'{key[:60]}'")
        self._at = at

    def _repeat(self, begin: int, length: int) -> str | None:
        """Return a string that is there twice among those before this place; to C they end at a NUL."""
        unpack, data, at = struct.Struct("<Q").unpack_from, self._view[begin : self._at], 0
        texts: list[bytes] = []
        for _ in range(length):
            end = at + 8 + unpack(data, at)[0]
            texts.append(data[at + 8 : end])
            at = end
        if b"\0" in b"".join(texts):
            texts = [text.partition(b"\0")[0] for text in texts]
        if len(set(texts)) == length:
            return None
        return next((text.decode("utf-8", "replace") for text, n in Counter(texts).items() if text and n > 1), None)

    def _tensors(self, n_tensors: int, alignment: int) -> tuple[Tensor, ...]:
        tensors: list[Tensor] = []
        names: set[str] = set()
        begin = end = 0
        for _ in range(n_tensors):
            tensor, offset = self._tensor()
            if tensor.name in names:
                self._damaged(f"the tensor '{tensor.name}' is there twice")
            if offset != begin:
                self._damaged(f"the tensor '{tensor.name}' stands at {offset}, and belongs at {begin}")
            names.add(tensor.name)
            tensors.append(tensor)
            end = begin + tensor.size
            begin = _aligned(end, alignment)
        data = _aligned(self._at, alignment)
        if tensors and data + end > self._size:
            self._broken(f"cut short: it holds {self._size} of at least {data + end} bytes; {AGAIN}")
        return tuple(tensors)

    def _tensor(self) -> tuple[Tensor, int]:
        name = self._string("a tensor's name")
        if len(name.encode()) > _MAX_NAME:
            self._damaged(f"a tensor's name is {len(name)} characters long")
        n_dimensions = self._scalar("<I")
        if n_dimensions > _MAX_DIMENSIONS:
            self._damaged(f"the tensor '{name}' has {n_dimensions} dimensions")
        shape = [self._scalar("<Q") for _ in range(n_dimensions)]
        kind, offset = self._scalar("<I"), self._scalar("<Q")
        if kind not in TENSOR_TYPES:
            self._damaged(f"the tensor '{name}' has the type {kind}, which this llama.cpp does not know", mend="update")
        label, block, width = TENSOR_TYPES[kind]
        values = 1
        for length in shape:
            values *= length
        if values >= 2**63 or any(length >= 2**63 for length in shape):
            self._damaged(f"the tensor '{name}' claims more values than can be counted")
        if shape and shape[0] % block:
            self._damaged(f"the tensor '{name}' has rows of {shape[0]} values, and {label} needs multiples of {block}")
        size = values // block * width
        return Tensor(name=name, kind=label, shape=tuple(shape), values=values, size=size), offset

    def _scalar(self, layout: str) -> Any:
        width = struct.calcsize(layout)
        if self._at + width > self._size:
            self._cut("a number")
        value = struct.unpack_from(layout, self._view, self._at)[0]
        self._at += width
        return value

    def _string(self, what: str) -> str:
        length = self._scalar("<Q")
        if length > self._size:
            self._damaged(f"{what} claims to be {length} bytes long")
        if self._at + length > self._size:
            self._cut(what)
        self._at += length
        return self._view[self._at - length : self._at].decode("utf-8", errors="replace")

    def _cut(self, what: str) -> NoReturn:
        self._broken(f"cut short: it ends inside {what}, after {self._size} bytes; {AGAIN}")

    def _damaged(self, what: str, *, cut: bool = False, mend: str = "") -> NoReturn:
        state = "damaged or cut short" if cut else "damaged"
        self._broken(f"a {state} GGUF ({what}); {'update agentkit, or ' if mend else ''}{AGAIN}")

    def _broken(self, what: str) -> NoReturn:
        raise ModelFileError(f"{self._path}: {what}")


def describe(head: bytes) -> str:
    """Return what a file that begins with `head` and is no GGUF seems to be, and the mend."""
    text = head.lstrip().lower()
    if text.startswith(b"version https://git-lfs"):
        return "a git-LFS pointer, not the model itself; fetch the file with `git lfs pull`"
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        return "a web page, not a model; download the file itself (on the Hub: the 'resolve' address, not 'blob')"
    if b"GGUF".startswith(head):
        return f"cut short: it holds {len(head)} bytes; {AGAIN}"
    if head[8:10] == b'{"':
        return "a safetensors file; convert it to GGUF, or name a GGUF repository"
    for magic, kind in _MAGICS.items():
        if head.startswith(magic):
            return f"{kind}, not a GGUF model; get the model as .gguf"
    if head.isascii() and head.decode().isprintable():
        return f"text that begins {head[:40].decode()!r}, not a model; {AGAIN}"
    if not head.strip(b"\0"):
        return f"nothing but zero bytes, so an unfinished download; {AGAIN}"
    return f"not a GGUF model (it begins {head[:4]!r}); give the path of a .gguf file, or {AGAIN}"


def _aligned(position: int, alignment: int) -> int:
    return (position + alignment - 1) // alignment * alignment
