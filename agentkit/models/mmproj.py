"""The part of a model that sees or hears, a file of its own (mmproj): what it is, found out from its header alone."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from agentkit.errors import ModelFileError, ModelNotFound
from agentkit.models.gguf import sha256_of
from agentkit.models.header import AGAIN, Header, read_header

__all__ = ["MmprojInfo", "beside", "inspect_mmproj"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MmprojInfo:
    """An mmproj file.

    Attributes:
        images: whether it sees.
        audio: whether it hears.
        weight_bytes: of all its tensors.
    """

    path: Path
    images: bool
    audio: bool
    weight_bytes: int

    def sha256(self) -> str:
        """Return the SHA-256 of the file, read once a process."""
        return sha256_of(self.path)


def inspect_mmproj(path: Path) -> MmprojInfo:
    """Return what the mmproj at `path` is.

    Raises:
        ModelNotFound: there is no such file.
        ModelFileError: it is no GGUF, damaged, or no mmproj.
    """
    path = path.expanduser()
    if not path.exists():
        raise ModelNotFound(
            f"{path}: no such mmproj; name the file that came with the model, or set engine.mmproj to none"
        )
    header = read_header(path)
    metadata = header.metadata
    if metadata.get("general.architecture") != "clip":
        kind = str(metadata.get("general.architecture") or "unknown")[:40]
        raise ModelFileError(
            f"{path}: a GGUF of the architecture '{kind}', not an mmproj; name the model's mmproj file"
        )
    images, audio = (_has(header, kind, begin) for kind, begin in (("vision", "v."), ("audio", "a.")))
    if not (images or audio) or not header.tensors:
        raise ModelFileError(f"{path}: an mmproj that neither sees nor hears; {AGAIN}")
    return MmprojInfo(
        path=path,
        images=images,
        audio=audio,
        weight_bytes=sum(tensor.size for tensor in header.tensors),
    )


def beside(model: Path) -> Path | None:
    """Return the one mmproj in the folder of a model's file; None where there is none, or several."""
    with contextlib.suppress(OSError):
        found = [path for path in model.parent.iterdir() if _is_name(path.name) and path != model]
        if len(found) == 1:
            return found[0]
    return None


def _has(header: Header, kind: str, begin: str) -> bool:
    """Return what the file says; older ones say nothing, and what tensors they have tells it."""
    said = header.metadata.get(f"clip.has_{kind}_encoder")
    return said if isinstance(said, bool) else any(tensor.name.startswith(begin) for tensor in header.tensors)


def _is_name(name: str) -> bool:
    return "mmproj" in name.lower() and name.lower().endswith(".gguf")
