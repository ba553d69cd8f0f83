"""What a data set's folder says of itself: `manifest.json`.

It holds all that is needed to make any row again, and no time or place, so that the same data set has the same manifest.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from agentkit.errors import InvalidParams
from agentkit.jobs import write_atomic

__all__ = ["Manifest", "is_made", "read_manifest", "sha256_of", "versions"]

NAME, FORMAT = "manifest.json", "agentkit-dataset/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A data set.

    Attributes:
        kind: first part of the rows' ids.
        source: the function that made the rows, `module:function`.
        options: what it was given.
        seed: what it drew from.
        count: rows kept, in all splits together.
        tried: rows made, kept and rejected; the rows are those of the indices below.
        verified_share: count / tried.
        rows: rows of each file, without its suffix.
        families: rows of each family.
        rejected: rows rejected for each reason.
        files: SHA-256 of each file.
        versions: of Python and of the packages that made it.
    """

    kind: str
    source: str
    options: Mapping[str, Any]
    seed: int
    count: int
    tried: int
    verified_share: float
    rows: Mapping[str, int]
    families: Mapping[str, int]
    rejected: Mapping[str, int]
    files: Mapping[str, str]
    versions: Mapping[str, str] = field(default_factory=dict)
    format: str = FORMAT

    def write(self, folder: Path) -> None:
        """Write it into `folder`, atomically.

        Raises:
            JobError: it cannot be written.
        """
        write_atomic(folder / NAME, json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Return what a folder says of itself.

    Raises:
        InvalidParams: it is no data set of agentkit.
    """
    path = folder / NAME
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError(f"its format is {data['format']!r}, not {FORMAT!r}")
        return Manifest(**data)
    except FileNotFoundError as error:
        raise InvalidParams(f"/folder: {folder} has no {NAME}; name a folder that `agentkit synth` made") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InvalidParams(f"/folder: {path} cannot be read ({error}); make the data set again") from error


def is_made(
    folder: Path, *, source: str, options: Mapping[str, Any], seed: int, count: int, parquet: bool = False
) -> bool:
    """Whether `folder` holds exactly this data set already, whole, and made by these versions."""
    try:
        found = read_manifest(folder)
    except InvalidParams:
        return False
    same = (found.source, found.options, found.seed, found.count) == (source, dict(options), seed, count)
    if parquet:
        same = same and "train.parquet" in found.files
    return (
        same
        and found.versions == versions()
        and all(
            (folder / name).is_file() and sha256_of(folder / name) == digest for name, digest in found.files.items()
        )
    )


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """Return the versions that rows depend on."""
    found = {"python": platform.python_version()}
    with suppress(PackageNotFoundError):
        found["agentkit-local"] = version("agentkit-local")
    return found
