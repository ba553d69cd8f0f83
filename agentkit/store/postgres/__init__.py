"""The `Store` on Postgres, for many processes on many machines: the extra `postgres`.

The same tables and statements as on SQLite, in a schema of their own. A conversation is held by an advisory lock of the
session, which the server gives back when the connection ends, however it ends. Whatever goes wrong becomes one
`StoreError` sentence with the mend; the password is in none of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from agentkit.errors import MissingDependency, StoreError
from agentkit.store import schema
from agentkit.store.sql import SqlStore

try:
    import psycopg
    from psycopg import conninfo
except ImportError as error:
    raise MissingDependency(
        "store.url names a Postgres server, and its libraries are not installed; pip install 'agentkit-local[postgres]'"
    ) from error

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

SCHEMA = "agentkit"
CONNECT_S = 10
_KINDS = {str: "TEXT", float: "DOUBLE PRECISION", int: "BIGINT", bytes: "BYTEA"}
_MIGRATING = 0x6167656E746B6974  # an advisory lock: "agentkit"
_TABLES = ("checkpoint_blobs", "checkpoint_writes", "checkpoints")


class _Statements:
    """A connection to which `?` stands for a value, as to SQLite's."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Any:
        return self._connection.execute(sql.replace("?", "%s").encode(), values)

    def executemany(self, sql: str, values: Iterable[Sequence[Any]]) -> Any:
        cursor = self._connection.cursor()
        cursor.executemany(sql.replace("?", "%s").encode(), list(values))
        return cursor


class PostgresDatabase:
    """A connection that threads may share, and its transactions.

    Raises:
        StoreError: the server cannot be reached or used, or a newer agentkit has been there.
    """

    def __init__(self, url: str) -> None:
        self.lock = threading.RLock()
        self.url = url
        self._closed = False
        self._name = shown(url)
        with self.errors():
            self.connection = self.connect()
        self.plain = _Statements(self.connection)
        try:
            with self.errors():
                self._prepare()
        except BaseException:
            self.connection.close()
            raise

    @property
    def name(self) -> str:
        """Server and database, without the password."""
        return self._name

    def connect(self) -> psycopg.Connection[Any]:
        """Return a new connection, in the schema of its own."""
        connection = psycopg.connect(
            self.url, autocommit=True, prepare_threshold=0, connect_timeout=CONNECT_S, application_name="agentkit"
        )
        connection.execute(f"SET search_path = {SCHEMA}")
        connection.execute("SET synchronous_commit = on")
        return connection

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Return all rows of a query as dictionaries."""
        with self.lock, self.errors():
            self._again()
            cursor = self.plain.execute(sql, values)
            names = [column.name for column in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        for row in rows:
            row.pop("rowid", None)
        return rows

    def row(self, sql: str, values: Sequence[Any] = ()) -> dict[str, Any] | None:
        """Return the first row of a query, or None."""
        return next(iter(self.rows(sql, values)), None)

    @contextlib.contextmanager
    def write(self) -> Iterator[_Statements]:
        """Hold a write transaction: committed and on disk at the end, undone by any exception."""
        with self.lock, self.errors():
            self._again()
            with self.connection.transaction():
                yield self.plain

    def _again(self) -> None:
        """Connect anew where the server went away since the last call, and take the conversations that were held.

        Raises:
            StoreError: it is still away, or another process has taken one of them meanwhile.
        """
        if self._closed or not self.connection.closed:
            return
        connection = self.connect()
        for thread_id in sorted(self._holding):
            if not _scalar(connection, "SELECT pg_try_advisory_lock(%s)", (_place(thread_id),)):
                connection.close()
                raise StoreError(
                    f"{self.name}: the connection was lost, and another process has taken thread '{thread_id}' over; "
                    "go on there, or with --resume when it has ended"
                )
        self.connection = connection
        self.plain = _Statements(connection)

    def keep_room(self) -> None:
        """Do nothing: the disk is the server's."""

    def use_room(self) -> bool:
        """Do nothing: there is none."""
        return False

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turn Postgres' errors into `StoreError`."""
        try:
            yield
        except psycopg.Error as error:
            raise StoreError(self._sentence(error)) from error

    def hold(self, thread_id: str) -> bool:
        """Take the session's advisory lock that stands for a conversation."""
        with self.lock:
            if thread_id in self._holding:
                return False
            held = self.row("SELECT pg_try_advisory_lock(?) AS held", (_place(thread_id),))
            if held is None or not held["held"]:
                return False
            self._holding.add(thread_id)
            return True

    def let_go(self, thread_id: str) -> None:
        """Give it back; a connection that is gone has given it back already."""
        with self.lock, contextlib.suppress(StoreError):
            self._holding.discard(thread_id)
            self.row("SELECT pg_advisory_unlock(?)", (_place(thread_id),))

    def checkpoint_tables(self) -> list[str]:
        """Return those of LangGraph's tables that exist."""
        sql = "SELECT tablename FROM pg_tables WHERE schemaname = ? AND tablename IN (?,?,?) ORDER BY tablename"
        return [row["tablename"] for row in self.rows(sql, (SCHEMA, *_TABLES))]

    def size(self) -> int:
        """Return how many bytes the tables take on the server, with their indexes."""
        sql = (
            "SELECT COALESCE(SUM(pg_total_relation_size(pg_class.oid)), 0) AS size FROM pg_class"
            " JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = ? AND relkind = 'r'"
        )
        return int((self.row(sql, (SCHEMA,)) or {})["size"])

    def vacuum(self) -> None:
        """Do nothing: the server does that by itself."""

    def close(self) -> None:
        """Close it; idempotent."""
        with self.lock:
            self._closed = True
            self.connection.close()

    @contextlib.contextmanager
    def alone(self, connection: psycopg.Connection[Any]) -> Iterator[None]:
        """Keep other processes out while tables are made.

        It asks again and again: a session that waits for an advisory lock holds a snapshot, and CREATE INDEX
        CONCURRENTLY would wait for it.
        """
        end = time.monotonic() + 60
        while not _scalar(connection, "SELECT pg_try_advisory_lock(%s)", (_MIGRATING,)):
            if time.monotonic() > end:
                raise StoreError(f"{self.name}: another process has been making its tables for a minute; look for it")
            time.sleep(0.02)
        try:
            yield
        finally:
            connection.execute("SELECT pg_advisory_unlock(%s)", (_MIGRATING,))

    def _prepare(self) -> None:
        self._holding: set[str] = set()
        known, found = len(schema.MIGRATIONS), self._version()
        if found < known:
            with self.alone(self.connection):
                found = self._version()
                if found < known:  # nobody was quicker
                    self._migrate(found)
        if found > known:
            raise StoreError(
                f"{self.name}: written by a newer agentkit (schema {found}, this one knows {known}); "
                "update agentkit, or set store.url to another database"
            )

    def _version(self) -> int:
        if _scalar(self.connection, "SELECT to_regclass(%s) IS NULL", (f"{SCHEMA}.version",)):
            return 0
        return int(_scalar(self.connection, f"SELECT MAX(version) FROM {SCHEMA}.version") or 0)

    def _migrate(self, found: int) -> None:
        with self.connection.transaction():
            for statement in (
                f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}",
                "CREATE TABLE IF NOT EXISTS version (version INT)",
            ):
                self.connection.execute(statement.encode())
            for step in schema.MIGRATIONS[found:]:
                for statement in _statements(step):
                    self.connection.execute(statement.encode())
            self.connection.execute("INSERT INTO version VALUES (%s)", (len(schema.MIGRATIONS),))

    def _sentence(self, error: psycopg.Error) -> str:
        text = " ".join(str(error).split())[:300]
        if self._closed:
            return f"{self.name}: it was closed; open the store again"
        if isinstance(error, psycopg.errors.DiskFull):
            return f"{self.name}: the server's disk is full; free some space there and go on with --resume"
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            return f"{self.name}: {text}; grant this user the right to make a schema, or make '{SCHEMA}' for it"
        if isinstance(error, psycopg.OperationalError):
            return f"{self.name}: {text}; check store.url and the server, then go on with --resume"
        return f"{self.name}: {text}"


