"""LangGraph's Postgres saver with what the agent needs: real transactions, async calls, all of its optional methods.

It has a connection of its own, since LangGraph writes from other threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from langgraph.checkpoint.postgres import PostgresSaver as StockSaver
from psycopg import Cursor
from psycopg.rows import DictRow, dict_row

from agentkit.store.postgres import PostgresDatabase
from agentkit.store.saver import serializer
from agentkit.store.saver_base import SaverBase

_COPIED = {
    "checkpoints": "checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata",
    "checkpoint_blobs": "checkpoint_ns, channel, version, type, blob",
    "checkpoint_writes": "checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob, task_path",
}


class PostgresSaver(SaverBase, StockSaver):
    """The saver an agent uses on Postgres; closes with the store."""

    def __init__(self, database: PostgresDatabase) -> None:
        with database.errors():
            connection = database.connect()
        super().__init__(connection, serde=serializer())
        self._connection, self._database, self._closed = connection, database, False
        with database.errors(), database.alone(connection):
            self.setup()

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints and writes whose metadata names one of these runs."""
        with self._cursor(pipeline=True) as cursor:
            cursor.execute(
                "WITH gone AS (DELETE FROM checkpoints WHERE metadata->>'run_id' = ANY(%s)"
                " RETURNING thread_id, checkpoint_ns, checkpoint_id)"
                " DELETE FROM checkpoint_writes USING gone WHERE checkpoint_writes.thread_id = gone.thread_id"
                " AND checkpoint_writes.checkpoint_ns = gone.checkpoint_ns"
                " AND checkpoint_writes.checkpoint_id = gone.checkpoint_id",
                ([str(run_id) for run_id in run_ids],),
            )
            cursor.execute(
                "DELETE FROM checkpoint_blobs WHERE NOT EXISTS"
                " (SELECT 1 FROM checkpoints WHERE checkpoints.thread_id = checkpoint_blobs.thread_id)"
            )

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all checkpoints and writes of one thread to another."""
        with self._cursor(pipeline=True) as cursor:
            for table, columns in _COPIED.items():
                cursor.execute(
                    f"INSERT INTO {table} (thread_id, {columns}) SELECT %s, {columns} FROM {table}"
                    " WHERE thread_id = %s ON CONFLICT DO NOTHING".encode(),
                    (str(target_thread_id), str(source_thread_id)),
                )

    def close(self) -> None:
        """Close its connection; idempotent."""
        self._closed = True
        self._connection.close()

    @contextmanager
    def _cursor(self, *, pipeline: bool = False) -> Iterator[Cursor[DictRow]]:
        """Give a cursor; with `pipeline` (the stock saver's word for writing), in one transaction."""
        with self.lock, self._database.errors():
            if self._connection.closed and not self._closed:  # the server went away since
                self.conn = self._connection = self._database.connect()
            with self._connection.cursor(binary=True, row_factory=dict_row) as cursor:
                if not pipeline:
                    yield cursor
                    return
                with self._connection.transaction():
                    yield cursor
