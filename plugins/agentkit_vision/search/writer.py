"""A collection's one writer: adds, removes, compacts. Killed at any instant, it leaves a collection that opens."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import StoreError
from agentkit_vision.contracts import Encoder, Vectors
from agentkit_vision.search import matrix, tables
from agentkit_vision.search.collection import Collection, kind_of, vectors_file
from agentkit_vision.search.errors import DamagedCollection, NotMade
from agentkit_vision.search.locking import writing_alone
from agentkit_vision.search.values import Entry, Known, name_of, stored

__all__ = ["Writer"]

UNIT = 0.01  # how far from 1 a vector's length may be
BLOCK = 4096  # vectors that are copied at once
Slot = tuple[int, int]  # where a vector is, and its checksum
_Facts = tuple[int, int, int, int, bytes | None]  # slot, checksum, width, height, thumbnail


class Writer(Collection):
    """A collection, open for writing; made where there is none. Readers, in any process, are not disturbed.

    Args:
        home: its own folder; made if absent.
        encoder: whose vectors it holds, or will. None: the collection is there, and nothing will be added.
        root: the folder that the pictures are in; None for a new one takes the folder that `home` lies in.
        dtype: of the vectors of a new one: `float16` (errors of a score below 0.001) or `float32`.
        reindex: where it holds another encoder's vectors, drop them all.
        wait_s: how long to wait for another writer to end.

    Raises:
        CollectionBusy: there is another writer.
        EncoderMismatch: it holds another encoder's vectors, and `reindex` is off.
        StoreError: it cannot be made, read or written.
    """

    def __init__(
        self,
        home: Path,
        encoder: Encoder | None = None,
        *,
        root: Path | None = None,
        dtype: str = "float16",
        reindex: bool = False,
        wait_s: float = 0.0,
    ) -> None:
        if dtype not in matrix.DTYPES:
            raise StoreError(f"{home}: vectors cannot be kept as {dtype}; choose {' or '.join(matrix.DTYPES)}")
        if encoder is None and not (home / tables.DATABASE).exists():
            raise NotMade(f"{home}: no collection is there; index a folder first")
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{home}: cannot be made ({error.strerror}); choose another place") from error
        self._stack = contextlib.ExitStack()
        try:
            self._stack.enter_context(writing_alone(home.resolve(), wait_s=wait_s))
            super().__init__(home, root=root)
            self._stack.callback(self._connection.close)
            self._prepare(encoder, dtype, reindex)
        except BaseException:
            self._stack.close()
            raise

    def close(self) -> None:
        """Close it and let the next writer in; idempotent."""
        with self._lock, tables.errors(self.home):
            self._stack.close()

    def add(self, entries: Sequence[Entry], vectors: Mapping[str, Vectors]) -> None:
        """Put images in, or in the place of what their files held before; all of them or, whatever happens, none.

        Args:
            entries: the images.
            vectors: (dim,) of length 1 for the contents, by SHA-256, that the collection does not hold yet.

        Raises:
            StoreError: a vector is missing or not one, or there is no room.
        """
        told = self._settings()
        first, rows = int(told["slots"]), _checked(vectors, int(told["dim"]), str(told["dtype"]))
        if vectors:
            matrix.append(vectors_file(self.home, int(told["generation"])), rows, at=first)
        sums = matrix.checksums(rows)
        places = {sha256: (first + n, sums[n]) for n, sha256 in enumerate(vectors)}
        with self._changing() as connection:
            facts = {
                sha256: _facts(connection, sha256, entries, places) for sha256 in {entry.sha256 for entry in entries}
            }
            for entry in entries:
                _put(connection, name_of(entry.path, self.root), entry, facts[entry.sha256])
            _set(connection, slots=first + len(rows))

    def holds(self, sha256: str) -> bool:
        """Whether there is a vector for contents."""
        return bool(self._rows("SELECT 1 FROM images WHERE sha256 = ? LIMIT 1", (sha256,)))

    def touch(self, name: str, known: Known) -> None:
        """Write down that a file has the same contents with another time of change, or other labels."""
        values = (known.size, known.mtime_ns, _plain(known.labels), stored(name))
        with self._changing() as connection:
            connection.execute("UPDATE images SET size = ?, mtime_ns = ?, labels = ? WHERE path = ?", values)

    def remove(self, names: Iterable[str]) -> int:
        """Take images out by name, on somebody's wish; return how many were there."""
        return self._remove("path", [stored(name) for name in names], edited=True)

    def forget(self, names: Iterable[str]) -> int:
        """Take images out whose files are gone or cannot be read any more; return how many were there."""
        return self._remove("path", [stored(name) for name in names], edited=False)

    def mend(self) -> int:
        """Take out the images whose vectors are damaged, so that they are embedded again; return how many."""
        lost = self.damaged()
        try:
            self.snapshot()
        except DamagedCollection:
            self._rewrite(lost)
        else:
            self._remove("id", lost, edited=False)
        return len(lost)

    def compact(self) -> int:
        """Write the vectors that are in use into a new file; return how many were dropped."""
        now = self.info()
        if now.dead:
            self._rewrite(())
        return now.dead

    def _open(self) -> sqlite3.Connection:
        return tables.for_writing(self.home)

    def _prepare(self, encoder: Encoder | None, dtype: str, reindex: bool) -> None:
        if not tables.is_made(self._connection):
            if encoder is None:
                raise NotMade(f"{self.home}: a collection was begun there and never made; index its folder again")
            self._make(encoder, dtype)
        elif self._root is not None and (told := _told(self._root, self.home)) != self._settings()["root"]:
            with self._changing() as connection:
                _set(connection, root=told)
        if encoder is not None and reindex and encoder.fingerprint != self.fingerprint:
            self._rewrite([row[0] for row in self._rows("SELECT id FROM images")], encoder)
        elif encoder is not None:
            self.check_encoder(encoder)
        self._sweep()

    def _make(self, encoder: Encoder, dtype: str) -> None:
        about = {**_about(encoder), "dtype": dtype}
        matrix.create(vectors_file(self.home, 1), matrix.Kind(encoder.dim, dtype, encoder.fingerprint))
        root = _told(self._root or self.home.parent, self.home)
        with self._changing() as connection:
            for line in tables.SCHEMA:
                connection.execute(line)
            _set(connection, **about, generation=1, slots=0, edits=0, root=root)

    def _rewrite(self, lost: Sequence[int], encoder: Encoder | None = None) -> None:
        """Go over to a new file of vectors: those in use, without the images `lost`; maybe for another encoder."""
        told = self._settings()
        about, gone = _about(encoder) if encoder is not None else {}, set(lost)
        rows = self._rows("SELECT id, slot FROM images")
        alive = np.unique(np.array([slot for id, slot in rows if id not in gone], np.int64))
        lines, new = self._readable(told), {**told, **about, "generation": int(told["generation"]) + 1}
        file = vectors_file(self.home, new["generation"])
        matrix.create(file, kind_of(new))
        for start in range(0, len(alive), BLOCK):
            matrix.append(file, np.asarray(lines[alive[start : start + BLOCK]]), at=start)
        places = {int(old): n for n, old in enumerate(alive)}
        with self._changing() as connection:
            connection.executemany("DELETE FROM images WHERE id = ?", ((id,) for id in gone))
            moved = [(places[slot], id) for id, slot in rows if id not in gone]
            connection.executemany("UPDATE images SET slot = ? WHERE id = ?", moved)
            _set(connection, **about, generation=new["generation"], slots=len(alive))
        self._sweep()

    def _sweep(self) -> None:
        """Delete vectors of other generations: an unfinished compaction's, or those that it replaced."""
        current = vectors_file(self.home, int(self._settings()["generation"]))
        for file in self.home.glob("vectors-*.bin"):
            if file != current:
                with contextlib.suppress(OSError):  # Windows: a reader has it open
                    file.unlink()

    def _remove(self, column: str, values: Sequence[str | bytes | int], *, edited: bool) -> int:
        if not values:
            return 0
        with self._changing() as connection:
            before = connection.total_changes
            connection.executemany(f"DELETE FROM images WHERE {column} = ?", ((value,) for value in values))
            gone = connection.total_changes - before
            if edited and gone:
                connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'edits'")
        return gone

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, tables.errors(self.home), tables.transaction(self._connection) as connection:
            yield connection
        self._seen = None


