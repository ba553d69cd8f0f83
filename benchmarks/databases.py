"""Databases that a measurement makes and throws away: a SQLite file, or a database on the server of POSTGRES_TEST_URL."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

VARIABLE = "POSTGRES_TEST_URL"
MISSING = f"no Postgres server: {VARIABLE} is not set; `scripts/with-postgres COMMAND` starts one for a command"


def server() -> str | None:
    """Return the address of a server on which databases may be made, or None."""
    return os.environ.get(VARIABLE) or None


@contextmanager
def postgres() -> Iterator[str]:
    """Give the address of a fresh database; it is dropped afterwards.

    Raises:
        LookupError: there is no server.
    """
    base = server()
    if base is None:
        raise LookupError(MISSING)
    import psycopg  # noqa: PLC0415  an extra

    name = f"agentkit_{secrets.token_hex(6)}"
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    try:
        yield urlunsplit(urlsplit(base)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(base, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextmanager
def fresh(kind: str, folder: Path) -> Iterator[str]:
    """Give the address of a fresh database of that kind, "sqlite" (in `folder`) or "postgres"."""
    if kind == "sqlite":
        yield str(folder / "runs.db")
        return
    with postgres() as url:
        yield url
