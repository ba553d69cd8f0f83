"""The tables, and how an older database becomes a newer one.

`PRAGMA user_version` counts the migrations applied. A database that is newer than this program is
refused and never touched; migrations run in one transaction under the write lock.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

TEXT, REAL, INTEGER, BLOB = str, float, int, bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table as the first schema made it."""

    columns: Mapping[str, type]
    pk: str | tuple[str, ...]
    not_null: frozenset[str]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    indexes: tuple[tuple[str, ...], ...] = ()


FIRST: Mapping[str, Table] = {
    "runs": Table(
        columns={
            "run_id": TEXT,
            "thread_id": TEXT,
            "state": TEXT,  # running | ended
            "task": TEXT,  # its first words, for lists
            "model": TEXT,
            "stop_reason": TEXT,
            "started_at": REAL,
            "ended_at": REAL,
            "row": TEXT,  # JSON: everything the graph wrote, start and end merged
        },
        pk="run_id",
        not_null=frozenset({"thread_id", "state", "started_at", "row"}),
        indexes=(("thread_id", "started_at"), ("started_at",)),
    ),
    "events": Table(
        columns={"run_id": TEXT, "seq": INTEGER, "type": TEXT, "event": TEXT},
        pk=("run_id", "seq"),
        not_null=frozenset({"event"}),
    ),
    "effects": Table(
        columns={
            "effect_id": TEXT,
            "run_id": TEXT,
            "tool": TEXT,
            "args_digest": TEXT,
            "state": TEXT,  # intent | done | unknown
            "attempt": INTEGER,
            "result": TEXT,
            "intent_at": REAL,
            "done_at": REAL,
        },
        pk="effect_id",
        not_null=frozenset({"run_id", "tool", "args_digest", "state", "attempt", "intent_at"}),
        defaults={"result": ""},
        indexes=(("run_id",),),
    ),
    "approvals": Table(
        columns={
            "id": TEXT,
            "run_id": TEXT,
            "thread_id": TEXT,
            "tool": TEXT,
            "state": TEXT,  # pending | approved | denied | expired | cancelled
            "created_at": REAL,
            "expires_at": REAL,
            "resolved_at": REAL,
            "resolved_by": TEXT,
            "row": TEXT,
        },
        pk="id",
        not_null=frozenset({"state", "created_at", "row"}),
        indexes=(("state", "created_at"),),
    ),
    "trees": Table(
        columns={"run_id": TEXT, "turn": INTEGER, "tree": TEXT}, pk=("run_id", "turn"), not_null=frozenset({"tree"})
    ),
    **{
        name: Table(
            columns={"id": INTEGER, "run_id": TEXT, "at": REAL, "row": TEXT},
            pk="id",
            not_null=frozenset({"run_id", "at", "row"}),
            indexes=(("run_id",),),
        )
        for name in ("feedback", "checks")
    },
    "blobs": Table(
        columns={"run_id": TEXT, "digest": TEXT, "data": BLOB}, pk=("run_id", "digest"), not_null=frozenset({"data"})
    ),
}


def version_of(connection: sqlite3.Connection) -> int:
    """Return how many migrations the database has seen."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Apply what is missing; the caller holds a write transaction."""
    import sqlite_utils  # noqa: PLC0415  0.2 s; needed only when a database is made or migrated

    database = sqlite_utils.Database(connection, execute_plugins=False)
    for step in MIGRATIONS[version_of(connection) :]:
        step(database)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _first(db: Any) -> None:
    for name, table in FIRST.items():
        db[name].create(table.columns, pk=table.pk, not_null=table.not_null, defaults=table.defaults)
        for columns in table.indexes:
            db[name].create_index(columns)


MIGRATIONS: tuple[Callable[[Any], None], ...] = (_first,)
