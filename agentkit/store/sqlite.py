"""One SQLite connection with the manners that several processes on one file need.

WAL, synchronous=FULL, thirty seconds of patience, BEGIN IMMEDIATE for every write, one lock for all threads. Versions
below 3.51.3 may damage a WAL that two connections write or check-point at the same instant; there, processes write in
turn, by a lock beside the file. Network file systems are refused: no lock can be trusted there. A file that was not
closed cleanly is checked before it is used. Whatever SQLite says becomes one `StoreError` sentence with the mend.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agentkit.errors import StoreError
from agentkit.store import locks, schema

BUSY_TIMEOUT_S = 30.0
WAL_IS_SOUND = (3, 51, 3)  # https://sqlite.org/wal.html#walresetbug
ROOM = 1 << 20  # bytes kept back for writing down what has happened
NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "fuse.sshfs"})
_MENDS = (
    ("locked", "another program holds it; close that program, or wait"),
    ("not a database", "it is not a SQLite file; move it away, or set store.url to another path"),
    ("malformed", "it is damaged; restore a backup, or run `sqlite3 FILE .recover` on a copy of it"),
    ("full", "the disk is full; free some space and go on with --resume"),
    ("disk I/O", "the disk is full or failing; free some space and go on with --resume"),
    ("readonly", "it is read-only; check its permissions, or set store.url to another path"),
    ("unable to open", "its folder cannot be written; set AGENTKIT_HOME or store.url to one that can"),
)


class SqliteDatabase:
    """A connection that threads may share, and its transactions.

    Args:
        path: the file; made, with its folder, if absent. `None`: in memory, gone when closed.
        busy_timeout_s: how long to wait for another process's write.

    Raises:
        StoreError: it cannot be opened or written, is damaged, or a newer agentkit wrote it.
    """

    def __init__(self, path: Path | None, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self.path = path
        self.lock = threading.RLock()
        self._patience = busy_timeout_s
        self._in_turn = path is not None and sqlite3.sqlite_version_info < WAL_IS_SOUND
        self._closed = self._entered = False
        with self.errors():
            self.connection = self._connect(busy_timeout_s)
        try:
            with self.errors():
                self._prepare()
        except BaseException:
            self.connection.close()
            if self._entered:
                locks.leave(self._locks)
            raise

    @property
    def name(self) -> str:
        """What messages call it."""
        return str(self.path) if self.path is not None else "the database in memory"

    @property
    def plain(self) -> sqlite3.Connection:
        """The connection, for reading."""
        return self.connection

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Return all rows of a query as dictionaries."""
        with self.lock, self.errors():
            cursor = self.connection.execute(sql, values)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def row(self, sql: str, values: Sequence[Any] = ()) -> dict[str, Any] | None:
        """Return the first row of a query, or None."""
        return next(iter(self.rows(sql, values)), None)

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Hold a write transaction: committed and on disk at the end, undone by any exception."""
        with self.lock, self.errors(), self.turn():
            try:
                self.connection.execute("BEGIN IMMEDIATE")
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def keep_room(self) -> None:
        """Keep `ROOM` bytes of the disk back, in a file beside the database."""
        if self.path is None or self._spare.exists():
            return
        with self.errors():
            try:
                with self._spare.open("xb") as file:
                    if hasattr(os, "posix_fallocate"):
                        os.posix_fallocate(file.fileno(), 0, ROOM)
                    else:
                        file.write(bytes(ROOM))
            except FileExistsError:
                return  # another process was quicker
            except OSError as error:
                self._spare.unlink(missing_ok=True)
                raise StoreError(
                    f"{self.name}: there is no room to write down what an effect does ({error.strerror}), so none was "
                    "begun; free some space and go on with --resume"
                ) from error

    def use_room(self) -> bool:
        """Delete that file; whether there was one."""
        if self.path is None or not self._spare.exists():
            return False
        self._spare.unlink(missing_ok=True)
        return True

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turn SQLite's and the file system's errors into `StoreError`."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(self._sentence(error)) from error

    def hold(self, thread_id: str) -> bool:
        """Take the byte that stands for a conversation in the lock file."""
        return self.path is None or locks.take(self._locks, _place(thread_id))

    def let_go(self, thread_id: str) -> None:
        """Give it back."""
        if self.path is not None:
            locks.release(self._locks, _place(thread_id))

    def checkpoint_tables(self) -> list[str]:
        """Return those of LangGraph's tables that exist."""
        sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ('checkpoints', 'writes') ORDER BY name"
        return [row["name"] for row in self.rows(sql)]

    def size(self) -> int:
        """Return how many bytes the file and its WAL take; in memory, the pages."""
        if self.path is None:
            found = self.row("SELECT page_count * page_size AS size FROM pragma_page_count(), pragma_page_size()")
            return int((found or {})["size"])
        parts = (self.path, self.path.with_name(f"{self.path.name}-wal"))
        return sum(part.stat().st_size for part in parts if part.exists())

    def vacuum(self) -> None:
        """Give the room of deleted rows back to the disk."""
        with self.lock, self.errors(), self.turn():
            self.connection.execute("VACUUM")
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close it; idempotent. The last one to close a file leaves no WAL behind."""
        with self.lock:
            if self._closed:
                return
            with self.errors(), self.turn():
                self.connection.close()
            self._closed = True
            if self.path is not None:
                self.use_room()
                locks.leave(self._locks)

    @property
    def _spare(self) -> Path:
        assert self.path is not None
        return self.path.with_name(f"{self.path.name}.room")

    @property
    def _locks(self) -> Path:
        assert self.path is not None
        return self.path.with_name(f"{self.path.name}.lock")

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for this process's turn to write, where SQLite itself must not be trusted with that."""
        if not self._in_turn or self._closed:
            yield
            return
        if not locks.take(self._locks, locks.WRITER, patience_s=self._patience):
            raise StoreError(f"{self.name}: database is locked; another program holds it; close that program, or wait")
        try:
            yield
        finally:
            locks.release(self._locks, locks.WRITER)

    def _connect(self, busy_timeout_s: float) -> sqlite3.Connection:
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            kind = file_system(self.path.parent)
            if kind in NETWORK:
                raise StoreError(
                    f"{self.name}: it lies on a network file system ({kind}), where locks do not hold; "
                    "set store.url to a path on a local disk, or to a Postgres server"
                )
        return sqlite3.connect(
            str(self.path or ":memory:"), timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
        )

    def _prepare(self) -> None:
        known = len(schema.MIGRATIONS)
        if self.path is not None:
            self._entered = True
            if locks.enter(self._locks) and self._left_open():
                self._check()
        found = _version(self.connection)  # reads the file: says whether it is a database
        if found > known:
            raise StoreError(
                f"{self.name}: written by a newer agentkit (schema {found}, this one knows {known}); "
                "update agentkit, or set store.url to another path"
            )
        with self.turn():
            self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.execute("PRAGMA foreign_keys = OFF")
        if found < known:
            with self.write() as connection:
                if _version(connection) < known:  # nobody was quicker
                    _migrate(connection)

    def _left_open(self) -> bool:
        """Whether the last process to use the file ended without closing it."""
        assert self.path is not None
        wal = self.path.with_name(f"{self.path.name}-wal")
        return wal.exists() and wal.stat().st_size > 0

    def _check(self) -> None:
        """Look the file over after an unclean end.

        Raises:
            StoreError: it is damaged.
        """
        try:
            said = self.connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.DatabaseError as error:
            said = str(error)
        if said != "ok":
            raise StoreError(
                f"{self.name}: it was not closed cleanly and is damaged ({' '.join(said.split())[:120]}); restore a "
                "backup (`agentkit db backup` makes them), or run `sqlite3 FILE .recover` on a copy of it"
            )

    def _sentence(self, error: Exception) -> str:
        if self._closed:
            return f"{self.name}: it was closed; open the store again"
        if isinstance(error, OSError):
            return (
                f"{self.name}: its folder cannot be made or written ({error.strerror}); "
                "set AGENTKIT_HOME or store.url to one that can"
            )
        text = str(error)
        mend = next((mend for sign, mend in _MENDS if sign in text), "check the file, or restore a backup")
        return f"{self.name}: {text}; {mend}"


def file_system(folder: Path) -> str:
    """Return the kind of file system a folder is on, where the system says so (Linux); else ""."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    here, best, kind = folder.resolve(), Path(), ""
    for line in lines:
        before, _, after = line.partition(" - ")
        point = Path(before.split(" ")[4].replace("\\040", " "))
        if here.is_relative_to(point) and len(point.parts) >= len(best.parts):
            best, kind = point, after.split(" ")[0]
    return kind


def _place(thread_id: str) -> int:
    return int.from_bytes(hashlib.sha256(thread_id.encode(errors="replace")).digest()[:7], "big")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _migrate(connection: sqlite3.Connection) -> None:
    """Apply what is missing; the caller holds a write transaction."""
    import sqlite_utils  # noqa: PLC0415  0.2 s; needed only when a database is made or migrated

    db = sqlite_utils.Database(connection, execute_plugins=False)
    for step in schema.MIGRATIONS[_version(connection) :]:
        for name, table in step.tables.items():
            db[name].create(table.columns, pk=table.pk, not_null=table.not_null, defaults=table.defaults)
            for columns in table.indexes:
                db[name].create_index(columns)
        for name, added in step.columns.items():
            for column, kind in added.items():
                db[name].add_column(column, kind)
    connection.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS)}")
