"""The effects ledger, who drives which conversation, and the processes that runs have started.

An effect is written down before it happens and again, with its result, after. Each time a run takes a conversation over,
the conversation's epoch goes up by one; whoever still acts under an older one is refused at its next effect.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from agentkit import failpoints
from agentkit.errors import StoreError, UsageError
from agentkit.protocols import EffectRow
from agentkit.store.database import Database
from agentkit.store.packing import clean, pack, unpack
from agentkit.store.processes import birth, end_group

_COLUMNS = "effect_id, run_id, tool, args_digest, state, attempt, result, step_path, lease_epoch"
_SELECT = f"SELECT {_COLUMNS} FROM effects"


class Ledger:
    """The part of a store that keeps effects from happening twice."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._db = database
        self._clock = clock

    # effects

    def intend(self, row: EffectRow) -> EffectRow:
        """Durably write INTENT before an effect.

        Returns `row` itself when it is new. Otherwise the row that is there already, which the caller
        must look at: `done` holds the result; `intent` is a try that never reported back, its `attempt`
        now counted one up; `unknown` must not be tried blindly.

        Raises:
            StoreError: another process has taken the conversation over (`row.lease_epoch` is not the last), or
                there is no room to write the result down.
        """
        failpoints.reach("before_intent")
        self._db.keep_room()
        with self._db.write() as db:
            if row.lease_epoch:
                self._check_epoch(db, row)
            made = db.execute(
                f"INSERT INTO effects ({_COLUMNS}, intent_at) VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
                (
                    row.effect_id, row.run_id, clean(row.tool), row.args_digest, "intent", row.attempt, "",
                    row.step_path, row.lease_epoch, self._clock(),
                ),
            )  # fmt: skip
            there = row
            if not made.rowcount:
                found = db.execute(f"{_SELECT} WHERE effect_id = ?", (row.effect_id,)).fetchone()
                there = self._effect(dict(zip(_COLUMNS.split(", "), found, strict=True)))
                if there.state == "intent":
                    there = replace(there, attempt=there.attempt + 1, lease_epoch=row.lease_epoch)
                    db.execute(
                        "UPDATE effects SET attempt = ?, lease_epoch = ? WHERE effect_id = ?",
                        (there.attempt, row.lease_epoch, row.effect_id),
                    )
        failpoints.reach("after_intent")
        return there

    def complete(self, effect_id: str, result: str) -> None:
        """Durably write DONE with the result; the first result stays.

        Raises:
            StoreError: nobody wrote INTENT for it.
        """
        failpoints.reach("after_effect")
        try:
            self._complete(effect_id, result)
        except StoreError:
            if not self._db.use_room():  # kept back for this
                raise
            self._complete(effect_id, result)
        failpoints.reach("after_done")

    def _complete(self, effect_id: str, result: str) -> None:
        with self._db.write() as db:
            found = db.execute("SELECT run_id FROM effects WHERE effect_id = ?", (effect_id,)).fetchone()
            if found is None:
                raise StoreError(f"effect '{effect_id}' was never intended; call intend() before the effect")
            db.execute(
                "UPDATE effects SET state = 'done', result = ?, done_at = ? WHERE effect_id = ? AND state != 'done'",
                (pack(db, found[0], result), self._clock(), effect_id),
            )
            failpoints.reach("before_done")

    def mark_unknown(self, effect_id: str) -> None:
        """Write that nobody knows whether the effect took place; a finished one stays finished."""
        with self._db.write() as db:
            db.execute("UPDATE effects SET state = 'unknown' WHERE effect_id = ? AND state = 'intent'", (effect_id,))

    def effects(self, run_id: str, *, state: str | None = None) -> list[EffectRow]:
        """Return a run's ledger in the order of intent; `state`: only those in it."""
        where, values = ("AND state = ?", (run_id, state)) if state is not None else ("", (run_id,))
        sql = f"{_SELECT} WHERE run_id = ? {where} ORDER BY intent_at, rowid"
        return [self._effect(row) for row in self._db.rows(sql, values)]

    # who drives a conversation

    @contextlib.contextmanager
    def lease(self, thread_id: str, run_id: str) -> Iterator[int]:
        """Hold a conversation while inside; gives its epoch, for `EffectRow.lease_epoch`.

        The right itself is a lock that the system releases when its owner ends, however it ends.

        Raises:
            UsageError: another run is at work in it.
        """
        if not self._db.hold(thread_id):
            raise UsageError(
                f"another run is at work in thread '{thread_id}'{self._holder(thread_id)}; "
                "wait until it has ended, or start a new conversation"
            )
        try:
            yield self._next_epoch(thread_id, run_id)
        finally:
            self._db.let_go(thread_id)

    def _next_epoch(self, thread_id: str, run_id: str) -> int:
        with self._db.write() as db:
            db.execute("INSERT INTO leases (thread_id, epoch) VALUES (?, 0) ON CONFLICT DO NOTHING", (thread_id,))
            db.execute(
                "UPDATE leases SET epoch = epoch + 1, run_id = ?, pid = ?, host = ?, since = ? WHERE thread_id = ?",
                (run_id, os.getpid(), socket.gethostname(), self._clock(), thread_id),
            )
            found = db.execute("SELECT epoch FROM leases WHERE thread_id = ?", (thread_id,)).fetchone()
        return int(found[0])

    def _holder(self, thread_id: str) -> str:
        found = self._db.row("SELECT run_id, pid, host FROM leases WHERE thread_id = ?", (thread_id,))
        if found is None or found["pid"] is None:
            return ""
        elsewhere = "" if found["host"] == socket.gethostname() else f" on {found['host']}"
        return f": run '{found['run_id']}' is active in pid {found['pid']}{elsewhere}"

    def _check_epoch(self, db: Any, row: EffectRow) -> None:
        found = db.execute(
            "SELECT leases.epoch FROM leases JOIN runs ON runs.thread_id = leases.thread_id WHERE runs.run_id = ?",
            (row.run_id,),
        ).fetchone()
        if found is not None and int(found[0]) != row.lease_epoch:
            raise StoreError(
                f"run '{row.run_id}' was taken over by another process (epoch {found[0]}, here {row.lease_epoch}); "
                f"'{row.tool}' was not begun here"
            )

    # processes that runs have started

    def add_child(self, run_id: str, pid: int) -> None:
        """Write down a process that the run started, leader of a group of its own, before it does anything."""
        with self._db.write() as db:
            db.execute(
                "INSERT INTO children (run_id, pid, born, host) VALUES (?,?,?,?)"
                " ON CONFLICT (run_id, pid) DO UPDATE SET born = excluded.born, host = excluded.host",
                (run_id, pid, birth(pid), socket.gethostname()),
            )

    def remove_child(self, run_id: str, pid: int) -> None:
        """Forget a process that has ended."""
        with self._db.write() as db:
            db.execute("DELETE FROM children WHERE run_id = ? AND pid = ?", (run_id, pid))

    def reap(self, run_id: str) -> list[int]:
        """End the groups of processes that the run left behind on this machine; return their pids."""
        rows = self._db.rows("SELECT pid, born, host FROM children WHERE run_id = ?", (run_id,))
        here = [row for row in rows if row["host"] == socket.gethostname()]
        ended = [row["pid"] for row in here if end_group(row["pid"], row["born"])]
        if here:
            with self._db.write() as db:
                db.executemany(
                    "DELETE FROM children WHERE run_id = ? AND pid = ?", [(run_id, row["pid"]) for row in here]
                )
        return ended

    def _effect(self, found: dict[str, Any]) -> EffectRow:
        text = found["result"]
        known = {**found, "step_path": found["step_path"] or "", "lease_epoch": found["lease_epoch"] or 0}
        return EffectRow(**{**known, "result": self._unpacked(found["run_id"], text) if text else ""})

    def _unpacked(self, run_id: str, text: str) -> Any:
        with self._db.lock, self._db.errors():
            return unpack(self._db.plain, run_id, text)
