"""`agentkit trees`: what planners searched before they chose, in the terminal, on a page, or as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from agentkit.cli.group import ListGroup
from agentkit.cli.lines import visible
from agentkit.cli.output import clean, document, json_option, say, table
from agentkit.cli.runs import found
from agentkit.cli.threads import opened
from agentkit.errors import UsageError

RUNS = 10_000  # that are looked through, at most
UNCUT = 10_000  # characters of a line that goes to a file or another program
HOW = 'trees are made with run.planner = "auto" and a check that says when a task is done (agentkit run --check)'


@click.group(cls=ListGroup)
def command() -> None:
    """Show the search trees that planners leave.

    \b
    agentkit trees
    agentkit trees show 8c1e                        the last of a run; the start of its id is enough
    agentkit trees show 8c1e --turn 2 --depth 3
    agentkit trees show 8c1e --html tree.html       a page to click through, whole in one file
    """


@command.command("list")
@click.argument("run", required=False)
@click.option("--limit", type=click.IntRange(min=1), default=30, show_default=True, help="At most so many.")
@json_option
def list_(run: str | None, limit: int, as_json: bool) -> None:
    """List which turns of which runs have trees, newest run first; or those of one RUN."""
    with opened() as store:
        runs = [found(store, run)] if run else store.runs(limit=RUNS)
        rows: list[dict[str, Any]] = []
        for row in runs:
            rows += [_summary(str(row["run_id"]), tree) for tree in store.trees(row["run_id"])]
            if len(rows) >= limit:
                break
        why = "" if rows or not run else f": {no_tree(store, runs[0])}"
    if as_json:
        document("trees list", rows[:limit])
        return
    columns = ("run_id", "turn", "strategy", "simulations", "chosen", "why")
    table(rows[:limit], columns, empty=f"no search trees{why}" if run else f"no search trees yet: {HOW}")


@command.command("show")
@click.argument("run")
@click.option("--turn", type=click.IntRange(min=0), metavar="N", help="Of this turn; else the last that has a tree.")
@click.option(
    "--depth",
    type=click.IntRange(min=1),
    metavar="N",
    help="Print so many steps, beside the chosen way; 4 if not said.",
)
@click.option("--width", type=click.IntRange(min=1), metavar="N", help="Print so many actions a state; 6 if not said.")
@click.option("--html", metavar="FILE", help="Write a page that draws all of it there instead; - is stdout.")
@json_option
def show(run: str, turn: int | None, depth: int | None, width: int | None, html: str | None, as_json: bool) -> None:
    """Show how a step of RUN was chosen: what was tried, how often, what came of it, and why the winner won.

    A line is one action: ▶ chosen, or expected to follow; ○ tried, · not tried, ! cannot be tried without doing it, ✗
    failed. Then visits, prior (p), quality (q; = where it is proven), the action, its effect, and what it led to.
    """
    if html is not None and (as_json or depth or width):
        raise UsageError("--html draws all of it, and --json prints it: leave out the other options")
    with opened() as store:
        row = found(store, run)
        tree = tree_of(store, row, turn)
    if as_json:
        document("trees show", {"run_id": row["run_id"], **tree})
    elif html is not None:
        _write(html, tree, str(row["run_id"]), str(row.get("task") or ""))
    else:
        _print(tree, depth, width)


def tree_of(store: Any, run: Mapping[str, Any], turn: int | None = None) -> Mapping[str, Any]:
    """Return a run's tree of one turn, or the last.

    Raises:
        UsageError: there is none.
    """
    trees: list[Mapping[str, Any]] = store.trees(run["run_id"])
    if not trees:
        raise UsageError(f"run {run['run_id']} has no search tree: {no_tree(store, run)}")
    if turn is None:
        return trees[-1]
    for tree in trees:
        if tree["turn"] == turn:
            return tree
    turns = ", ".join(str(tree["turn"]) for tree in trees)
    raise UsageError(f"run {run['run_id']} has no search tree of turn {turn}; --turn can be {turns}")


def no_tree(store: Any, run: Mapping[str, Any]) -> str:
    """Return why a run has no tree, and what to do about it."""
    plan = last_plan(store, str(run["run_id"]))
    return f"{planned_by(plan) if plan else 'it has planned nothing yet'}; {HOW}"


def last_plan(store: Any, run_id: str) -> Mapping[str, Any] | None:
    """Return the event of a run's last plan; None where nothing was planned."""
    plans = [event for event in store.events(run_id) if event.get("type") == "plan"]
    return plans[-1] if plans else None


def planned_by(plan: Mapping[str, Any]) -> str:
    """Return who planned a step, and why so."""
    return visible(clean(f"planned by '{plan.get('strategy')}', {plan.get('why')}"))


def _summary(run_id: str, tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line of the list; of a tree in a form that cannot be drawn, what it says of itself."""
    from agentkit.cli.treeview.reading import read

    row = {"run_id": run_id, "turn": tree["turn"], "strategy": tree.get("strategy")}
    try:
        search = read(tree)
    except UsageError:
        return {**row, "simulations": None, "states": None, "chosen": None, "ending": None, "why": tree.get("why")}
    chosen = search.chosen.label if search.chosen else None
    figures = {"simulations": search.simulations, "states": len(search.states)}
    return {**row, **figures, "chosen": chosen, "ending": search.ending or None, "why": search.why}


def _print(tree: Mapping[str, Any], depth: int | None, width: int | None) -> None:
    import sys

    from rich.console import Console

    from agentkit.cli.treeview.reading import read
    from agentkit.cli.treeview.terminal import DEPTH, WIDTH, drawn

    console = Console(highlight=False, width=None if sys.stdout.isatty() else UNCUT)
    with console.capture() as printed:
        console.print(drawn(read(tree), depth=depth or DEPTH, width=width or WIDTH))
    click.echo(printed.get(), nl=False)


def _write(name: str, tree: Mapping[str, Any], run_id: str, task: str) -> None:
    from agentkit.cli.treeview.page import page
    from agentkit.cli.treeview.reading import read

    text = page(read(tree), run_id=run_id, task=task)
    if name == "-":
        click.echo(text, nl=False)
        return
    try:
        Path(name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{name}: cannot be written ({error.strerror}); choose another file") from error
    say(f"wrote {name}")