def _checked(vectors: Mapping[str, Vectors], dim: int, dtype: str) -> NDArray[np.floating]:
    """Return (n, dim) as they are kept."""
    for sha256, vector in vectors.items():
        if vector.shape != (dim,) or not abs(float(np.linalg.norm(vector)) - 1) < UNIT:
            raise StoreError(
                f"image {sha256[:12]}: the encoder gave no vector of {dim} numbers and of length 1; check the encoder"
            )
    return np.array(list(vectors.values()), dtype).reshape(len(vectors), dim)


def _facts(connection: sqlite3.Connection, sha256: str, entries: Sequence[Entry], new: Mapping[str, Slot]) -> _Facts:
    """Return what goes with contents: of the image that brings them, or of one that is there already."""
    if sha256 in new:
        first = next(entry for entry in entries if entry.sha256 == sha256)
        return (*new[sha256], first.width, first.height, first.thumbnail)
    sql = "SELECT slot, crc, width, height, thumbnail FROM images WHERE sha256 = ? LIMIT 1"
    found: _Facts | None = connection.execute(sql, (sha256,)).fetchone()
    if found is None:
        raise StoreError(f"image {sha256[:12]}: no vector was given for it and none is there; give one")
    return found


def _put(connection: sqlite3.Connection, name: str, entry: Entry, facts: _Facts) -> None:
    slot, crc, width, height, thumbnail = facts
    values = {
        "path": stored(name), "sha256": entry.sha256, "size": entry.size, "mtime_ns": entry.mtime_ns, "width": width,
        "height": height, "labels": _plain(entry.labels), "added_at": time.time(), "slot": slot, "crc": crc,
        "thumbnail": thumbnail,
    }  # fmt: skip
    columns = ", ".join(values)
    changes = ", ".join(f"{column} = excluded.{column}" for column in values if column != "path")
    sql = f"INSERT INTO images ({columns}) VALUES ({', '.join('?' * len(values))}) ON CONFLICT (path) DO UPDATE SET {changes}"
    connection.execute(sql, tuple(values.values()))


def _set(connection: sqlite3.Connection, **values: str | bytes | int) -> None:
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())


def _about(encoder: Encoder) -> dict[str, str | int]:
    return {"encoder": encoder.name, "fingerprint": encoder.fingerprint, "dim": encoder.dim}


def _plain(labels: Mapping[str, str]) -> str:
    return json.dumps(dict(labels), ensure_ascii=False)


def _told(root: Path, home: Path) -> str | bytes:
    """Return a root as it is written down: relative where the collection lies inside it."""
    return stored(os.path.relpath(root, home) if home.is_relative_to(root) else str(root))
