"""A collection of images on disk, as readers see it: rows in SQLite, vectors in a file that is mapped.

A collection holds the vectors of one encoder, and says whose. Whatever its writer does meanwhile, or wherever it is
killed, a reader sees the state after a whole batch: vectors are on the disk before the row that names them. Where the
collection lies inside the folder that it is about, both can be moved together.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from agentkit_vision.contracts import Encoder
from agentkit_vision.search import matrix, tables
from agentkit_vision.search.errors import DamagedCollection, EncoderMismatch
from agentkit_vision.search.values import Info, Known, Snapshot

__all__ = ["FOLDER", "Collection", "check", "home_in", "kind_of", "vectors_file"]

FOLDER = ".agentkit-images"  # a collection's folder, inside the one that it is about
ATTEMPTS = 5  # to map a file that compaction keeps replacing


def home_in(folder: Path) -> Path:
    """Return where the collection of a folder lies unless another place is named."""
    return folder / FOLDER


def vectors_file(home: Path, generation: int) -> Path:
    """Return the file of vectors; each compaction makes the next generation."""
    return home / f"vectors-{generation}.bin"


def kind_of(told: Mapping[str, Any]) -> matrix.Kind:
    """Return what the file of vectors holds, of a collection's settings."""
    return matrix.Kind(int(told["dim"]), str(told["dtype"]), str(told["fingerprint"]))


def check(home: Path, name: str, fingerprint: str, encoder: Encoder) -> None:
    """See that the vectors of a collection are an encoder's.

    Raises:
        EncoderMismatch: they are not.
    """
    if fingerprint != encoder.fingerprint:
        other = "another version of it" if name == encoder.name else f"'{encoder.name}'"
        raise EncoderMismatch(
            f"{home}: holds vectors of the encoder '{name}' ({fingerprint[:12]}), not of {other} "
            f"({encoder.fingerprint[:12]}), and the two cannot be compared; use the first, or index again with reindex, "
            "which embeds all images anew"
        )


