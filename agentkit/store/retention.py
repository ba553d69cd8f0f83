"""Which runs may be forgotten, and forgetting them whole.

A run that waits for an approval stays. So does one that has not come to its end and can still go on (the newest of its
conversation, running, cancelled, failed, or approved and not yet taken up), unless that is asked for; one that a process
is at work on stays in any case.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentkit.store.database import Database, Statements
from agentkit.types import UNFINISHED

RUN_TABLES = ("events", "effects", "approvals", "trees", "feedback", "checks", "blobs", "children", "runs")
_OLD = """
SELECT run_id, thread_id, state,
       (state = 'running' OR stop_reason IN ({reasons})) AND NOT EXISTS
       (SELECT 1 FROM runs AS later WHERE later.thread_id = runs.thread_id AND later.started_at > runs.started_at)
       AS unfinished
FROM runs WHERE started_at < ? AND run_id NOT IN (SELECT run_id FROM approvals WHERE state = 'pending')
ORDER BY started_at
"""
_REASONS = tuple(sorted(reason.value for reason in UNFINISHED))


def old_runs(db: Database, before: float, *, unfinished: bool) -> list[str]:
    """Return the ids of the runs that may go, oldest first.

    Args:
        db: the database.
        before: they were started earlier than this, in seconds since the epoch.
        unfinished: those that could still go on as well.
    """
    rows = db.rows(_OLD.format(reasons=",".join("?" * len(_REASONS))), (*_REASONS, before))
    if not unfinished:
        return [row["run_id"] for row in rows if not row["unfinished"]]
    return [row["run_id"] for row in rows if row["state"] != "running" or _is_free(db, row["thread_id"])]


def forget(db: Database, run_ids: Sequence[str]) -> None:
    """Delete runs with all they left; a conversation's checkpoints go with its last run."""
    made = db.checkpoint_tables()
    with db.write() as statements:
        threads = {thread for run_id in run_ids for thread in _threads(statements, run_id)}
        for table in RUN_TABLES:
            statements.executemany(f"DELETE FROM {table} WHERE run_id = ?", [(run_id,) for run_id in run_ids])
        kept = {thread for (thread,) in statements.execute("SELECT DISTINCT thread_id FROM runs").fetchall()}
        for table in (*made, "leases"):
            statements.executemany(
                f"DELETE FROM {table} WHERE thread_id = ?", [(thread,) for thread in sorted(threads - kept)]
            )


def _threads(statements: Statements, run_id: str) -> list[str]:
    found = statements.execute("SELECT thread_id FROM runs WHERE run_id = ?", (run_id,)).fetchall()
    return [thread for (thread,) in found]


def _is_free(db: Database, thread_id: str) -> bool:
    """Whether no process is at work in a conversation."""
    if not db.hold(thread_id):
        return False
    db.let_go(thread_id)
    return True