class PostgresStore(SqlStore):
    """Keeps everything in a Postgres database.

    Args:
        url: `postgresql://user:password@host:port/database`.
        clock: seconds since the epoch.

    Raises:
        StoreError: the server cannot be reached or used, or a newer agentkit has been there.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time) -> None:
        self._postgres = PostgresDatabase(url)
        super().__init__(self._postgres, clock=clock)

    def _make_saver(self) -> BaseCheckpointSaver[str]:
        from agentkit.store.postgres.saver import PostgresSaver  # noqa: PLC0415  langgraph: half a second

        return PostgresSaver(self._postgres)

    def close(self) -> None:
        """Close it, and its saver with it; idempotent."""
        if self._saver is not None:
            self._saver.close()  # type: ignore[attr-defined]
        super().close()


def _statements(step: schema.Migration) -> Iterator[str]:
    """Yield the SQL of one migration; `rowid` counts rows as SQLite does by itself."""
    for name, table in step.tables.items():
        keys = (table.pk,) if isinstance(table.pk, str) else table.pk
        counted = keys == ("id",) and table.columns["id"] is int
        lines = ["rowid BIGINT GENERATED ALWAYS AS IDENTITY"]
        for column, kind in table.columns.items():
            line = f'"{column}" {_KINDS[kind]}'
            line += " GENERATED ALWAYS AS IDENTITY" if counted and column == "id" else ""
            line += " NOT NULL" if column in table.not_null else ""
            line += " DEFAULT ''" if table.defaults.get(column) == "" else ""
            lines.append(line)
        yield f"CREATE TABLE {name} ({', '.join(lines)}, PRIMARY KEY ({', '.join(keys)}))"
        for columns in table.indexes:
            yield f"CREATE INDEX ON {name} ({', '.join(columns)})"
    for name, added in step.columns.items():
        for column, kind in added.items():
            yield f'ALTER TABLE {name} ADD COLUMN "{column}" {_KINDS[kind]}'


def _scalar(connection: psycopg.Connection[Any], sql: str, values: Sequence[Any] = ()) -> Any:
    row = connection.execute(sql.encode(), values).fetchone()
    return None if row is None else row[0]


def shown(url: str) -> str:
    """Return the address of server and database without user and password.

    Raises:
        StoreError: it is no address.
    """
    try:
        parts = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        text = "store.url: it is no address of a Postgres server; write postgresql://user@host:port/database"
        raise StoreError(text) from error
    host, port = parts.get("host", "localhost"), parts.get("port", "5432")
    return f"postgresql://{host}:{port}/{parts.get('dbname', '')}"


def _place(thread_id: str) -> int:
    return int.from_bytes(hashlib.sha256(thread_id.encode(errors="replace")).digest()[:8], "big", signed=True)
