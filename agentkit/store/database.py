"""One SQLite connection with the manners that several processes on one file need.

WAL, synchronous=FULL, thirty seconds of patience, BEGIN IMMEDIATE for every write, one lock for all
threads. Whatever SQLite says becomes one `StoreError` sentence with the mend. Network file systems are
not supported: SQLite's locks do not hold there.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agentkit.errors import StoreError
from agentkit.store import schema

BUSY_TIMEOUT_S = 30.0
_MENDS = (
    ("locked", "another program holds it; close that program, or wait"),
    ("not a database", "it is not a SQLite file; move it away, or set store.url to another path"),
    ("malformed", "it is damaged; restore a backup, or run `sqlite3 FILE .recover` on a copy of it"),
    ("full", "the disk is full; free some space and go on with --resume"),
    ("readonly", "it is read-only; check its permissions, or set store.url to another path"),
    ("unable to open", "its folder cannot be written; set AGENTKIT_HOME or store.url to one that can"),
)


class Database:
    """A connection that threads may share, and its transactions."""

    def __init__(self, path: Path | None, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self.path = path
        self.lock = threading.RLock()
        self._closed = False
        with self.errors():
            self.connection = self._connect(busy_timeout_s)
        try:
            with self.errors():
                self._prepare()
        except BaseException:
            self.connection.close()
            raise

    @property
    def name(self) -> str:
        """What messages call it."""
        return str(self.path) if self.path is not None else "the database in memory"

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
        with self.lock, self.errors():
            try:
                self.connection.execute("BEGIN IMMEDIATE")
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turn SQLite's and the file system's errors into `StoreError`."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(self._sentence(error)) from error

    def close(self) -> None:
        """Close it; idempotent."""
        with self.lock:
            if not self._closed:
                self._closed = True
                self.connection.close()

    def _connect(self, busy_timeout_s: float) -> sqlite3.Connection:
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        return sqlite3.connect(
            str(self.path or ":memory:"), timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
        )

    def _prepare(self) -> None:
        known = len(schema.MIGRATIONS)
        found = schema.version_of(self.connection)  # reads the file: says whether it is a database
        if found > known:
            raise StoreError(
                f"{self.name}: written by a newer agentkit (schema {found}, this one knows {known}); "
                "update agentkit, or set store.url to another path"
            )
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.execute("PRAGMA foreign_keys = OFF")
        if found < known:
            with self.write() as connection:
                if schema.version_of(connection) < known:  # nobody was quicker
                    schema.migrate(connection)

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
