"""The file of vectors: a header of 256 bytes, then rows of one width. Rows are appended and never changed.

A row counts from the moment the database names it; what lies beyond is a write that did not finish, and is
written over. So the file may be longer than it has to be, and is damaged where it is shorter.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import StoreError
from agentkit_vision.search.errors import DamagedCollection

__all__ = ["DTYPES", "Kind", "append", "checksums", "create", "mapped", "readable"]

HEADER = 256
MAGIC = "agentkit vectors 1"
DTYPES = ("float16", "float32")


class Kind(NamedTuple):
    """What a file of vectors holds."""

    dim: int
    dtype: str
    fingerprint: str  # of the encoder whose vectors they are

    @property
    def row_bytes(self) -> int:
        """How long one vector is."""
        return self.dim * np.dtype(self.dtype).itemsize

    @property
    def header(self) -> bytes:
        """What a file of them begins with."""
        encoder = hashlib.sha256(self.fingerprint.encode()).hexdigest()[:32]
        text = json.dumps({"is": MAGIC, "dim": self.dim, "dtype": self.dtype, "encoder": encoder})
        return text.encode().ljust(HEADER - 1) + b"\n"


def create(path: Path, kind: Kind) -> None:
    """Write an empty file of vectors, and see it on the disk.

    Raises:
        StoreError: it cannot be written.
    """
    try:
        with path.open("wb") as file:
            file.write(kind.header)
            file.flush()
            os.fsync(file.fileno())
        if hasattr(os, "O_DIRECTORY"):
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        raise _unwritable(path, error) from error


def append(path: Path, rows: NDArray[np.floating], *, at: int) -> None:
    """Write (n, dim) rows from row `at` on, in the file's own type, and see them on the disk.

    Raises:
        StoreError: there is no room, or it cannot be written; nothing before `at` was touched.
    """
    data = memoryview(rows.tobytes())
    try:
        with path.open("r+b", buffering=0) as file:
            file.seek(HEADER + at * rows.shape[1] * rows.itemsize)
            while data:
                data = data[file.write(data) :]
            os.fsync(file.fileno())
    except OSError as error:
        raise _unwritable(path, error) from error


def mapped(path: Path, kind: Kind, rows: int) -> NDArray[np.floating]:
    """Return (rows, dim) of a file, mapped and read-only.

    Raises:
        FileNotFoundError: it is gone: compaction has just put another in its place.
        DamagedCollection: it is shorter than that, or the file of something else.
    """
    with path.open("rb") as file:
        header, there = file.read(HEADER), (os.fstat(file.fileno()).st_size - HEADER) // kind.row_bytes
        if header != kind.header:
            raise DamagedCollection(f"{path}: not the vectors of this collection; {_MEND}")
        if there < rows:
            raise DamagedCollection(f"{path}: holds {max(0, there)} of {rows} vectors; {_MEND}")
        if not rows:
            return np.zeros((0, kind.dim), kind.dtype)
        return np.memmap(file, dtype=kind.dtype, mode="r", offset=HEADER, shape=(rows, kind.dim))


def readable(path: Path, kind: Kind, rows: int) -> NDArray[np.floating]:
    """Return what there is of (rows, dim): fewer of a file that was cut short, none where it is gone."""
    try:
        there = (path.stat().st_size - HEADER) // kind.row_bytes
        return mapped(path, kind, max(0, min(rows, there)))
    except (FileNotFoundError, DamagedCollection):
        return np.zeros((0, kind.dim), kind.dtype)


def checksums(rows: NDArray[np.floating]) -> list[int]:
    """Return the CRC-32 of each row."""
    return [zlib.crc32(row.tobytes()) for row in rows]


_MEND = "index its folder again, which embeds what is lost"


def _unwritable(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{path}: cannot be written ({error.strerror}); free some space or make its folder writable, "
        "and index again: it goes on where it stopped"
    )
