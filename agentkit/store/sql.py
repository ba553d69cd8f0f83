"""The `Store` on a database that speaks SQL.

Rows hold small columns and JSON; a JSON text above 32 kB is compressed into the `blobs` table. Every
method is one transaction, on disk when it returns. Threads may share one object; processes may share
one database. The SQL is what SQLite and Postgres have in common.
"""

from __future__ import annotations

import json
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agentkit import failpoints
from agentkit.errors import StoreError
from agentkit.store.database import Database
from agentkit.store.ledger import Ledger
from agentkit.store.packing import clean, first_words, pack, unpack
from agentkit.store.retention import forget, old_runs
from agentkit.store.sqlite import BUSY_TIMEOUT_S, SqliteDatabase

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

APPROVAL_STATES = ("approved", "denied", "expired", "cancelled")


class SqlStore(Ledger, ABC):
    """Keeps runs, events, effects, approvals, trees, feedback and checks in a database.

    Args:
        database: where; closed with the store.
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(database, clock)
        self._saver: BaseCheckpointSaver[str] | None = None

    @property
    def name(self) -> str:
        """What messages call it; no password."""
        return self._db.name

    # runs

    def start_run(self, run_id: str, thread_id: str, row: Mapping[str, Any]) -> None:
        """Insert the run before its id is given to anybody.

        `task` and `model` of `row`, where present, are columns of their own too.

        Raises:
            StoreError: there is a run of that id already.
        """
        with self._db.write() as db:
            made = db.execute(
                "INSERT INTO runs (run_id, thread_id, state, task, model, started_at, row) VALUES (?,?,?,?,?,?,?)"
                " ON CONFLICT DO NOTHING",
                (
                    run_id,
                    thread_id,
                    "running",
                    first_words(row.get("task")),
                    clean(row.get("model")),
                    self._clock(),
                    pack(db, run_id, dict(row)),
                ),
            )
            if not made.rowcount:
                raise StoreError(f"run '{run_id}' exists already; go on with it by --resume, or take another id")

    def end_run(self, run_id: str, row: Mapping[str, Any]) -> None:
        """Write how it ended: `row` is merged over what `start_run` wrote.

        Raises:
            StoreError: there is no such run.
        """
        with self._db.write() as db:
            found = db.execute("SELECT row FROM runs WHERE run_id = ?", (run_id,)).fetchone()
            if found is None:
                raise StoreError(f"run '{run_id}' is not in {self._db.name}; `agentkit runs` lists those that are")
            merged = {**unpack(db, run_id, found[0]), **row}
            db.execute(
                "UPDATE runs SET state = 'ended', stop_reason = ?, ended_at = ?, row = ? WHERE run_id = ?",
                (clean(row.get("stop_reason")), self._clock(), pack(db, run_id, merged), run_id),
            )
            failpoints.reach("in_finish")

    def recovered(self, run_id: str) -> int:
        """Count that a run which did not end by itself is taken up once more; return how often that was."""
        with self._db.write() as db:
            db.execute("UPDATE runs SET recoveries = COALESCE(recoveries, 0) + 1 WHERE run_id = ?", (run_id,))
            found = db.execute("SELECT recoveries FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        return int(found[0]) if found else 0

    def run(self, run_id: str) -> Mapping[str, Any] | None:
        """Return one run: its columns, and the fields of its row beside them."""
        found = self._db.row("SELECT * FROM runs WHERE run_id = ?", (run_id,))
        return self._opened(found) if found is not None else None

    def runs(self, *, limit: int = 50, thread_id: str | None = None) -> list[Mapping[str, Any]]:
        """Return runs, newest first."""
        where, values = ("WHERE thread_id = ?", [thread_id]) if thread_id is not None else ("", [])
        order = "ORDER BY started_at DESC, rowid DESC LIMIT ?"
        return [self._opened(row) for row in self._db.rows(f"SELECT * FROM runs {where} {order}", [*values, limit])]

    def threads(self, *, limit: int = 50) -> list[Mapping[str, Any]]:
        """Return `thread_id, runs, first_at, last_at, task` (its first words), last used first."""
        rows = self._db.rows(
            """
            SELECT thread_id, COUNT(*) AS runs, MIN(started_at) AS first_at,
                   MAX(COALESCE(ended_at, started_at)) AS last_at,
                   (SELECT task FROM runs AS first WHERE first.thread_id = runs.thread_id
                    ORDER BY started_at, rowid LIMIT 1) AS task
            FROM runs GROUP BY thread_id ORDER BY last_at DESC, MAX(rowid) DESC LIMIT ?
            """,
            (limit,),
        )
        return list(rows)

    # events

    def next_seq(self, run_id: str) -> int:
        """Return the sequence number after the run's last persisted event; 1 for a new run."""
        found = self._db.row("SELECT MAX(seq) AS last FROM events WHERE run_id = ?", (run_id,))
        return int((found or {}).get("last") or 0) + 1

    def append_event(self, run_id: str, seq: int, event: Mapping[str, Any]) -> None:
        """Persist one event.

        Raises:
            StoreError: another event has that number, so somebody else drives this run.
        """
        with self._db.write() as db:
            made = db.execute(
                "INSERT INTO events (run_id, seq, type, event) VALUES (?,?,?,?) ON CONFLICT DO NOTHING",
                (run_id, seq, clean(event.get("type")), pack(db, run_id, dict(event))),
            )
            if not made.rowcount:
                raise StoreError(f"run '{run_id}': event {seq} is there already; another process is driving this run")

    def events(self, run_id: str) -> list[Mapping[str, Any]]:
        """Return a run's events in order."""
        rows = self._db.rows("SELECT event FROM events WHERE run_id = ? ORDER BY seq", (run_id,))
        return [self._unpacked(run_id, row["event"]) for row in rows]

    # approvals

    def request_approval(self, row: Mapping[str, Any]) -> str:
        """Insert a pending approval; return its id.

        A row with an `id` of its own is inserted once: asking again returns the same id and changes
        nothing. `expires_at` (seconds since the epoch) is honoured where present.
        """
        approval_id = str(row.get("id") or uuid.uuid4().hex)
        run_id = clean(row.get("run_id")) or ""
        with self._db.write() as db:
            db.execute(
                "INSERT INTO approvals (id, run_id, thread_id, tool, state, created_at, expires_at, row)"
                " VALUES (?,?,?,?,'pending',?,?,?) ON CONFLICT DO NOTHING",
                (
                    approval_id,
                    run_id,
                    clean(row.get("thread_id")),
                    clean(row.get("tool")),
                    self._clock(),
                    row.get("expires_at"),
                    pack(db, run_id, {**row, "id": approval_id}),
                ),
            )
        return approval_id

    def approvals(self, *, state: str | None = None) -> list[Mapping[str, Any]]:
        """Return approvals, newest first; those past their time are `expired` from now on."""
        self._expire()
        where, values = ("WHERE state = ?", [state]) if state is not None else ("", [])
        rows = self._db.rows(f"SELECT * FROM approvals {where} ORDER BY created_at DESC, rowid DESC", values)
        return [self._opened(row) for row in rows]

    def approval(self, approval_id: str) -> Mapping[str, Any] | None:
        """Return one approval, or None."""
        self._expire()
        found = self._db.row("SELECT * FROM approvals WHERE id = ?", (approval_id,))
        return self._opened(found) if found is not None else None

    def resolve_approval(self, approval_id: str, state: str, by: str) -> bool:
        """Move a pending approval to its end, once; return whether this call did it."""
        if state not in APPROVAL_STATES:
            raise StoreError(f"approval state {state!r}: unknown; one of {', '.join(APPROVAL_STATES)}")
        self._expire()
        with self._db.write() as db:
            now = self._clock()
            done = db.execute(
                "UPDATE approvals SET state = ?, resolved_by = ?, resolved_at = ?"
                " WHERE id = ? AND state = 'pending' AND (expires_at IS NULL OR expires_at >= ?)",
                (state, clean(by), now, approval_id, now),
            )
            return bool(done.rowcount == 1)

    # what a run leaves behind

    def save_tree(self, run_id: str, turn: int, tree: Mapping[str, Any]) -> None:
        """Keep a search tree; a second one for the same turn replaces the first."""
        with self._db.write() as db:
            db.execute(
                "INSERT INTO trees (run_id, turn, tree) VALUES (?,?,?)"
                " ON CONFLICT (run_id, turn) DO UPDATE SET tree = excluded.tree",
                (run_id, turn, pack(db, run_id, dict(tree))),
            )

    def trees(self, run_id: str, *, since: int = 0) -> list[Mapping[str, Any]]:
        """Return a run's search trees by turn, each with its `turn`, the first of turn `since`."""
        found = "SELECT turn, tree FROM trees WHERE run_id = ? AND turn >= ? ORDER BY turn"
        rows = self._db.rows(found, (run_id, since))
        return [{"turn": row["turn"], **self._unpacked(run_id, row["tree"])} for row in rows]

    def save_learned(self, name: str, data: Mapping[str, Any]) -> None:
        """Keep what was learned over many runs, in place of what was kept under that name before."""
        with self._db.write() as db:
            db.execute(
                "INSERT INTO learned (name, at, data) VALUES (?,?,?)"
                " ON CONFLICT (name) DO UPDATE SET at = excluded.at, data = excluded.data",
                (name, self._clock(), json.dumps(data)),
            )

    def learned(self, name: str) -> Mapping[str, Any] | None:
        """Return what was kept under a name, None if nothing was."""
        rows = self._db.rows("SELECT data FROM learned WHERE name = ?", (name,))
        return json.loads(rows[0]["data"]) if rows else None

    def add_note(self, table: Literal["feedback", "checks"], run_id: str, row: Mapping[str, Any]) -> None:
        """Keep a person's feedback on a run, or what one of its checks said."""
        with self._db.write() as db:
            db.execute(
                f"INSERT INTO {table} (run_id, at, row) VALUES (?,?,?)",
                (run_id, self._clock(), pack(db, run_id, dict(row))),
            )

    def notes(self, table: Literal["feedback", "checks"], run_id: str) -> list[Mapping[str, Any]]:
        """Return what `add_note` kept, oldest first."""
        return [
            self._opened(row) for row in self._db.rows(f"SELECT * FROM {table} WHERE run_id = ? ORDER BY id", (run_id,))
        ]

    # the whole

    def prune(self, *, older_than_s: float, unfinished: bool = False, dry_run: bool = False) -> int:
        """Delete runs started longer ago, with all they left; return how many.

        Runs with a pending approval stay, and those that could still go on unless `unfinished`. A thread's
        checkpoints go when its last run goes. `dry_run`: only count them.
        """
        self._expire()
        gone = old_runs(self._db, self._clock() - older_than_s, unfinished=unfinished)
        if gone and not dry_run:
            forget(self._db, gone)
        return len(gone)

    def remove_thread(self, thread_id: str) -> int:
        """Delete a conversation: its runs with all they left, and its checkpoints; return how many runs."""
        gone = [row["run_id"] for row in self._db.rows("SELECT run_id FROM runs WHERE thread_id = ?", (thread_id,))]
        forget(self._db, gone)
        return len(gone)

    def size(self) -> int:
        """Return how many bytes it takes."""
        return self._db.size()

    def vacuum(self) -> None:
        """Give the room of deleted rows back to the disk; a server does that by itself, in its own time."""
        self._db.vacuum()

    def checkpointer(self) -> BaseCheckpointSaver[str]:
        """Return the LangGraph saver on this database; always the same one."""
        if self._saver is None:
            self._saver = self._make_saver()
        return self._saver

    @abstractmethod
    def _make_saver(self) -> BaseCheckpointSaver[str]: ...

    def close(self) -> None:
        """Close it, and its saver with it; idempotent."""
        self._db.close()

    def _expire(self) -> None:
        late = "state = 'pending' AND expires_at IS NOT NULL AND expires_at < ?"
        if self._db.row(f"SELECT 1 AS x FROM approvals WHERE {late} LIMIT 1", (self._clock(),)):
            with self._db.write() as db:
                now = self._clock()
                db.execute(f"UPDATE approvals SET state = 'expired', resolved_at = ? WHERE {late}", (now, now))

    def _opened(self, found: dict[str, Any]) -> dict[str, Any]:
        row = self._unpacked(found["run_id"], found.pop("row"))
        return {**row, **{key: value for key, value in found.items() if key != "task" or "task" not in row}}


class SqliteStore(SqlStore):
    """Keeps everything in one SQLite file.

    Args:
        path: the file; made, with its folder, if absent. `None`: in memory, gone when closed.
        clock: seconds since the epoch.
        busy_timeout_s: how long to wait for another process's write.

    Raises:
        StoreError: it cannot be opened or written, is damaged, or a newer agentkit wrote it.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        clock: Callable[[], float] = time.time,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
    ) -> None:
        self._sqlite = SqliteDatabase(path, busy_timeout_s=busy_timeout_s)
        super().__init__(self._sqlite, clock=clock)

    @property
    def path(self) -> Path | None:
        """The file, or None when in memory."""
        return self._sqlite.path

    def _make_saver(self) -> BaseCheckpointSaver[str]:
        from agentkit.store.saver import Saver  # noqa: PLC0415  langgraph: half a second

        return Saver(self._sqlite)
