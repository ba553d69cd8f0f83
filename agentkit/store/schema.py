"""The tables, and how an older database becomes a newer one: plain data, which each kind of database applies.

A database counts the migrations it has seen. One that is newer than this program is refused and never touched;
migrations run in one transaction under the write lock.
"""

from __future__ import annotations

from collections.abc import Mapping
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """What one step adds."""

    tables: Mapping[str, Table] = field(default_factory=dict)
    columns: Mapping[str, Mapping[str, type]] = field(default_factory=dict)  # table -> its new columns


LEASES = Table(
    columns={
        "thread_id": TEXT,
        "epoch": INTEGER,  # counts the runs and resumes that held the thread: the fence
        "run_id": TEXT,
        "pid": INTEGER,
        "host": TEXT,
        "since": REAL,
    },
    pk="thread_id",
    not_null=frozenset({"epoch"}),
)
CHILDREN = Table(
    columns={
        "run_id": TEXT,
        "pid": INTEGER,
        "born": TEXT,
        "host": TEXT,
    },  # `born` tells it from a later process of that pid
    pk=("run_id", "pid"),
    not_null=frozenset({"born"}),
)
LEARNED = Table(columns={"name": TEXT, "at": REAL, "data": TEXT}, pk="name", not_null=frozenset({"at", "data"}))
MIGRATIONS: tuple[Migration, ...] = (
    Migration(tables=FIRST),
    Migration(
        tables={"leases": LEASES, "children": CHILDREN},
        columns={"effects": {"step_path": TEXT, "lease_epoch": INTEGER}, "runs": {"recoveries": INTEGER}},
    ),
    Migration(tables={"learned": LEARNED}),
)
