"""`agentkit db`: where the database is, a copy of it, and making it smaller."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from agentkit.cli.group import ListGroup
from agentkit.cli.output import document, json_option, say
from agentkit.errors import UsageError

_UNITS = {"h": 3_600, "d": 86_400, "w": 7 * 86_400}
dry_run_option = click.option("--dry-run", is_flag=True, help="Only say what would be done.")


class PathGroup(ListGroup):
    """Without a verb, `path` is meant."""

    default = "path"


@click.group(cls=PathGroup)
def command() -> None:
    """Look after the database of runs and threads.

    \b
    agentkit db path
    agentkit db prune --older-than 30d --dry-run
    agentkit db backup before-update.db
    """


@command.command("path")
@json_option
def path(as_json: bool) -> None:
    """Show where the database is, and how big: its file, or its server without the password.

    \b
    agentkit db path
    agentkit db path --json | jq .data.bytes
    """
    server = _server()
    where = _shown(server) if server else str(_file())
    if as_json:
        document("db path", {"path": where, "bytes": _server_bytes() if server else _size(_file())})
        return
    click.echo(where)


@command.command("prune")
@click.option("--older-than", metavar="AGE", help="A number with h, d or w. Default: `store.keep_days`, or 30d.")
@click.option(
    "--unfinished", is_flag=True, help="Also those that could still go on, unless a process is at work on them."
)
@dry_run_option
@json_option
def prune(older_than: str | None, unfinished: bool, dry_run: bool, as_json: bool) -> None:
    """Delete old runs with all they left, and copies of pictures that no conversation used since.

    Those that wait for an approval stay, and so do those that can still go on with --resume, unless --unfinished.

    \b
    agentkit db prune --older-than 30d --dry-run
    agentkit db prune --older-than 12h --unfinished
    """
    from agentkit import media
    from agentkit.cli.threads import opened

    seconds = _age(older_than) if older_than is not None else _keep_s()
    with opened() as store:
        before = store.size()
        gone = store.prune(older_than_s=seconds, unfinished=unfinished, dry_run=dry_run)
        if not dry_run:
            store.vacuum()
        freed = max(0, before - store.size())
        if not dry_run:
            freed += media.prune(seconds, "".join(str(row.get("start")) for row in store.runs(limit=1_000_000)))
    if as_json:
        document("db prune", {"runs": gone, "bytes_freed": freed, "dry_run": dry_run})
        return
    runs = f"{gone} run{'' if gone == 1 else 's'}"
    say(f"would delete {runs}" if dry_run else f"deleted {runs}; {freed / 1e6:.1f} MB freed")


@command.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@dry_run_option
@json_option
def backup(file: Path, dry_run: bool, as_json: bool) -> None:
    """Copy the database, consistently, while others may be writing to it, and check the copy.

    To go back to it, close whatever uses the database and put the copy in its place, or set store.url to it.

    \b
    agentkit db backup before-update.db
    AGENTKIT_STORE__URL=before-update.db agentkit runs
    """
    if server := _server():
        raise UsageError(
            f"{_shown(server)} is a server; copy it with `pg_dump --schema=agentkit` of that server's version"
        )
    source = _file()
    if not source.is_file():
        raise UsageError(f"{source}: there is no database yet, so nothing to copy; run something first")
    if file.exists():
        raise UsageError(f"{file}: is there already; choose another name, a backup is never overwritten")
    if not dry_run:
        from agentkit.store.backup import copy

        copy(source, file)
    size = _size(source if dry_run else file)
    if as_json:
        document("db backup", {"path": str(file), "bytes": size, "dry_run": dry_run})
        return
    say(f"{'would write' if dry_run else 'wrote'} {file} ({size / 1e6:.1f} MB)")


def _server() -> str | None:
    """Return the address of the Postgres server that the settings name, if they do."""
    from agentkit import config
    from agentkit.store import is_server

    url = config.load().settings.store.url
    return url if url is not None and is_server(url) else None


def _shown(server: str) -> str:
    from agentkit.store.postgres import shown

    return shown(server)


def _server_bytes() -> int:
    from agentkit.cli.threads import opened

    with opened() as store:
        return int(store.size())


def _file() -> Path:
    from agentkit import config
    from agentkit.store import DATABASE_NAME

    url = config.load().settings.store.url
    if url is None:
        return config.data_dir() / DATABASE_NAME
    return Path(url.removeprefix("sqlite:///").removeprefix("sqlite://")).expanduser()


def _keep_s() -> float:
    from agentkit import config

    days = config.load().settings.store.keep_days
    return _age("30d") if days is None else days * _UNITS["d"]


def _age(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([hdw])", text.strip())
    if match is None:
        raise click.BadParameter(f"'{text}' is no age; write for example 12h, 30d or 4w", param_hint="--older-than")
    return float(match[1]) * _UNITS[match[2]]


def _size(file: Path) -> int:
    parts: list[Any] = [file, file.with_name(file.name + "-wal")]
    return sum(part.stat().st_size for part in parts if part.exists())
