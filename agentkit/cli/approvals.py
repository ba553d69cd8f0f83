"""`agentkit approvals`: calls that wait for a person, decided once, from any terminal."""

from __future__ import annotations

import getpass
import json
import time
from collections.abc import Mapping
from typing import Any

import click

from agentkit.cli.group import ListGroup
from agentkit.cli.lines import call_text, visible
from agentkit.cli.output import document, json_option, pairs, say, table
from agentkit.cli.threads import ago, opened
from agentkit.errors import UsageError

SHOWN = 4_000  # characters of one argument


@click.group(cls=ListGroup)
def command() -> None:
    """Decide about calls that wait for a person.

    A run with --on-approval queue stops (exit 8) at a call that needs one. Approving binds to exactly
    these arguments; then `agentkit run --resume RUN` goes on.

    \b
    agentkit run "remove the old logs" --on-approval queue
    agentkit approvals    # what waits; the start of an id is enough
    agentkit approvals show 5d0f
    agentkit approvals approve 5d0f
    agentkit run --resume 8c1e
    """


@command.command("list")
@click.option("--all", "everything", is_flag=True, help="The decided and expired ones too.")
@json_option
def list_(everything: bool, as_json: bool) -> None:
    """List what waits, newest first."""
    with opened() as store:
        rows = store.approvals(state=None if everything else "pending")
    if as_json:
        document("approvals list", rows)
        return
    shown = [
        {
            **row,
            "id": str(row["id"])[:12],
            "asked": ago(row.get("created_at")),
            "call": call_text(str(row.get("tool")), row.get("arguments") or {}),
        }
        for row in rows
    ]
    table(shown, ("id", "state", "asked", "run_id", "call"), empty="nothing waits for approval")


@command.command("show")
@click.argument("approval")
@json_option
def show(approval: str, as_json: bool) -> None:
    """Show one approval with the whole call."""
    with opened() as store:
        row = _found(store, approval)
    if as_json:
        document("approvals show", row)
        return
    arguments = {f"  {name}": _shown(value) for name, value in (row.get("arguments") or {}).items()}
    pairs(
        {
            **{
                name: row.get(name)
                for name in ("id", "state", "run_id", "thread_id", "checkpoint_id", "tool", "effect")
            },
            "why": visible(str(row.get("why") or "")),
            **({"foreseen": visible(str(row["foreseen"]))} if row.get("foreseen") else {}),
            **arguments,
            "asked": ago(row.get("created_at")),
            "expires": _until(row.get("expires_at")) if row["state"] == "pending" else None,
            "resolved by": row.get("resolved_by"),
        }
    )


@command.command("approve")
@click.argument("approval")
@json_option
def approve(approval: str, as_json: bool) -> None:
    """Let the call run, with exactly these arguments."""
    _decide(approval, "approved", as_json)


@command.command("deny")
@click.argument("approval")
@json_option
def deny(approval: str, as_json: bool) -> None:
    """Refuse the call; the model is told so when the run goes on."""
    _decide(approval, "denied", as_json)


def _decide(approval: str, state: str, as_json: bool) -> None:
    with opened() as store:
        row = _found(store, approval)
        if not store.resolve_approval(row["id"], state, _who()):
            now = _found(store, row["id"])
            raise UsageError(
                f"approval '{row['id']}' is {now['state']} already; `agentkit approvals list --all` shows it"
            )
        row = _found(store, row["id"])
    if as_json:
        document(f"approvals {'approve' if state == 'approved' else 'deny'}", row)
        return
    say(
        f"{state}: {call_text(str(row['tool']), row.get('arguments') or {})}; go on with: agentkit run --resume {row['run_id']}"
    )


def _found(store: Any, prefix: str) -> Mapping[str, Any]:
    from agentkit.cli.session import pick

    rows = {str(row["id"]): row for row in store.approvals()}
    found: Mapping[str, Any] = rows[pick(rows, prefix, "approval", "agentkit approvals list --all")]
    return found


def _shown(value: Any) -> str:
    """Return an argument as a person can judge it: whole up to a screenful, nothing hidden in it."""
    text = visible(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text):,} characters; --json has them all)"


def _until(when: float | None) -> str:
    if when is None:
        return "never"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))


def _who() -> str:
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container without a user database
        return "cli"
