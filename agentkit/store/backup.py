"""A copy of a SQLite database, consistent while others write to it; nothing in the original is changed or migrated."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from agentkit.errors import StoreError
from agentkit.store import locks
from agentkit.store.sqlite import BUSY_TIMEOUT_S, WAL_IS_SOUND


def copy(source: Path, target: Path) -> None:
    """Copy the database `source` to the new file `target`, and check the copy.

    Raises:
        StoreError: it cannot be read or written, or what came out is damaged; `target` is then not there.
    """
    file = source.with_name(f"{source.name}.lock")
    in_turn = sqlite3.sqlite_version_info < WAL_IS_SOUND
    if in_turn and not locks.take(file, locks.WRITER, patience_s=BUSY_TIMEOUT_S):
        raise StoreError(f"{source}: database is locked; another program holds it; close that program, or wait")
    try:
        _copy(source, target)
    except (sqlite3.Error, OSError) as error:
        target.unlink(missing_ok=True)
        raise StoreError(
            f"{target}: the copy failed ({error}); check that its folder can be written, has room, and that {source} "
            "is a sound database"
        ) from error
    finally:
        if in_turn:
            locks.release(file, locks.WRITER)


def _copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source, timeout=BUSY_TIMEOUT_S)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
        said = new.execute("PRAGMA quick_check(1)").fetchone()[0]
        if said != "ok":
            raise sqlite3.DatabaseError(f"the original is damaged: {' '.join(said.split())[:120]}")
