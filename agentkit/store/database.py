"""What the store needs of a database: rows, transactions, and one sentence for whatever goes wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol


class Statements(Protocol):
    """Runs statements inside a transaction; `?` stands for a value."""

    def execute(self, sql: str, values: Sequence[Any] = ...) -> Any:
        """Run one; the cursor has `fetchone`, `fetchall`, `rowcount`."""
        ...

    def executemany(self, sql: str, values: Iterable[Sequence[Any]]) -> Any:
        """Run one for each row of values."""
        ...


class Database(Protocol):
    """One connection that threads may share."""

    lock: threading.RLock

    @property
    def name(self) -> str:
        """What messages call it; no password."""
        ...

    @property
    def plain(self) -> Statements:
        """The connection, for reading."""
        ...

    def rows(self, sql: str, values: Sequence[Any] = ...) -> list[dict[str, Any]]:
        """Return all rows of a query as dictionaries."""
        ...

    def row(self, sql: str, values: Sequence[Any] = ...) -> dict[str, Any] | None:
        """Return the first row of a query, or None."""
        ...

    def write(self) -> AbstractContextManager[Statements]:
        """Hold a write transaction: committed and on disk at the end, undone by any exception."""
        ...

    def keep_room(self) -> None:
        """Keep some room back for what must be written down; raises StoreError where there is none."""
        ...

    def use_room(self) -> bool:
        """Give that room up; whether there was any."""
        ...

    def errors(self) -> AbstractContextManager[None]:
        """Turn the database's errors into `StoreError`."""
        ...

    def hold(self, thread_id: str) -> bool:
        """Take the system's lock that stands for a conversation; False if another process has it."""
        ...

    def let_go(self, thread_id: str) -> None:
        """Give it back."""
        ...

    def checkpoint_tables(self) -> list[str]:
        """Return those of LangGraph's tables that exist."""
        ...

    def size(self) -> int:
        """Return how many bytes it takes."""
        ...

    def vacuum(self) -> None:
        """Give the room of deleted rows back."""
        ...

    def close(self) -> None:
        """Close it; idempotent."""
        ...
