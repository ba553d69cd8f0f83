"""LangGraph's SQLite saver on the store's own connection: sync and async, real transactions, no pickle.

The stock saver raises in its async methods, commits also when a write failed half-way, and revives any
type it finds. This one runs async calls in threads, rolls back, and revives only a closed list of types,
so that a database somebody else wrote cannot run code. As everywhere in LangGraph, tuples come back as lists.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import is_dataclass
from enum import Enum

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver

from agentkit import protocols, types
from agentkit.store.saver_base import SaverBase
from agentkit.store.sqlite import SqliteDatabase

_CHECKPOINT_COLUMNS = "checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata"
_WRITE_COLUMNS = "checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value"


def allowed_types() -> list[tuple[str, str]]:
    """Return the agentkit types a checkpoint may hold, besides LangGraph's own safe list."""
    return sorted(
        (value.__module__, name)
        for module in (types, protocols)
        for name, value in vars(module).items()
        if isinstance(value, type)
        and f"{value.__module__}.".startswith(f"{module.__name__}.")
        and (is_dataclass(value) or issubclass(value, Enum))
    )


def serializer() -> JsonPlusSerializer:
    """Return the serializer of checkpoints: no pickle, and only types that are on the list."""
    return JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=allowed_types())


class Saver(SaverBase, SqliteSaver):
    """The saver an agent uses. Shares the store's connection and lock; closes with the store."""

    def __init__(self, database: SqliteDatabase) -> None:
        super().__init__(database.connection, serde=serializer())
        self._database = database

    @contextmanager
    def cursor(self, transaction: bool = True) -> Iterator[sqlite3.Cursor]:
        """Give a cursor; with `transaction`, what it writes is committed as one, or not at all."""
        with self._database.lock:
            with self._database.errors(), self._database.turn():
                self.setup()
            if transaction:
                with self._database.write() as connection, closing(connection.cursor()) as cursor:
                    yield cursor
            else:
                with self._database.errors(), closing(self.conn.cursor()) as cursor:
                    yield cursor

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints and writes whose metadata names one of these runs."""
        with self.cursor() as cursor:
            for run_id in run_ids:
                keys = cursor.execute(
                    "SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints"
                    " WHERE json_extract(CAST(metadata AS TEXT), '$.run_id') = ?",
                    (str(run_id),),
                ).fetchall()
                _delete(cursor, keys)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all checkpoints and writes of one thread to another."""
        with self.cursor() as cursor:
            for table, columns in (("checkpoints", _CHECKPOINT_COLUMNS), ("writes", _WRITE_COLUMNS)):
                cursor.execute(
                    f"INSERT OR REPLACE INTO {table} (thread_id, {columns})"
                    f" SELECT ?, {columns} FROM {table} WHERE thread_id = ?",
                    (str(target_thread_id), str(source_thread_id)),
                )

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete all checkpoints of the threads, or all but the newest of each namespace."""
        for thread_id in thread_ids:
            if strategy == "delete":
                self.delete_thread(thread_id)
                continue
            with self.cursor() as cursor:
                keys = cursor.execute(
                    "SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints AS old WHERE thread_id = ?"
                    " AND checkpoint_id < (SELECT MAX(checkpoint_id) FROM checkpoints AS new"
                    " WHERE new.thread_id = old.thread_id AND new.checkpoint_ns = old.checkpoint_ns)",
                    (str(thread_id),),
                ).fetchall()
                _delete(cursor, keys)


def _delete(cursor: sqlite3.Cursor, keys: Sequence[tuple[str, str, str]]) -> None:
    for table in ("checkpoints", "writes"):
        cursor.executemany(f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?", keys)
