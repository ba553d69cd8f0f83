"""A model's weights as files, before anything is loaded: what they take, whether that is there, and what names them.

Only safetensors are read. A pickle runs code when it is loaded, so a folder that has nothing else is refused.

The fingerprint is a hash of every tensor's name, type, shape and bytes, and of the small files that say what is done
before and after the weights. Of a tensor larger than 64 KiB, only the first and the last 4 KiB are read, so that a
model of 5 GB costs some MB of reading: a fine-tuned or quantised model is told from its base, one whose few values in
the middle of a tensor were changed by hand is not. How tensors are spread over files does not matter.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from agentkit.errors import ModelError, ModelFileError
from agentkit.models.machine import Memory, memory
from agentkit_vision.hugging.places import read_json

__all__ = ["Tensor", "check_fits", "fingerprint", "read_headers", "weight_bytes"]

_SIZES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
_FLOATS = ("F64", "F32", "F16", "BF16")
_MOST_HEADER = 100_000_000  # bytes; the format's own limit
_WHOLE, _PART = 64 << 10, 4 << 10  # bytes of a tensor that are hashed whole, and of each end of a larger one
_FORMAT = 1  # of the fingerprint: changes with what is done to pictures and texts here
_SAYING = ("*.json", "*.txt", "*.model", "*.jinja")
_NO_MATTER = ("dtype", "torch_dtype", "transformers_version", "_name_or_path")  # of config.json
_SILENT = ("README", ".index.json", "training_args", "trainer_state", "all_results")  # say nothing of the model


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """Where a tensor is, and of what kind."""

    name: str
    file: Path
    dtype: str  # safetensors' name: F32, BF16, ...
    shape: tuple[int, ...]
    start: int  # bytes from the file's beginning
    size: int  # bytes


def read_headers(folder: Path) -> tuple[Tensor, ...]:
    """Return every tensor of a model's folder, in the order of their names.

    Raises:
        ModelFileError: there are no safetensors, a file is missing, cut off or damaged.
    """
    found = [tensor for file in _files(folder) for tensor in _header(file)]
    return tuple(sorted(found, key=lambda tensor: tensor.name))


def weight_bytes(tensors: Sequence[Tensor], float_bytes: int | None = None) -> int:
    """Return what tensors take in memory: floats in `float_bytes` a value (None: as in the file), others as they are."""
    return sum(
        math.prod(tensor.shape) * float_bytes if float_bytes and tensor.dtype in _FLOATS else tensor.size
        for tensor in tensors
    )


def check_fits(name: str, needed: int, *, free: Callable[[], Memory | None] = memory) -> None:
    """Refuse weights that cannot be there; swap counts. What one answer takes beside them is not counted.

    Args:
        name: of the model.
        needed: bytes.
        free: says what there is; None: nobody knows, and nothing is refused.

    Raises:
        ModelError: they need more than there is; says how much.
    """
    there = free()
    if there is not None and needed > there.most:
        raise ModelError(
            f"{name}: it does not fit: its weights take {_size(needed)}, and {_size(there.most)} of {_size(there.total)} "
            f"is left on {there.place}; take a smaller model, load it with dtype bfloat16 if that was float32, or close "
            "other programs"
        )


def fingerprint(folder: Path, tensors: Sequence[Tensor], *about: str) -> str:
    """Return the hash that names a model, in hexadecimal; the module says what it sees.

    Args:
        folder: the model's.
        tensors: what `read_headers` found.
        about: what else it depends on: how it is computed, what prepares its input.
    """
    digest = hashlib.sha256(json.dumps([_FORMAT, *about]).encode())
    for path in sorted({path for pattern in _SAYING for path in folder.glob(pattern)}):
        if not any(mark in path.name for mark in _SILENT):
            digest.update(f"\0{path.name}\0".encode() + hashlib.sha256(_said(path)).digest())
    opened: dict[Path, BinaryIO] = {}
    try:
        for tensor in tensors:
            if tensor.file not in opened:
                opened[tensor.file] = tensor.file.open("rb")
            digest.update(json.dumps([tensor.name, tensor.dtype, tensor.shape]).encode())
            for part in _parts(opened[tensor.file], tensor):
                digest.update(part)
    finally:
        for file in opened.values():
            file.close()
    return digest.hexdigest()


def _said(path: Path) -> bytes:
    """Return what a small file says: of config.json what matters, in one form, whoever wrote it."""
    if path.name != "config.json":
        return path.read_bytes()

    def stripped(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: stripped(item) for key, item in value.items() if key not in _NO_MATTER}
        return value

    return json.dumps(stripped(read_json(path)), sort_keys=True).encode()


def _files(folder: Path) -> list[Path]:
    """Return the files of weights that transformers would load."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        places = read_json(index).get("weight_map")
        if not isinstance(places, dict) or not places:
            raise ModelFileError(f"{index}: names no tensors; fetch the model again")
        files = [folder / Path(str(name)).name for name in sorted(set(places.values()))]
    else:
        files = [folder / "model.safetensors"]
    missing = [file for file in files if not file.is_file()]
    if not missing:
        return files
    pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(pattern))
    if pickles:
        raise ModelFileError(
            f"{folder}: has no safetensors, only {pickles[0]}, and a pickle runs code when it is loaded; take a revision "
            "with safetensors (org/model@refs/pr/N), or save it again with save_pretrained where you trust it"
        )
    raise ModelFileError(f"{missing[0]}: is missing; fetch the model again, or save it with save_pretrained")


def _header(file: Path) -> Iterator[Tensor]:
    """Yield a file's tensors (github.com/huggingface/safetensors, Format): 8 bytes of length, JSON, then the bytes."""
    whole = file.stat().st_size
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            if length > min(_MOST_HEADER, whole - 8):
                raise ValueError(f"a header of {length} bytes in a file of {whole}")
            header = json.loads(opened.read(length))
        header.pop("__metadata__", None)
        end = 8 + length
        for name, about in header.items():
            start, stop = about["data_offsets"]
            shape, dtype = tuple(int(size) for size in about["shape"]), str(about["dtype"])
            if dtype in _SIZES and stop - start != math.prod(shape) * _SIZES[dtype]:
                raise ValueError(f"{name} of shape {list(shape)} in {stop - start} bytes")
            end = max(end, 8 + length + stop)
            yield Tensor(name=name, file=file, dtype=dtype, shape=shape, start=8 + length + start, size=stop - start)
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ModelFileError(f"{file}: is no safetensors file ({error}); fetch it again") from error
    if end != whole:
        raise ModelFileError(
            f"{file}: has {whole} bytes of {end}; it was cut off, or belongs to another: fetch it again"
        )


def _parts(file: BinaryIO, tensor: Tensor) -> Iterator[bytes]:
    if tensor.size <= _WHOLE:
        file.seek(tensor.start)
        yield file.read(tensor.size)
        return
    for place in (tensor.start, tensor.start + tensor.size - _PART):
        file.seek(place)
        yield file.read(_PART)


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"
