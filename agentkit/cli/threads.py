"""`agentkit threads`: conversations that were had, to look at, go on with, or remove."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from agentkit.cli.group import ListGroup
from agentkit.cli.lines import fold
from agentkit.cli.output import clean, document, json_option, say, table


@click.group(cls=ListGroup)
def command() -> None:
    """List, show and remove conversations.

    \b
    agentkit threads
    agentkit chat --thread 3f2a            go on with one; the start of its id is enough
    agentkit threads rm 3f2a
    """


@command.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=30, show_default=True, help="At most so many.")
@json_option
def list_(limit: int, as_json: bool) -> None:
    """List conversations, last used first."""
    with opened() as store:
        rows = store.threads(limit=limit)
    if as_json:
        document("threads list", rows)
        return
    shown = [{**row, "last": ago(row["last_at"]), "task": fold(str(row.get("task") or ""))} for row in rows]
    table(shown, ("thread_id", "last", "runs", "task"), empty="no conversations yet")


@command.command("show")
@click.argument("thread")
@json_option
def show(thread: str, as_json: bool) -> None:
    """Show what was said in one conversation, oldest first."""
    with opened() as store:
        runs = list(reversed(store.runs(limit=10_000, thread_id=whole_id(store, thread))))
    if as_json:
        document("threads show", runs)
        return
    for run in runs:
        click.echo(f"> {clean(str(run.get('task', '')))}")
        click.echo(
            f"{clean(str(run.get('answer') or '')) or '(' + str(run.get('stop_reason') or 'unfinished') + ')'}\n"
        )


@command.command("rm")
@click.argument("threads", nargs=-1, required=True)
@json_option
def remove(threads: tuple[str, ...], as_json: bool) -> None:
    """Remove conversations with all their runs, for good."""
    with opened() as store:
        ids = [whole_id(store, thread) for thread in threads]
        gone = {thread: store.remove_thread(thread) for thread in ids}
    if as_json:
        document("threads rm", gone)
        return
    for thread, runs in gone.items():
        say(f"removed {thread} with {runs} run{'' if runs == 1 else 's'}")


def opened() -> Any:
    """Return the user's store in a context that closes it."""
    from contextlib import closing

    from agentkit import config
    from agentkit.store import open_store

    return closing(open_store(config.load().settings.store))


def whole_id(store: Any, prefix: str) -> str:
    """Return the id of the one thread that starts with `prefix`."""
    from agentkit.cli.session import pick

    return pick(
        (str(row["thread_id"]) for row in store.threads(limit=10_000)), prefix, "thread", "agentkit threads list"
    )


def ago(at: float | None) -> str:
    """Return how long ago that was, in the largest unit that fits."""
    if at is None:
        return "-"
    seconds = max(0.0, time.time() - at)
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "now" if seconds < 10 else f"{int(seconds)} s ago"


def started(row: Mapping[str, Any]) -> str:
    """Return when a run began, in local time."""
    at = row.get("started_at")
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) if at else "-"