class Collection:
    """A collection, open for reading; threads may share it.

    Args:
        home: its own folder.
        root: where the pictures are now; None takes what the collection says.

    Raises:
        StoreError: there is none, it cannot be read, or a newer agentkit wrote it.
        DamagedCollection: its files are not what was written.
    """

    def __init__(self, home: Path, *, root: Path | None = None) -> None:
        self.home = home.resolve()
        self._root, self._lock = root.resolve() if root is not None else None, threading.RLock()
        self._seen: tuple[int, Snapshot] | None = None
        self._connection = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it; idempotent. Snapshots stay usable."""
        with self._lock:
            self._connection.close()

    @property
    def encoder(self) -> str:
        """The name of the encoder whose vectors these are."""
        return str(self._settings()["encoder"])

    @property
    def fingerprint(self) -> str:
        """That encoder's fingerprint."""
        return str(self._settings()["fingerprint"])

    @property
    def dim(self) -> int:
        """The width of its vectors."""
        return int(self._settings()["dim"])

    @property
    def root(self) -> Path:
        """The folder that names of images are relative to."""
        return self._root or Path(os.path.normpath(self.home / _name(self._settings()["root"])))

    @property
    def edits(self) -> int:
        """How often somebody removed images by hand."""
        return int(self._settings()["edits"])

    def check_encoder(self, encoder: Encoder) -> None:
        """See that an encoder is the collection's own.

        Raises:
            EncoderMismatch: it is another one, or the same with other weights.
        """
        told = self._settings()
        check(self.home, str(told["encoder"]), str(told["fingerprint"]), encoder)

    def snapshot(self) -> Snapshot:
        """Return what is in it now; quick as long as nothing was written.

        Raises:
            DamagedCollection: the file of vectors is not what was written.
        """
        with self._lock, tables.errors(self.home):
            version = int(self._connection.execute("PRAGMA data_version").fetchone()[0])
            if self._seen is None or self._seen[0] != version:
                self._seen = version, self._load()
            return self._seen[1]

    def info(self) -> Info:
        """Return what it is and how much is in it."""
        now, told = self.snapshot(), self._settings()
        alive = len(np.unique(now.slots))
        return Info(
            home=self.home,
            root=self.root,
            encoder=str(told["encoder"]),
            fingerprint=str(told["fingerprint"]),
            dim=int(told["dim"]),
            dtype=str(told["dtype"]),
            images=len(now),
            vectors=alive,
            dead=int(told["slots"]) - alive,
            labels=dict(Counter(name for labels in now.labels for name in labels)),
            bytes=sum(file.stat().st_size for file in self.home.iterdir() if file.is_file()),
        )

    def known(self) -> dict[str, Known]:
        """Return what is known of every file, by name."""
        sql = "SELECT id, path, sha256, size, mtime_ns, labels FROM images"
        return {
            _name(path): Known(id=id, sha256=sha256, size=size, mtime_ns=mtime_ns, labels=json.loads(labels))
            for id, path, sha256, size, mtime_ns, labels in self._rows(sql)
        }

    def file_of(self, name: str) -> Path:
        """Return where the image of a name lies."""
        return self.root / name

    def thumbnail(self, id: int) -> bytes | None:
        """Return an image's thumbnail, a PNG; None where it has none."""
        found = self._rows("SELECT thumbnail FROM images WHERE id = ?", (id,))
        return found[0][0] if found else None

    def damaged(self) -> list[int]:
        """Return the ids of images whose vectors are not what was written."""
        with self._lock, tables.errors(self.home):
            self._connection.execute("BEGIN")
            try:
                told, rows = self._settings(), self._rows("SELECT id, slot, crc FROM images ORDER BY id")
                lines = self._readable(told)
            finally:
                self._connection.execute("COMMIT")
        sums = dict(enumerate(matrix.checksums(lines)))
        return [id for id, slot, crc in rows if sums.get(slot) != crc]

    def _open(self) -> sqlite3.Connection:
        return tables.for_reading(self.home)

    def _settings(self) -> dict[str, Any]:
        with self._lock, tables.errors(self.home):
            return tables.settings(self._connection)

    def _rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._lock, tables.errors(self.home):
            return self._connection.execute(sql, values).fetchall()

    def _load(self) -> Snapshot:
        sql = "SELECT id, slot, path, sha256, width, height, labels FROM images ORDER BY id"
        for _ in range(ATTEMPTS):
            self._connection.execute("BEGIN")
            try:
                told, rows = self._settings(), self._rows(sql)
                file = vectors_file(self.home, int(told["generation"]))
                vectors = matrix.mapped(file, kind_of(told), int(told["slots"]))
            except FileNotFoundError:
                continue  # compaction was between the two
            finally:
                self._connection.execute("COMMIT")
            return _snapshot(told, rows, vectors)
        raise DamagedCollection(f"{self.home}: its file of vectors is gone; index its folder again")

    def _readable(self, told: Mapping[str, Any]) -> NDArray[np.floating]:
        """Return as many vectors as the file holds."""
        file = vectors_file(self.home, int(told["generation"]))
        return matrix.readable(file, kind_of(told), int(told["slots"]))


def _snapshot(told: Mapping[str, Any], rows: list[tuple[Any, ...]], vectors: NDArray[np.floating]) -> Snapshot:
    ids, slots, paths, sha256, widths, heights, labels = zip(*rows, strict=True) if rows else ((),) * 7
    return Snapshot(
        encoder=str(told["encoder"]),
        fingerprint=str(told["fingerprint"]),
        ids=np.array(ids, np.int64),
        slots=np.array(slots, np.int64),
        paths=tuple(map(_name, paths)),
        sha256=sha256,
        sizes=np.array([widths, heights], np.int64).reshape(2, -1).T,
        labels=tuple({} if text == "{}" else json.loads(text) for text in labels),
        matrix=vectors,
    )


def _name(path: str | bytes) -> str:
    return os.fsdecode(path) if isinstance(path, bytes) else path
