"""`agentkit runs`: what was done, step by step, and the whole record as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from agentkit.cli.group import ListGroup
from agentkit.cli.lines import fold, note_text, result_text
from agentkit.cli.output import clean, document, json_option, pairs, plain, say, table
from agentkit.cli.threads import ago, opened, started
from agentkit.errors import UsageError


@click.group(cls=ListGroup)
def command() -> None:
    """List, show and export runs.

    \b
    agentkit runs
    agentkit runs show 8c1e                 the start of its id is enough
    agentkit run --resume 8c1e              finish one that was cut off
    agentkit runs export 8c1e -o run.json
    """


@command.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=30, show_default=True, help="At most so many.")
@click.option("--thread", metavar="ID", help="Those of one conversation.")
@json_option
def list_(limit: int, thread: str | None, as_json: bool) -> None:
    """List runs, newest first."""
    from agentkit.cli.threads import whole_id

    with opened() as store:
        rows = store.runs(limit=limit, thread_id=whole_id(store, thread) if thread else None)
    if as_json:
        document("runs list", rows)
        return
    shown = [
        {
            **row,
            "when": ago(row.get("started_at")),
            "end": row.get("stop_reason") or row["state"],
            "task": fold(str(row.get("task") or "")),
        }
        for row in rows
    ]
    table(shown, ("run_id", "when", "end", "model", "task"), empty="no runs yet")


@command.command("show")
@click.argument("run")
@json_option
def show(run: str, as_json: bool) -> None:
    """Show one run: how it went, call by call, and how it ended."""
    with opened() as store:
        row = found(store, run)
        events = store.events(row["run_id"])
    if as_json:
        document("runs show", row)
        return
    head = {name: row.get(name) for name in ("run_id", "thread_id", "model", "state", "stop_reason", "detail")}
    pairs({**head, "started": started(row)})
    click.echo(f"\n> {fold(str(row.get('task', '')), limit=400)}")
    for text in _lines(events):
        click.echo(f"  {text}")
    if row.get("answer"):
        click.echo(clean(str(row["answer"])))


@command.command("export")
@click.argument("run")
@click.option("-o", "--output", metavar="FILE", help="Write there instead of stdout.")
def export(run: str, output: str | None) -> None:
    """Write a run's whole record: its row, events, ledger and search trees, as one JSON document."""
    with opened() as store:
        row = found(store, run)
        name = row["run_id"]
        record = {"run": row, "events": store.events(name), "effects": store.effects(name), "trees": store.trees(name)}
    if output is None or output == "-":
        document("runs export", record)
        return
    text = json.dumps(
        {"schema_version": 1, "command": "runs export", "data": record}, ensure_ascii=False, default=plain
    )
    try:
        Path(output).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{output}: cannot be written ({error.strerror}); choose another file") from error
    say(f"wrote {output}")


def found(store: Any, prefix: str) -> Mapping[str, Any]:
    """Return the one run whose id starts with `prefix`."""
    from agentkit.cli.session import pick

    whole = pick((str(row["run_id"]) for row in store.runs(limit=10_000)), prefix, "run", "agentkit runs list")
    row: Mapping[str, Any] = store.run(whole)
    return row


def _lines(events: list[Mapping[str, Any]]) -> list[str]:
    from agentkit.events import Event

    calls: dict[str, Any] = {}
    lines: list[str] = []
    for row in events:
        data = {key: value for key, value in row.items() if key not in {"type", "run_id", "thread_id", "seq", "ts"}}
        if row["type"] == "tool_use":
            calls[str(row.get("id"))] = row.get("arguments")
        elif row["type"] == "tool_result":
            lines.append(result_text({"arguments": calls.get(str(row.get("id"))), **data}))
        else:
            known = {key: row[key] for key in ("type", "run_id", "thread_id", "seq", "ts")}
            lines += filter(None, [note_text(Event(**known, data=data))])
    return lines
