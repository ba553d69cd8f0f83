"""The collection's rows: one SQLite file, written by one connection at a time and read by any number.

Readers open it read-only, so they never check-point the WAL: only who holds the writer's lock does.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from agentkit.errors import StoreError
from agentkit_vision.search.errors import DamagedCollection, NotMade

__all__ = ["DATABASE", "errors", "for_reading", "for_writing", "is_made", "settings", "transaction"]

DATABASE = "collection.db"
VERSION = 1
BUSY_TIMEOUT_S = 30.0
SCHEMA = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    # path has no type: a name that is no text is kept as bytes
    "CREATE TABLE images (id INTEGER PRIMARY KEY AUTOINCREMENT, path NOT NULL UNIQUE, sha256 TEXT NOT NULL, "
    "size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL, "
    "labels TEXT NOT NULL, added_at REAL NOT NULL, slot INTEGER NOT NULL, crc INTEGER NOT NULL, thumbnail BLOB)",
    "CREATE INDEX images_sha256 ON images (sha256)",
    f"PRAGMA user_version = {VERSION}",
)
_MENDS = (
    ("closed database", "open the collection again"),
    ("locked", "another program holds it; close that program, or wait"),
    ("not a database", "it is not a SQLite file; delete the collection's folder and index again"),
    ("malformed", "it is damaged; delete the collection's folder and index again"),
    ("full", "the disk is full; free some space and index again: it goes on where it stopped"),
    ("disk I/O", "the disk is full or failing; free some space and index again: it goes on where it stopped"),
    ("readonly", "it is read-only; make its folder writable"),
    ("unable to open", "make its folder readable, or index a folder first"),
)
_DAMAGE = ("not a database", "malformed")


def for_reading(home: Path) -> sqlite3.Connection:
    """Open a collection's rows to read them; also on a medium that cannot be written.

    Raises:
        StoreError: there is no collection, it is damaged, or a newer agentkit wrote it.
    """
    file = home / DATABASE
    if not file.exists():
        raise NotMade(f"{home}: no collection is there; index a folder first")
    with errors(home):
        try:
            connection = _connect(home, "mode=ro")
        except sqlite3.OperationalError as error:
            if "open" not in str(error):
                raise
            connection = _connect(home, "mode=ro&immutable=1")  # no place for the WAL's index: nobody writes there
    if not is_made(connection):
        connection.close()
        raise NotMade(f"{home}: a collection was begun there and never made; index its folder again")
    return connection


def for_writing(home: Path) -> sqlite3.Connection:
    """Open a collection's rows to write them; the caller is the only writer, and makes them if they are not there.

    Raises:
        StoreError: it cannot be written, is damaged, or a newer agentkit wrote it.
    """
    with errors(home):
        connection = _connect(home, "mode=rwc")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    return connection


def is_made(connection: sqlite3.Connection) -> bool:
    """Whether the tables are there."""
    return bool(_version(connection))


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Hold a write transaction: on the disk at its end, undone by any exception."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def settings(connection: sqlite3.Connection) -> dict[str, str | int | float]:
    """Return what is written down of the collection as a whole."""
    return dict(connection.execute("SELECT name, value FROM meta"))


@contextlib.contextmanager
def errors(home: Path) -> Iterator[None]:
    """Turn SQLite's errors into `StoreError`, and those of a damaged file into `DamagedCollection`."""
    try:
        yield
    except sqlite3.Error as error:
        text = str(error)
        mend = next(
            (mend for sign, mend in _MENDS if sign in text),
            "check the disk, or delete the collection's folder and index again",
        )
        kind = DamagedCollection if any(sign in text for sign in _DAMAGE) else StoreError
        raise kind(f"{home / DATABASE}: {text}; {mend}") from error


def _connect(home: Path, how: str) -> sqlite3.Connection:
    """Open the file, and see that this agentkit knows its tables."""
    name = quote(os.fsencode((home / DATABASE).absolute().as_posix()))
    connection = sqlite3.connect(
        f"file:{name}?{how}", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    try:
        version = _version(connection)
        if version > VERSION:
            raise StoreError(
                f"{home}: written by a newer agentkit (version {version}, this one knows {VERSION}); update it"
            )
    except BaseException:
        connection.close()
        raise
    return connection


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
