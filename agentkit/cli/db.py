"""`agentkit db`: where the database is, a copy of it, and making it smaller."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from agentkit.cli.group import ListGroup
from agentkit.cli.output import document, json_option, say
from agentkit.errors import StoreError, UsageError

_UNITS = {"h": 3_600, "d": 86_400, "w": 7 * 86_400}


class PathGroup(ListGroup):
    """Without a verb, `path` is meant."""

    default = "path"


@click.group(cls=PathGroup)
def command() -> None:
    """Look after the database of runs and threads.

    \b
    agentkit db path
    agentkit db prune --older-than 30d
    agentkit db backup before-update.db
    """


@command.command("path")
@json_option
def path(as_json: bool) -> None:
    """Show where the database is, and how big."""
    server = _server()
    if server is not None:
        name = _server_name()
        if as_json:
            document("db path", {"path": name, "bytes": None})
            return
        click.echo(name)
        return
    file = _file()
    if as_json:
        document("db path", {"path": str(file), "bytes": _size(file)})
        return
    click.echo(str(file))


@command.command("prune")
@click.option("--older-than", default="30d", show_default=True, metavar="AGE", help="A number with h, d or w.")
@json_option
def prune(older_than: str, as_json: bool) -> None:
    """Delete old runs with all they left; those that wait for an approval stay."""
    from agentkit.cli.threads import opened

    seconds = _age(older_than)
    file = _file() if _server() is None else None  # a server gives room back by itself (autovacuum)
    before = _size(file)
    with opened() as store:
        gone = store.prune(older_than_s=seconds)
        if file is not None:
            store.vacuum()
    freed = max(0, before - _size(file))
    if as_json:
        document("db prune", {"runs": gone, "bytes_freed": freed})
        return
    say(f"deleted {gone} run{'' if gone == 1 else 's'}; {freed / 1e6:.1f} MB freed")


@command.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def backup(file: Path, as_json: bool) -> None:
    """Copy the database, consistently, while others may be writing to it."""
    if _server() is not None:
        raise UsageError("store.url names a Postgres server; copy it with `pg_dump --schema agentkit`")
    source = _file()
    if not source.is_file():
        raise UsageError(f"{source}: there is no database yet, so nothing to copy; run something first")
    if file.exists():
        raise UsageError(f"{file}: is there already; choose another name, a backup is never overwritten")
    try:
        with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(file)) as new:
            old.backup(new)
    except sqlite3.Error as error:
        raise StoreError(f"{file}: the copy failed ({error}); check that its folder can be written") from error
    if as_json:
        document("db backup", {"path": str(file), "bytes": _size(file)})
        return
    say(f"wrote {file} ({_size(file) / 1e6:.1f} MB)")


def _server() -> str | None:
    """Return the address of the server that the settings name, or None: it is a file."""
    from agentkit import config
    from agentkit.store import is_server

    url = config.load().settings.store.url
    return url if url is not None and is_server(url) else None


def _server_name() -> str:
    """Return the server's address without the password."""
    from agentkit.cli.threads import opened

    with opened() as store:
        return str(store.name)


def _file() -> Path:
    from agentkit import config
    from agentkit.store import DATABASE_NAME

    url = config.load().settings.store.url
    if url is None:
        return config.data_dir() / DATABASE_NAME
    return Path(url.removeprefix("sqlite:///").removeprefix("sqlite://")).expanduser()


def _age(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([hdw])", text.strip())
    if match is None:
        raise click.BadParameter(f"'{text}' is no age; write for example 12h, 30d or 4w", param_hint="--older-than")
    return float(match[1]) * _UNITS[match[2]]


def _size(file: Path | None) -> int:
    if file is None:
        return 0
    parts: list[Any] = [file, file.with_name(file.name + "-wal")]
    return sum(part.stat().st_size for part in parts if part.exists())
